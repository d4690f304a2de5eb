"""`GET /v1/reports/ID`: what it tells of a report, whose reports it tells of, and how it refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.patience import PATIENCE, until
from tests.server.api import Api, open_api

from reelport.report_details import REPORTS_PATH, FailureReason
from reelport.server import credentials
from reelport.server.access import keys, organizations
from reelport.server.queue import backlog, jobs
from reelport.server.settings import read_settings

BODY = b"day,views\n2026-01-01,3\n"


def get(api: Api, token: str, **headers: str) -> httpx2.Response:
    """The answer about a report."""
    return api.client.get(f"{REPORTS_PATH}/{token}", headers={"Authorization": f"Bearer {api.token}", **headers})


def told(api: Api, token: str) -> dict[str, Any]:
    """What is told of a report that the key may see."""
    answer = get(api, token)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert "reportToken" not in answer.text
    found: dict[str, Any] = answer.json()
    return found


def problem(answer: httpx2.Response, status: int, code: str) -> str:
    """The sentence of a refusal, which has the form of RFC 9457."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    found: dict[str, Any] = answer.json()
    assert set(found) == {"type", "title", "status", "detail", "code"}
    assert (found["type"], found["status"], found["code"]) == ("about:blank", status, code)
    detail: str = found["detail"]
    return detail


def asked(api: Api) -> str:
    """The token of a new report."""
    token: str = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    return token


def test_a_report_is_told_from_the_ask_to_its_end(api: Api) -> None:
    """Its state, its place in the queue while it waits, and what its file is once it is finished."""
    first, second = asked(api), asked(api)
    waiting = told(api, second)
    assert (waiting["id"], waiting["state"], waiting["place"]) == (second, "queued", 2)
    nothing = ("rows", "bytes", "sha256", "lastCompleteDay", "failure")
    assert [waiting[name] for name in nothing] == [None] * 5
    assert datetime.fromisoformat(waiting["expiresAt"]) > datetime.now(UTC)
    claim = jobs.claim(api.service.db, "w", running=9, lease_seconds=60)
    assert claim is not None
    running = told(api, first)
    assert (running["state"], running["place"], told(api, second)["place"]) == ("running", None, 1)
    assert jobs.give_back(api.service.db, claim)
    record = api.finish(BODY, date(2026, 1, 1))
    finished = told(api, second)
    assert (finished["state"], finished["rows"], finished["bytes"]) == ("finished", 1, len(BODY))
    assert (finished["sha256"], finished["lastCompleteDay"]) == (record.sha256, "2026-01-01")
    assert (finished["place"], finished["failure"]) == (None, None)


def test_a_cancelled_report_is_not_told_as_failed(api: Api) -> None:
    """On the copied wire both are FAILED; here the state and the reason tell them apart."""
    cancelled, failed = asked(api), asked(api)
    backlog.cancel(api.service.db, cancelled, datetime.now(UTC))
    reason = FailureReason.CANCELLED
    found = told(api, cancelled)
    assert found["state"] == "cancelled"
    assert found["failure"] == {
        "code": reason.value,
        "message": "It was cancelled by an operator.",
        "advice": reason.advice,
    }
    claim = jobs.claim(api.service.db, "w", running=9, lease_seconds=60)
    assert claim is not None
    assert jobs.fail(api.service.db, claim, "inside", datetime.now(UTC))
    reason = FailureReason.NOT_MADE
    found = told(api, failed)
    assert found["state"] == "failed"
    assert found["failure"] == {"code": reason.value, "message": reason.sentence, "advice": reason.advice}


def test_what_a_key_may_not_see_is_not_even_there(api: Api) -> None:
    """Another partner's report, an unknown token and any other text get the same answer, but for the request's id."""
    now = datetime.now(UTC)
    rival = organizations.add_organization(api.service.db, "rival", now)
    organizations.allow_channels(api.service.db, rival.id, ["c-rival"])
    key = keys.create_key(api.service.db, api.service.service_secret, "rival", ("create_reports", "read_reports"), now)
    other = Api(api.client, api.service, key)
    other.token = other.grant().json()["access_token"]
    own = asked(api)
    texts = [own, credentials.mint(credentials.REPORT_TOKEN), "x", "%00", "a" * 2000, f"{own}%0A"]
    answers = [get(other, token) for token in texts]
    assert told(api, own)["state"] == "queued"
    assert {answer.content for answer in answers} == {answers[0].content}
    assert "may not see it" in problem(answers[0], 404, "not_found")
    assert len({tuple(name for name, _ in answer.headers.multi_items()) for answer in answers}) == 1
    api.finish(BODY)


def test_a_token_without_the_scope_is_refused(api: Api) -> None:
    """As in GraphQL, with the scope that is missing."""
    api_without = Api(api.client, api.service, api.key)
    api_without.token = api.grant(scope="access_ads").json()["access_token"]
    assert "read_reports" in problem(get(api_without, asked(api)), 403, "scope_missing")
    api.finish(BODY)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Authorization": ""}, 401), ({"Authorization": "Bearer x"}, 401), ({"Authorization": "Basic eA=="}, 401)],
)
def test_a_caller_without_a_valid_token_gets_a_challenge(api: Api, headers: dict[str, str], status: int) -> None:
    """The challenge is that of GraphQL's endpoint: both find callers in one place."""
    answer = get(api, "x", **headers)
    problem(answer, status, "unauthenticated")
    assert answer.headers["www-authenticate"] == api.post(b"{}", **headers).headers["www-authenticate"]


def test_a_query_that_prefers_to_wait_is_answered_when_its_report_ends(tmp_path: Path) -> None:
    """As in GraphQL, and not before; a report that has ended is told at once, and nothing is said of a wait."""
    with (
        open_api(read_settings(data=tmp_path, workers=0, look_seconds=int(PATIENCE))) as api,
        ThreadPoolExecutor(1) as pool,
    ):
        token = asked(api)
        waiting = pool.submit(get, api, token, Prefer=f"wait={PATIENCE:.0f}")
        assert until(lambda: len(api.service.long_polls) == 1)
        assert told(api, token)["state"] == "queued"
        api.finish(BODY)
        answer = waiting.result(PATIENCE)
        assert (answer.status_code, answer.json()["state"]) == (200, "finished")
        assert answer.headers["preference-applied"] == f"wait={PATIENCE:.0f}"
        assert "preference-applied" not in get(api, token, Prefer="wait=1").headers


def test_a_token_that_is_revoked_while_its_query_waits_is_refused(tmp_path: Path) -> None:
    """The caller is found again after the wait."""
    with (
        open_api(read_settings(data=tmp_path, workers=0, look_seconds=int(PATIENCE))) as api,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(get, api, asked(api), Prefer=f"wait={PATIENCE:.0f}")
        assert until(lambda: len(api.service.long_polls) == 1)
        keys.revoke_key(api.service.db, api.key.id, datetime.now(UTC))
        api.finish(BODY)
        problem(waiting.result(PATIENCE), 401, "unauthenticated")


def test_wrong_addresses_and_methods_are_problems_too(api: Api) -> None:
    """Everything below `/v1` refuses in one form."""
    problem(api.client.get("/v1"), 404, "not_found")
    problem(api.client.get(f"{REPORTS_PATH}/a/b"), 404, "not_found")
    answer = api.client.delete(f"{REPORTS_PATH}/x")
    problem(answer, 405, "wrong_method")
    assert "GET" in answer.headers["allow"]
