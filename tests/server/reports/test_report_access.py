"""Who may see a report, after each way to lose it; cancelling and deleting by an organization's people."""

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
from tests.server.conftest import State

from reelport.engine.report_format import Written
from reelport.report_details import FailureReason
from reelport.server import credentials
from reelport.server.access import audit_log, grants, keys, organizations
from reelport.server.access.audit_log import COMMAND_LINE, Actor
from reelport.server.access.callers import REPORT_SCOPES, Caller
from reelport.server.access.grants import ClientCredentials, Grant
from reelport.server.access.keys import NewKey
from reelport.server.access.roles import Reach
from reelport.server.files import report_files, signed_urls
from reelport.server.queue import jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import removal, report_access, report_list
from reelport.server.reports.removal import Remover
from reelport.server.reports.report_list import ListedReport
from reelport.server.state import tallies
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
    removal.remove_channels(api.service.db, api.service.settings, owner.organization, gone, datetime.now(UTC))
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


ANN = Actor("ann@demo.example", "192.0.2.1")


@pytest.fixture
def caller(state: State) -> Caller:
    """A key of the organization `demo`."""
    state.organization("demo", "c")
    return state.caller(state.key("demo"))


def claimed(state: State) -> Claim:
    """The next job, taken by a worker."""
    claim = jobs.claim(state.db, "worker", running=9, lease_seconds=30)
    assert claim is not None
    return claim


def finish(state: State, claim: Claim) -> bool:
    """Write the file of an attempt and publish it."""
    draft = report_files.prepare_draft(state.settings, claim.report_id, claim.attempt)
    draft.write_bytes(b"day,views\n")
    record = report_files.publish_draft(state.settings, draft, Written(0, 10, "ab"))
    return jobs.finish(state.db, claim, record, state.now)


def listed(state: State, caller: Caller, report_id: str) -> ListedReport | None:
    """The report as its people see it."""
    return report_list.find_listed_report(state.db, Reach(caller.organization_id), report_id, state.now)


def actions(state: State) -> list[tuple[str, str, str]]:
    """What the log tells of people, newest first."""
    found = audit_log.list_actions(state.db)
    return [(each.actor.name, each.action, each.subject) for each in found if each.actor.address != COMMAND_LINE]


def test_a_cancelled_report_has_failed_and_says_by_whom(state: State, caller: Caller) -> None:
    """Waiting or running, it ends at once; its worker can't publish any more; the log and the counters tell of it."""
    remover = Remover(caller.organization_id, ANN)
    runs, waits = state.ask(caller, 1), state.ask(caller, 2)
    taken = claimed(state)
    for asked in (runs, waits):
        assert removal.cancel_report(state.db, remover, asked.id, state.now)
        found = listed(state, caller, asked.id)
        assert found is not None
        assert (found.state, found.reason) == (
            "cancelled",
            f"It was cancelled by ann@demo.example. {FailureReason.CANCELLED.advice}",
        )
        assert not removal.cancel_report(state.db, remover, asked.id, state.now)
    assert not jobs.find_held(state.db, [taken])
    assert not finish(state, taken)
    assert actions(state) == [(ANN.name, "cancelled a report", asked.id) for asked in (waits, runs)]
    assert tallies.read_tallies(state.db).ended == {("cancelled", "user"): 2}


def test_nothing_is_left_of_a_deleted_report(state: State, caller: Caller) -> None:
    """Record, file and access are gone: its id, token and links are then unknown to everybody."""
    asked = state.ask(caller)
    claim = claimed(state)
    assert finish(state, claim)
    remover = Remover(caller.organization_id, ANN)
    assert removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert listed(state, caller, asked.id) is None
    assert report_access.find_report(state.db, caller, asked.token, state.now) is None
    assert report_access.find_linked_report(state.db, asked.id, caller.key_id, state.now) is None
    assert not list(state.settings.report_store.list_names())
    assert not removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert actions(state) == [(ANN.name, "deleted a report", asked.id)]


def test_an_unfinished_report_is_cancelled_before_it_is_deleted(state: State, caller: Caller) -> None:
    """A report that waits or runs stays as it is; once it was cancelled its record can go."""
    asked, remover = state.ask(caller), Remover(caller.organization_id, ANN)
    assert not removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert claimed(state).report_id == asked.id
    assert not removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert not actions(state)
    assert removal.cancel_report(state.db, remover, asked.id, state.now)
    assert removal.delete_report(state.db, state.settings, remover, asked.id, state.now)


def test_a_foreign_report_is_neither_cancelled_nor_deleted(state: State, caller: Caller) -> None:
    """People of another organization change nothing of it, and their log tells nothing."""
    asked, stranger = state.ask(caller), Remover(state.organization("rival"), ANN)
    assert not removal.cancel_report(state.db, stranger, asked.id, state.now)
    assert finish(state, claimed(state))
    assert not removal.delete_report(state.db, state.settings, stranger, asked.id, state.now)
    assert listed(state, caller, asked.id) is not None
    assert not actions(state)
