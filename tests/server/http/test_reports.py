"""Reports as the schema shows them: links before and after the end, pages, nodes, and whose they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.api import ASK, INPUT, Api

from reelport.server.access import keys, organizations
from reelport.server.app import create_app

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
