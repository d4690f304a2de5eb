"""Who may see a report: each way to look at one, after each way to lose it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.patience import until
from tests.server.api import ASK, INPUT, Api

from reelport.server import credentials
from reelport.server.access import grants, keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.access.grants import ClientCredentials, Grant
from reelport.server.access.keys import NewKey
from reelport.server.files import signed_urls
from reelport.server.reports import withdrawal
from reelport.server.state.database import writing
from reelport.server.state.tables import REPORTS
from reelport.wire import LOOK

NODE = "query($id: ID!) { node(id: $id) { ... on PartnerReportFile { status } } }"


@dataclass(frozen=True)
class Look:
    """Whoever looks at a report: an organization's key and a token of it."""

    organization: str
    key: NewKey
    token: str


def look_of(api: Api, organization: str, *scopes: str, asked: str = "") -> Look:
    """A new key of an organization with these scopes, or with every one, and a token of it."""
    service, now = api.service, datetime.now(UTC)
    key = keys.create_key(service.db, service.service_secret, organization, scopes or REPORT_SCOPES, now)
    granted = grants.grant_token(
        service.db, service.service_secret, ClientCredentials(key.id, key.secret), asked.split(), now
    )
    assert isinstance(granted, Grant)
    return Look(organization, key, granted.token)


def new_partner(api: Api) -> Look:
    """A partner with two channels, a key for both and a token with every scope."""
    name, now = f"partner-{credentials.short_id()}", datetime.now(UTC)
    added = organizations.add_organization(api.service.db, name, now)
    organizations.allow_channels(api.service.db, added.id, [f"{name}-1", f"{name}-2"])
    return look_of(api, name)


def reply(api: Api, look: Look, query: str, prefer: str = "", **variables: str) -> tuple[Any, bytes]:
    """What a document is answered, and the bytes of it: a report's status, its error's code or the HTTP status."""
    headers = {"Authorization": f"Bearer {look.token}", **({"Prefer": prefer} if prefer else {})}
    answer = api.post(json.dumps({"query": query, "variables": variables}).encode(), **headers)
    if answer.status_code != 200:
        return answer.status_code, answer.content
    if "errors" in answer.json():
        return answer.json()["errors"][0]["extensions"]["code"], answer.content
    data = answer.json()["data"]
    found = data.get("partner", {}).get("reportFile", data.get("node"))
    return (None if found is None else found["status"]), answer.content


def revoke(api: Api, owner: Look, report: str) -> Look:  # noqa: ARG001 - one form for all
    """The key is revoked; the token that it was granted before looks."""
    keys.revoke_key(api.service.db, owner.key.id, datetime.now(UTC))
    return owner


def withdraw(api: Api, owner: Look, report: str) -> Look:  # noqa: ARG001 - one form for all
    """The organization loses one of the report's channels."""
    gone = [f"{owner.organization}-1"]
    withdrawal.remove_channels(api.service.db, api.service.settings, owner.organization, gone, datetime.now(UTC))
    return owner


def look_without_metric_scope(api: Api, owner: Look, report: str) -> Look:  # noqa: ARG001 - one form for all
    """A key of the same organization without the scope of the report's metric looks."""
    return look_of(api, owner.organization, "read_reports")


def look_without_report_scope(api: Api, owner: Look, report: str) -> Look:  # noqa: ARG001 - one form for all
    """A key of the same organization that may neither create nor read reports looks."""
    return look_of(api, owner.organization, "access_revenue")


def expire(api: Api, owner: Look, report: str) -> Look:
    """The report's time is over; no sweep has come yet."""
    with writing(api.service.db) as connection:
        over = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(REPORTS).where(REPORTS.c.token == report).values(expires_at=over))
    return owner


def look_from_elsewhere(api: Api, owner: Look, report: str) -> Look:  # noqa: ARG001 - one form for all
    """Another organization, which reads the same channels, looks."""
    rival = new_partner(api)
    shared = [f"{owner.organization}-{number}" for number in (1, 2)]
    added = organizations.get_organization(api.service.db, rival.organization)
    organizations.allow_channels(api.service.db, added.id, shared)
    return look_of(api, rival.organization)


def ask(api: Api, owner: Look) -> str:
    """The token of a report of earnings, which needs a scope of its own."""
    query = {**INPUT, "metrics": ["ESTIMATED_EARNINGS_EUR"]}
    body = json.dumps({"query": ASK, "variables": {"input": query}}).encode()
    answer = api.post(body, Authorization=f"Bearer {owner.token}").json()
    token: str = answer["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    return token


def report_id(api: Api, token: str) -> str:
    """The public name of a report."""
    with api.service.db.connect() as connection:
        return str(connection.execute(REPORTS.select().where(REPORTS.c.token == token)).one().id)


Loss = Callable[[Api, Look, str], Look]
GONE = {"status query": None, "node": None, "long poll": None, "link": 403}
REVOKED = {"status query": 401, "node": 401, "long poll": 401, "link": 403}
EXPIRED = {"status query": "EXPIRED", "node": "EXPIRED", "long poll": "EXPIRED", "link": 410}
UNSCOPED = {"status query": "scope_missing", "node": "scope_missing", "long poll": "scope_missing", "link": 403}
SEEN = {"status query": "FINISHED", "node": "FINISHED", "long poll": "FINISHED", "link": 200}


@pytest.mark.parametrize(
    ("lose", "seen"),
    [
        (lambda _api, owner, _report: owner, SEEN),
        (revoke, REVOKED),
        (withdraw, GONE),
        (look_without_metric_scope, GONE),
        (look_without_report_scope, UNSCOPED),
        (expire, EXPIRED),
        (look_from_elsewhere, GONE),
    ],
    ids=["nothing", "key revoked", "channel withdrawn", "metric's scope", "report scopes", "expired", "organization"],
)
def test_every_look_ends_with_the_access(api: Api, lose: Loss, seen: dict[str, object]) -> None:
    """A query, one that waits for the end, a node and a link agree on who may see a report."""
    owner = new_partner(api)
    report = ask(api, owner)
    ask(api, new_partner(api))  # There is something to finish, whatever is withdrawn.
    id_ = report_id(api, report)
    node = base64.urlsafe_b64encode(f"PartnerReportFile:{report}".encode()).decode().rstrip("=")
    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(reply, api, owner, LOOK, "wait=2", reportToken=report)
        assert until(lambda: len(api.service.long_polls) == 1)
        look = lose(api, owner, report)
        api.finish(b"day,estimated_earnings_eur\n")
        # Whoever was never allowed has nothing to wait for.
        polled = waiting.result() if look is owner else reply(api, look, LOOK, "wait=2", reportToken=report)
    until_ = datetime.now(UTC) + timedelta(minutes=1)
    link = signed_urls.sign_url(api.service.service_secret, id_, look.key.id, until_)
    assert {
        "status query": reply(api, look, LOOK, reportToken=report)[0],
        "node": reply(api, look, NODE, id=node)[0],
        "long poll": polled[0],
        "link": api.client.get(link).status_code,
    } == seen


def test_a_foreign_an_unknown_and_a_malformed_token_are_told_apart_by_nothing(api: Api) -> None:
    """Whoever tries tokens learns from no byte of an answer whether a report exists."""
    owner, stranger = new_partner(api), new_partner(api)
    foreign = ask(api, owner)
    unknown = credentials.mint(credentials.REPORT_TOKEN)
    answers = {reply(api, stranger, LOOK, reportToken=token) for token in (foreign, unknown, foreign[:-1] + "!", "")}
    assert len(answers) == 1
    assert next(iter(answers))[0] is None
    api.finish(b"day,estimated_earnings_eur\n")
