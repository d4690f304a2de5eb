"""GraphQL and tokens over a real socket: documents in every form, and GraphQL over HTTP as its own tests ask for it."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphql import build_client_schema, build_schema, get_introspection_query, print_schema
from tests import forked
from tests.cases import thin_out
from tests.npm_programs import run_node
from tests.warm_service import Service

from reelport.server.graphql.resolvers import build_sdl

from .conftest import ASK, INPUT, PAYLOAD, Reply, Wire, token_of

DATES = 'startDate: "2026-01-01", endDate: "2026-01-02"'
INLINE = f"askPartnerReportFile(input: {{metrics: [VIEWS], dimensions: [DAY], {DATES}}})"


def csv_of(wire: Wire, token: str) -> str:
    """The file of a report once it is finished; its link is fetched without any header of ours."""
    until = time.monotonic() + 300
    while True:
        answer = wire.graphql(
            "query($t: String!) { partner { reportFile(reportToken: $t)"
            " { status downloadLinks { edges { node { link } } } } } }",
            {"t": token},
        )
        report = answer["data"]["partner"]["reportFile"]
        if report["status"] != "IN_PROGRESS":
            break
        assert report["downloadLinks"] == {"edges": []}
        assert time.monotonic() < until, wire.service.log
        time.sleep(0.02)
    assert report["status"] == "FINISHED", wire.service.log
    with urllib.request.urlopen(report["downloadLinks"]["edges"][0]["node"]["link"], timeout=300) as reply:
        body: bytes = reply.read()
    return body.decode()


FORMS: dict[str, tuple[str, object, str | None]] = {
    "anonymous": (f"mutation {{ {INLINE} {PAYLOAD} }}", None, None),
    "named": (f"mutation Anything {{ {INLINE} {PAYLOAD} }}", {}, "Anything"),
    "the whole input": (ASK, {"input": INPUT}, None),
    "any name, one of two operations": (
        f"query Other {{ partner {{ id }} }} {ASK.replace('$input', '$item').replace('mutation', 'mutation Ask')}",
        {"item": INPUT},
        "Ask",
    ),
    "single variables, blanks only": (
        f"""mutation($m:[PartnerReportMetric]! $d:[PartnerReportDimension]! $a:DateTime!
        $b:DateTime!){{askPartnerReportFile(input:{{metrics:$m dimensions:$d startDate:$a endDate:$b}}){PAYLOAD}}}""",
        {"m": ["VIEWS"], "d": ["DAY"], "a": "2026-01-01", "b": "2026-01-02"},
        None,
    ),
    "lists of one, nulls, a fragment": (
        f"""mutation($p: PartnerReportProduct) {{
          askPartnerReportFile(input: {{metrics: VIEWS, dimensions: DAY, {DATES}, product: $p, filters: null}}) {{
            reportFile {{ reportToken ...More }}
          }}
        }}
        fragment More on PartnerReportFile {{ status createdAt @include(if: false) }}""",
        None,
        None,
    ),
}


@pytest.mark.parametrize("form", thin_out(FORMS, 3))
def test_one_ask_in_many_forms_is_one_report(wire: Wire, form: str) -> None:
    """Whole variables, single ones, literals, any names: each is understood, and means the same."""
    document, variables, operation = FORMS[form]
    reference = token_of(wire.graphql(f"mutation {{ {INLINE} {PAYLOAD} }}"))
    answer = wire.graphql(document, variables, operationName=operation)
    assert csv_of(wire, token_of(answer)) == csv_of(wire, reference)


FILTERS: tuple[dict[str, str | None] | None, ...] = (
    {},
    None,
    {"mediaType": None},
    {"mediaType": "VIDEO"},
    {"channelSlug": "demo-news", "mediaType": "LIVE"},
)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_filters_may_be_absent_empty_or_filled(wire: Wire, filters: dict[str, str | None] | None) -> None:
    """What is empty filters nothing."""
    whole = csv_of(wire, token_of(wire.graphql(ASK, {"input": INPUT})))
    found = csv_of(wire, token_of(wire.graphql(ASK, {"input": {**INPUT, "filters": filters}})))
    assert found.startswith("day,views\n")
    assert (found == whole) is not any((filters or {}).values())


def test_the_end_may_be_today_and_not_tomorrow(wire: Wire) -> None:
    """Today is that of UTC; without facts a report is a header."""
    today = datetime.now(UTC).date()
    given = {**INPUT, "startDate": str(today - timedelta(days=1)), "endDate": str(today)}
    assert csv_of(wire, token_of(wire.graphql(ASK, {"input": given}))) == "day,views\n"
    answer = wire.graphql(ASK, {"input": {**given, "endDate": str(datetime.now(UTC).date() + timedelta(days=1))}})
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["range_in_future"]


def test_introspection_gives_the_shipped_schema(wire: Wire) -> None:
    """A tool that reads the schema over the wire has the file, descriptions included."""
    answer = wire.graphql(get_introspection_query(input_value_deprecation=True))
    assert print_schema(build_client_schema(answer["data"])) == print_schema(build_schema(build_sdl()))


def test_polling_with_a_fresh_token_each_time_is_never_throttled(wire: Wire) -> None:
    """Sixty looks as fast as they go, each with a token of its own, are all answered."""
    token = token_of(wire.graphql(f"mutation {{ {INLINE} {PAYLOAD} }}"))
    look = {"query": f'{{ partner {{ reportFile(reportToken: "{token}") {{ status }} }} }}'}
    for _ in range(60):
        wire.token = wire.fresh("create_reports")
        reply = wire.post(look)
        assert reply.status == 200
        assert "errors" not in reply.json


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


@pytest.mark.long
def test_the_reference_audits_find_no_error_and_no_unwanted_warning(wire: Wire) -> None:
    """Of the audits of `graphql-http`, two SHOULDs are not met, and no MUST: each for programs in the wild."""
    found: list[dict[str, Any]] = json.loads(
        run_node("-e", AUDITS, URL=f"{wire.service.url}/graphql", TOKEN=wire.fresh())
    )
    assert len(found) > 50
    assert not [audit for audit in found if audit["status"] == "error"]
    assert {audit["id"] for audit in found if audit["status"] == "warn"} == FOR_PROGRAMS_IN_THE_WILD


@pytest.mark.long
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


@pytest.mark.long
def test_data_with_errors_is_294(wire: Wire) -> None:
    """A field that is refused leaves the others answered: the status says so."""
    reply = post(wire, {"query": ASK, "variables": {"input": {**INPUT, "metrics": []}}})
    assert reply.status == 294
    answer = json.loads(reply.body)
    assert answer["data"] == {"askPartnerReportFile": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["no_metrics"]


@pytest.mark.long
@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=latin-1", ""])
def test_a_body_of_no_known_type_is_415(wire: Wire, content_type: str) -> None:
    """A page of another site could send one without being asked for permission."""
    reply = post(wire, {"query": "{ __typename }"}, **{"Content-Type": content_type})
    assert reply.status == 415
    assert "data" not in json.loads(reply.body)


@pytest.mark.long
def test_a_missing_token_is_401_without_data(wire: Wire) -> None:
    """Refusals before the document have the media type too."""
    reply = post(wire, {"query": "{ __typename }"}, Authorization="")
    assert reply.status == 401
    assert reply.headers["content-type"].startswith(GRAPHQL_JSON)
    assert set(json.loads(reply.body)) == {"errors"}


@pytest.mark.long
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


@pytest.mark.long
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


KEYS = ["access_token", "expires_in", "refresh_token", "scope", "token_type"]
REPORT_SCOPES = "create_reports read_reports delete_reports access_ads access_revenue manage_reports"


def test_manage_reports_stands_for_every_scope_of_the_key(service: Service) -> None:
    """A program in production sends only that with create_reports, and reads earnings."""
    dates = 'startDate: "2026-01-01", endDate: "2026-01-02"'
    wire = f"{{metrics: [ESTIMATED_EARNINGS_EUR], dimensions: [DAY], {dates}}}"
    ask = f"mutation {{ askPartnerReportFile(input: {wire}) {{ reportFile {{ reportToken }} }} }}"
    without_the_word = ["create_reports", "read_reports", "delete_reports", "access_ads", "access_revenue"]
    for full in (Wire(service, service.key("demo")), Wire(service, service.key("demo", without_the_word))):
        full.token = full.fresh("manage_reports create_reports")
        assert "errors" not in full.graphql(ask)
        full.token = full.fresh("create_reports delete_reports")
        assert [e["extensions"]["code"] for e in full.graphql(ask)["errors"]] == ["scope_missing"]
    poor = Wire(service, service.key("demo", ["create_reports", "manage_reports"]))
    poor.token = poor.fresh()
    assert "access_revenue" in poor.graphql(ask)["errors"][0]["message"]


def test_a_revoked_keys_tokens_end_at_once(service: Service) -> None:
    """The very next request is 401 with an errors list and a challenge."""
    revoked = Wire(service, service.key("demo"))
    assert "errors" not in revoked.graphql("{ partner { id } }")
    words = ["-m", "reelport", "key", "revoke", revoked.key.id, "--data", str(service.data)]
    assert forked.run(words, loads=forked.SERVING).returncode == 0
    reply = revoked.post({"query": "{ partner { id } }"})
    assert reply.status == 401
    assert reply.json["errors"][0]["extensions"]["code"] == "unauthenticated"
    assert reply.headers["www-authenticate"].startswith("Bearer ")
    assert revoked.grant().json["error"] == "invalid_client"
