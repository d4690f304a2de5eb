"""Reports as the schema and `GET /v1/reports/ID` show them: links, pages, nodes, and whose they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from tests.patience import PATIENCE, until
from tests.server.api import ASK, INPUT, Api, open_api

from reelport.report_details import REPORTS_PATH, FailureReason
from reelport.server import credentials
from reelport.server.access import keys, organizations
from reelport.server.app import create_app
from reelport.server.queue import backlog, jobs
from reelport.server.settings import read_settings

LOOK = """
query Look($t: String!, $first: Int, $page: Int) {
  partner { id reportFile(reportToken: $t) {
    id reportToken status createDate createdAt
    downloadLinks(first: $first, page: $page) {
      totalCount
      edges { node { id link } }
      pageInfo { hasNextPage hasPreviousPage nextPage startCursor endCursor }
      metadata { id algorithm { name uuid version } }
    }
  } }
}
"""


def look(api: Api, token: str, **variables: object) -> Any:  # noqa: ANN401 - JSON
    answer = api.graphql(LOOK, {"t": token, **variables})
    assert "errors" not in answer, answer
    return answer["data"]["partner"]["reportFile"]


def test_a_waiting_report_has_links_without_edges(api: Api) -> None:
    """The connection is there from the first look on, never null."""
    token = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    report = look(api, token)
    links = report["downloadLinks"]
    assert report["status"] == "IN_PROGRESS"
    assert (links["edges"], links["totalCount"]) == ([], 0)
    assert links["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "nextPage": None,
        "startCursor": None,
        "endCursor": None,
    }
    assert links["metadata"]["algorithm"] is None
    assert report["createdAt"] == report["createDate"]
    assert datetime.fromisoformat(report["createDate"]).tzinfo is not None
    api.finish(b"day,views\n")


@pytest.mark.parametrize(
    ("page", "edges", "more", "before"),
    [
        ({}, 1, False, False),
        ({"first": None, "page": None}, 1, False, False),
        ({"first": 10, "page": 1}, 1, False, False),
        ({"first": 1, "page": 2}, 0, False, True),
    ],
    ids=str,
)
def test_links_come_in_pages(api: Api, page: dict[str, int | None], edges: int, *, more: bool, before: bool) -> None:
    """One link a report; pages that have none are empty and say where they lie."""
    token = api.finished()
    links = look(api, token, **page)["downloadLinks"]
    assert len(links["edges"]) == edges
    assert links["totalCount"] == 1
    assert (links["pageInfo"]["hasNextPage"], links["pageInfo"]["hasPreviousPage"]) == (more, before)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ({"first": -1}, ["first"]),
        ({"first": 0}, ["first"]),
        ({"page": 0}, ["page"]),
        ({"first": -1, "page": -1}, ["first", "page"]),
    ],
)
def test_a_page_that_cant_be_is_told(api: Api, page: dict[str, int], names: list[str]) -> None:
    """The links are null then, the rest of the report is there. Whoever follows pages of none would never end."""
    token = api.ask(**api.new())["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    answer = api.graphql(LOOK, {"t": token, **page})
    assert [error["extensions"]["inputPath"] for error in answer["errors"]] == [[name] for name in names]
    assert answer["errors"][0]["path"] == ["partner", "reportFile", "downloadLinks"]
    assert answer["data"]["partner"]["reportFile"]["status"] == "IN_PROGRESS"
    assert answer["data"]["partner"]["reportFile"]["downloadLinks"] is None
    api.finish(b"day,views\n")


def test_an_ask_that_is_answered_already_has_its_links(api: Api) -> None:
    """The same ask again gives the same report, finished, with a link in the payload itself."""
    wire = {**INPUT, **api.new()}
    token = api.graphql(ASK, {"input": wire})["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    api.finish(b"day,views\n")
    document = ASK.replace("id reportToken", "reportToken downloadLinks { edges { node { link } } }")
    report = api.graphql(document, {"input": wire})["data"]["askPartnerReportFile"]["reportFile"]
    assert (report["reportToken"], report["status"]) == (token, "FINISHED")
    assert report["downloadLinks"]["edges"][0]["node"]["link"].startswith("http://testserver/files/")


def test_every_id_leads_back_to_its_node(api: Api) -> None:
    """`node` finds what an answer gave an id to, by its own type."""
    token = api.finished()
    answer = api.graphql(LOOK, {"t": token})["data"]["partner"]
    report = answer["reportFile"]
    ids = {
        "PartnerSpace": answer["id"],
        "PartnerReportFile": report["id"],
        "ReportFileDownloadLink": report["downloadLinks"]["edges"][0]["node"]["id"],
        "Metadata": report["downloadLinks"]["metadata"]["id"],
    }
    document = (
        "query($id: ID!) { node(id: $id) { __typename id ... on PartnerReportFile { reportToken status }"
        " ... on ReportFileDownloadLink { link } } }"
    )
    for name, id_ in ids.items():
        node = api.graphql(document, {"id": id_})["data"]["node"]
        assert (node["__typename"], node["id"]) == (name, id_)
    assert api.graphql(document, {"id": ids["PartnerReportFile"]})["data"]["node"]["reportToken"] == token


@pytest.mark.parametrize(
    "id_", ["", "x", "é", "====", "UGFydG5lcg", "UGFydG5lclNwYWNlOnJpdmFs", 5, "UGFydG5lclJlcG9ydEZpbGU6eA"]
)
def test_an_id_that_isnt_ours_is_null(api: Api, id_: object) -> None:
    """Unknown, broken and another partner's are all the same."""
    answer = api.graphql("query($id: ID!) { node(id: $id) { id } }", {"id": id_})
    assert answer == {"data": {"node": None}}


def test_a_report_of_another_partner_is_null(api: Api) -> None:
    """By its token and by its node, with no error to tell it from one that never was."""
    token = api.finished()
    id_ = look(api, token)["id"]
    now = datetime.now(UTC)
    organizations.add_organization(api.service.db, "rival", now)
    key = keys.create_key(api.service.db, api.service.service_secret, "rival", ["create_reports"], now)
    rival = Api(api.client, api.service, key)
    rival.token = rival.grant().json()["access_token"]
    assert look(rival, token) is None
    assert look(rival, "unknown") is None
    assert rival.graphql("query($id: ID!) { node(id: $id) { id } }", {"id": id_}) == {"data": {"node": None}}


def test_what_a_token_may_not_is_told_by_its_scope(api: Api) -> None:
    """To look needs create_reports or read_reports, to ask needs create_reports."""
    now = datetime.now(UTC)
    key = keys.create_key(api.service.db, api.service.service_secret, "demo", ["delete_reports", "read_reports"], now)
    caller = Api(api.client, api.service, key)
    caller.token = caller.grant(scope="read_reports").json()["access_token"]
    assert [e["extensions"]["nearest"] for e in caller.ask()["errors"]] == ["create_reports"]
    assert look(caller, "unknown") is None
    caller.token = caller.grant(scope="delete_reports").json()["access_token"]
    answer = caller.graphql(LOOK, {"t": "unknown"})
    assert [e["extensions"]["code"] for e in answer["errors"]] == ["scope_missing"]
    assert answer["errors"][0]["type"] == "access_forbidden"


def test_links_begin_with_what_the_caller_used(api: Api) -> None:
    """Unless the setting says what they begin with."""
    token = api.finished()
    assert api.link(token).startswith("http://testserver/files/")
    fixed = replace(api.service.settings, public_url="https://reports.example/base/")
    with TestClient(create_app(fixed)) as client:
        other = Api(client, client.app.state.service, api.key, api.token)  # type: ignore[attr-defined]
        assert other.link(token).startswith("https://reports.example/base/files/")


def test_a_full_queue_is_told_with_its_code(api: Api) -> None:
    """The refused ask is null; the others of its document are taken."""
    api.finished()  # and whatever else waited
    narrow = replace(api.service.settings, waiting_limit=0, running_limit=1)
    with TestClient(create_app(narrow)) as client:
        other = Api(client, client.app.state.service, api.key, api.token)  # type: ignore[attr-defined]
        document = (
            "mutation($a: AskPartnerReportFileInput!, $b: AskPartnerReportFileInput!) {"
            " a: askPartnerReportFile(input: $a) { status } b: askPartnerReportFile(input: $b) { status } }"
        )
        answer = other.graphql(document, {"a": {**INPUT, **api.new()}, "b": {**INPUT, **api.new()}})
    assert answer["data"] == {"a": {"status": "SUCCESS"}, "b": None}
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"], error["type"]) == (
        ["b"],
        "too_many_reports",
        "too_many_requests",
    )


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
