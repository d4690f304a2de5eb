"""GraphQL over HTTP as the specification has it, for clients that name its media type."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.npm_programs import run_node

from .conftest import ASK, INPUT, Reply, Wire

pytestmark = pytest.mark.long

GRAPHQL_JSON = "application/graphql-response+json"
FOR_PROGRAMS_IN_THE_WILD = {"9ABE", "BCF8"}
"""As `application/json`, a body counts whatever its content type is, and what isn't JSON is answered with 200."""
AUDITS = """
const { serverAudits } = require("graphql-http");
const headers = { authorization: `Bearer ${process.env.TOKEN}` };
const fetchFn = (url, given = {}) => fetch(url, { ...given, headers: { ...headers, ...given.headers } });
(async () => {
  const found = [];
  for (const audit of serverAudits({ url: process.env.URL, fetchFn })) {
    const { id, name, status, reason } = await audit.fn();
    found.push({ id, name, status, reason });
  }
  console.log(JSON.stringify(found));
})();
"""


def post(wire: Wire, body: object, **headers: str) -> Reply:
    """Post as a client that understands the statuses of the specification."""
    return wire.post(body, Accept=GRAPHQL_JSON, **headers)


def test_the_reference_audits_find_no_error_and_no_unwanted_warning(wire: Wire) -> None:
    """Of the audits of `graphql-http`, two SHOULDs are not met, and no MUST: each for programs in the wild."""
    found: list[dict[str, Any]] = json.loads(
        run_node("-e", AUDITS, URL=f"{wire.service.url}/graphql", TOKEN=wire.fresh())
    )
    assert len(found) > 50
    assert not [audit for audit in found if audit["status"] == "error"]
    assert {audit["id"] for audit in found if audit["status"] == "warn"} == FOR_PROGRAMS_IN_THE_WILD


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": ',
        {"qeury": "{ __typename }"},
        {"query": "{ __typename }", "extensions": []},
        {"query": "{"},
        {"query": "{ nothing }"},
        {"query": "query A { __typename } query B { __typename }"},
        {"query": "query ($id: ID!) { node(id: $id) { id } }"},
        {"query": ASK, "variables": {"input": {**INPUT, "metrics": ["VIEWZ"]}}},
    ],
    ids=str,
)
def test_a_request_that_cant_run_is_400_without_data(wire: Wire, body: object) -> None:
    """The errors are those that other clients get with 200."""
    reply, legacy = post(wire, body), wire.post(body, Accept="application/json")
    assert reply.status == 400
    assert reply.headers["content-type"] == f"{GRAPHQL_JSON}; charset=utf-8"
    answer = json.loads(reply.body)
    assert set(answer) == {"errors"}
    if "extensions" not in (body if isinstance(body, dict) else {}):
        assert legacy.status == 200
        assert legacy.json == {"data": None, "errors": answer["errors"]}


def test_data_with_errors_is_294(wire: Wire) -> None:
    """A field that is refused leaves the others answered: the status says so."""
    reply = post(wire, {"query": ASK, "variables": {"input": {**INPUT, "metrics": []}}})
    assert reply.status == 294
    answer = json.loads(reply.body)
    assert answer["data"] == {"askPartnerReportFile": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["no_metrics"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=latin-1", ""])
def test_a_body_of_no_known_type_is_415(wire: Wire, content_type: str) -> None:
    """A page of another site could send one without being asked for permission."""
    reply = post(wire, {"query": "{ __typename }"}, **{"Content-Type": content_type})
    assert reply.status == 415
    assert "data" not in json.loads(reply.body)


def test_a_missing_token_is_401_without_data(wire: Wire) -> None:
    """Refusals before the document have the media type too."""
    reply = post(wire, {"query": "{ __typename }"}, Authorization="")
    assert reply.status == 401
    assert reply.headers["content-type"].startswith(GRAPHQL_JSON)
    assert set(json.loads(reply.body)) == {"errors"}


@pytest.mark.parametrize(
    "accept",
    [
        f"{GRAPHQL_JSON}, application/json;q=0.9",
        f"application/json, {GRAPHQL_JSON}",
        f"{GRAPHQL_JSON}; charset=utf-8, application/json; charset=utf-8, */*;q=0.1",
        "Application/GraphQL-Response+JSON",
    ],
)
def test_a_client_that_names_the_media_type_gets_it(wire: Wire, accept: str) -> None:
    """At the same quality too: who names it understands it."""
    assert wire.post({"query": "{"}, Accept=accept).status == 400


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/*",
        "application/json",
        "text/html, */*;q=0.8",
        f"application/json, {GRAPHQL_JSON};q=0.5",
        f"{GRAPHQL_JSON};q=0, */*",
        "text/html",
        "application/xml, text/*",
        "application/json;q=0",
        "",
    ],
)
def test_everybody_else_is_answered_as_before(wire: Wire, accept: str) -> None:
    """With 200, as JSON without a charset, and with `data`: programs in the wild name types that they don't mean."""
    reply = wire.post({"query": "{"}, Accept=accept)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["data"] is None
