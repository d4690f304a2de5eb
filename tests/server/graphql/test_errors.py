"""Errors of GraphQL: one form for all, every problem at once, and no field that takes another with it."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.api import ASK, INPUT, Api

from reelport import check
from reelport.engine.report_format import FORM_TYPES
from reelport.query import ReportQuery
from reelport.report_details import LIMITS_PATH, REPORTS_PATH
from reelport.server.graphql.faults import TYPES
from reelport.server.http.openapi import OPENAPI_PATH, SDL_PATH
from reelport.wire import GRAPHQL_PATH, Code

CODES = {code.value: code for code in Code}


def inline(metrics: str) -> str:
    """An ask that stands in the document."""
    dates = 'startDate: "2026-01-01", endDate: "2026-01-02"'
    return f"askPartnerReportFile(input: {{metrics: [{metrics}], dimensions: [DAY], {dates}}})"


def well_formed(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The errors of an answer, each checked against the documented form."""
    errors: list[dict[str, Any]] = answer.get("errors", [])
    for error in errors:
        assert error["message"]
        assert len(error["message"]) <= 500
        assert error["path"] is None or isinstance(error["path"], list)
        assert error["type"] in TYPES
        assert error["reason"] == CODES[error["extensions"]["code"]].sentence
        for place in error.get("locations", ()):
            assert place.keys() == {"line", "column"}
    return errors


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in well_formed(answer)]


def places(answer: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """Code and place in the input of each error."""
    return [(error["extensions"]["code"], error["extensions"].get("inputPath")) for error in well_formed(answer)]


def test_a_good_answer_has_no_errors_key(api: Api) -> None:
    """Not even an empty one: clients take its presence for failure."""
    answer = api.ask(clientMutationId="mine")
    assert answer.keys() == {"data", "extensions"}
    payload = answer["data"]["askPartnerReportFile"]
    assert payload["status"] == "SUCCESS"
    assert payload["clientMutationId"] == "mine"
    assert payload["reportFile"]["status"] == "IN_PROGRESS"


def test_every_unknown_name_of_a_variable_is_told_with_the_nearest(api: Api) -> None:
    """GraphQL refuses the document, but not after the first wrong name."""
    answer = api.ask(
        metrics=["VIEWZ", "views", "VIEWS"],
        dimensions=["VISITOR_CONTRY"],
        product="content",
        filters={"mediaType": "LIV", "chanelSlug": "x"},
    )
    assert answer["data"] is None
    told = {tuple(e["extensions"]["inputPath"]): e["extensions"] for e in well_formed(answer)}
    assert {place: (each["code"], each["nearest"]) for place, each in told.items()} == {
        ("metrics", 0): ("unknown_metric", "VIEWS"),
        ("metrics", 1): ("unknown_metric", "VIEWS"),
        ("dimensions", 0): ("unknown_dimension", "VISITOR_COUNTRY"),
        ("product",): ("unknown_product", "CONTENT"),
        ("filters", "mediaType"): ("unknown_filter_value", "LIVE"),
        ("filters", "chanelSlug"): ("unknown_filter", "channelSlug"),
    }
    assert all(error["path"] == ["askPartnerReportFile"] for error in answer["errors"])


def test_every_unknown_name_of_the_document_is_told_with_its_place(api: Api) -> None:
    """The same for what stands in the document, alias and line included."""
    first, second = inline("VIEWZ,\n UPLOADZ"), inline("VIEWS, LIVE_VIEWER")
    answer = api.graphql(f"mutation {{\n  a: {first} {{ status }}\n  b: {second} {{ status }}\n}}")
    assert answer["data"] is None
    assert [(e["path"], e["extensions"]["nearest"], e["locations"][0]["line"]) for e in well_formed(answer)] == [
        (["a"], "VIEWS", 2),
        (["a"], "UPLOADS", 3),
        (["b"], "LIVE_VIEWERS", 4),
    ]


def test_names_in_variables_and_in_the_document_are_told_together(api: Api) -> None:
    """One answer for all of them, and for what the rest of the query would be refused for."""
    answer = api.graphql(
        "query Q { partner { id } } mutation M($metrics: [PartnerReportMetric]!, $end: DateTime!) {"
        ' askPartnerReportFile(input: {metrics: $metrics, dimensions: [HOURS], startDate: "2026-01-05", endDate: $end,'
        " product: ALL}) { status } }",
        {"metrics": ["VIEWS", "VIEW", "UPLOADS", "UPLOADS", "ESTIMATED_EARNINGS_EUR"], "end": "2026-01-01"},
        operationName="M",
    )
    assert places(answer) == [
        ("unknown_dimension", ["dimensions", 0]),
        ("unknown_metric", ["metrics", 1]),
        ("duplicate", ["metrics", 3]),
        ("range_reversed", ["endDate"]),
        ("scope_missing", ["metrics", 4]),
    ]


def test_a_refused_ask_is_refused_for_the_reasons_of_check(api: Api) -> None:
    """What `check` finds is what the wire says, in its order."""
    wire = {
        **INPUT,
        "metrics": ["VIEWS", "VIEWS", "UPLOADS", "FILL_RATE"],
        "dimensions": ["HOUR", "PLAYER_ID", "CHANNEL_SLUG"],
        "endDate": "2025-12-01",
        "filters": {"mediaType": "LIVE"},
    }
    answer = api.ask(**wire)
    expected = check.problems(ReportQuery.from_wire(wire), today=date(2026, 1, 2), scopes={"access_ads"})
    told = [(e["extensions"]["code"], e["extensions"]["inputPath"], e["message"]) for e in well_formed(answer)]
    assert told == [(problem.code, list(problem.path), problem.sentence) for problem in expected]
    assert answer["data"] == {"askPartnerReportFile": None}


def test_one_refused_field_takes_no_other_with_it(api: Api) -> None:
    """Of four asks two are good: both reports are made, each of the others says why not."""
    asks = {
        "one": inline("VIEWS"),
        "two": inline("ESTIMATED_EARNINGS_EUR"),
        "bad": inline("VIEWS").replace("2026-01-01", "soon"),
        "three": inline("TIME_WATCHED_SECONDS"),
    }
    fields = " ".join(f"{alias}: {each} {{ reportFile {{ reportToken }} }}" for alias, each in asks.items())
    answer = api.graphql(f"mutation {{ {fields} }}")
    data = answer["data"]
    assert data["two"] is None
    assert data["bad"] is None
    tokens = {data[alias]["reportFile"]["reportToken"] for alias in ("one", "three")}
    assert len(tokens) == 2
    assert [(error["path"], error["extensions"]["code"]) for error in well_formed(answer)] == [
        (["two"], "scope_missing"),
        (["bad"], "bad_date"),
    ]


def test_a_wrong_date_is_told_with_all_else(api: Api) -> None:
    """A date that is none doesn't hide the other problems of its ask."""
    answer = api.ask(startDate="01/02/2026", dimensions=["HOUR", "HOUR"], metrics=["UPLOADS"])
    assert places(answer) == [
        ("bad_date", ["startDate"]),
        ("duplicate", ["dimensions", 1]),
        ("grain_too_fine", ["dimensions", 0]),
    ]


@pytest.mark.parametrize(
    ("changed", "code", "place"),
    [
        ({"startDate": 20260101}, "invalid_value", ["startDate"]),
        ({"startDate": None}, "invalid_value", ["startDate"]),
        ({"metrics": None}, "invalid_value", ["metrics"]),
        ({"metrics": [None]}, "empty_item", ["metrics", 0]),
        ({"metrics": [1]}, "invalid_value", ["metrics", 0]),
        ({"metrics": {"a": 1}}, "invalid_value", ["metrics"]),
        ({"metrics": []}, "no_metrics", ["metrics"]),
        ({"metrics": ["VIEWS"] * 101}, "too_large", ["metrics"]),
        ({"filters": "x"}, "invalid_value", ["filters"]),
        ({"filters": {"channelSlug": ["a"]}}, "invalid_value", ["filters", "channelSlug"]),
        ({"filters": {"channelSlug": "a" * 1001}}, "too_large", ["filters", "channelSlug"]),
        ({"filters": {"channelSlug": "a\0"}}, "invalid_value", ["filters", "channelSlug"]),
        ({"clientMutationId": "\ud800"}, "invalid_value", ["clientMutationId"]),
        ({"product": True}, "invalid_value", ["product"]),
        ({"endDat": "2026-01-01"}, "invalid_value", ["endDat"]),
        ({"startDate": "2026-02-30"}, "bad_date", ["startDate"]),
        ({"startDate": "0001-01-01T00:00:00+23:00"}, "bad_date", ["startDate"]),
    ],
    ids=str,
)
def test_a_value_that_doesnt_fit_is_told_at_its_place(
    api: Api, changed: dict[str, Any], code: str, place: list[Any]
) -> None:
    """Each wrong value has its code and its place in the input."""
    assert (code, place) in places(api.ask(**changed))


def test_a_missing_variable_is_told_by_name(api: Api) -> None:
    """And one that is left out of the input by its own name."""
    answer = api.graphql(ASK)
    assert [error["message"] for error in well_formed(answer)] == ["The variable $input is missing."]
    without = {name: value for name, value in INPUT.items() if name != "dimensions"}
    assert places(api.graphql(ASK, {"input": without})) == [("invalid_value", ["dimensions"])]


@pytest.mark.parametrize("type_", ["Query", "PartnerSpace", "Nothing"])
def test_a_variable_of_no_input_type_is_a_fault_of_the_document(api: Api, type_: str) -> None:
    """Its value isn't looked at: there is no type to hold it against."""
    answer = api.graphql(f"query ($a: {type_}) {{ node(id: $a) {{ id }} }}", {"a": 1})
    assert set(codes(answer)) == {"invalid_document"}


def test_a_value_of_an_enum_that_no_field_takes_is_checked_too(api: Api) -> None:
    """A document may declare a variable of any enum."""
    answer = api.graphql("query ($a: PartnerReportStatus) { partner { id @skip(if: $a) } }", {"a": "FINISHE"})
    assert codes(answer) == ["invalid_document", "invalid_value"]


def test_quotes_around_a_name_in_the_document_are_told(api: Api) -> None:
    """In a variable they are right, in the document they are not."""
    answer = api.graphql("mutation { " + inline('"VIEWS"') + " { status } }")
    assert places(answer) == [("invalid_value", ["metrics", 0])]
    assert "without quotes" in answer["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "code", "path"),
    [
        ("{ partner { id }", "syntax_error", None),
        ("{ partner { } }", "syntax_error", None),
        ("\u2603", "syntax_error", None),
        ("{ partner }", "invalid_document", ["partner"]),
        ("{ partner { reportFil } }", "invalid_document", ["partner", "reportFil"]),
        ("{ partner { reportFile { id } } }", "invalid_document", ["partner", "reportFile"]),
        ('{ a: partner { b: reportFile(tokn: "x") { id } } }', "invalid_document", ["a", "b"]),
        ("{ partner { id } } { partner { id } }", "invalid_document", None),
        ("query A { partner { id } } query B { partner { id } }", "invalid_document", None),
        ("subscription { partner { id } }", "invalid_document", None),
        ("{ partner { id @skip(if: false) @skip(if: false) } }", "invalid_document", None),
        ("fragment F on Query { partner { id } }", "invalid_document", None),
        ("{ ...F }", "invalid_document", None),
        ("{ ...F } fragment F on Query { ...F }", "too_large", None),
        ("type Query { a: Int }", "invalid_document", None),
        ("query ($a: Nothing) { node(id: $a) { id } }", "invalid_document", None),
        ("query ($a: String) { node(id: $a) { id } }", "invalid_document", ["node"]),
        (
            '{ partner { reportFile(reportToken: "x") { downloadLinks(first: 1.5) { totalCount } } } }',
            "invalid_value",
            None,
        ),
    ],
)
def test_a_broken_document_is_told_in_the_same_form(api: Api, query: str, code: str, path: list[str] | None) -> None:
    """Nothing is executed, `data` is null, and the field is named where there is one."""
    answer = api.graphql(query)
    assert answer["data"] is None
    assert code in codes(answer)
    if path is not None:
        assert path in [error["path"] for error in answer["errors"]]


def test_an_operation_that_isnt_there_is_told_with_those_that_are(api: Api) -> None:
    """A document with several operations needs a name that is one of theirs."""
    document = "query Look { partner { id } } query Other { partner { id } }"
    for name in ("Lock", None):
        assert "Look, Other" in api.graphql(document, operationName=name)["errors"][0]["message"]
    assert "errors" not in api.graphql(document, operationName="Look")


BODIES = [
    b"",
    b" ",
    b"null",
    b"5",
    b'"text"',
    b"[]",
    b'[{"query": "{ partner { id } }"}]',
    b"{}",
    b'{"query": null}',
    b'{"query": ""}',
    b'{"query": 5}',
    b'{"query": "{ partner { id } }", "variables": "a"}',
    b'{"query": "{ partner { id } }", "variables": []}',
    b'{"query": "{ partner { id } }", "operationName": 5}',
    b'{"query": "{ partner { id } }", "variables": {"a": ' + b"9" * 5000 + b"}}",
    b"{'query': 1}",
    b'{"query": "\xff"}',
    b"\xff\xfe{\x00",
    b"query=%7Bpartner%7Bid%7D%7D",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"\x1f\x8b\x08\x00",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_no_request_is_told_in_the_same_form(api: Api, body: bytes) -> None:
    """Status 200, `data` null, one error with the code bad_body."""
    reply = api.post(body)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json()["data"] is None
    assert codes(reply.json()) == ["bad_body"]


@pytest.mark.parametrize("header", ["application/json; charset=utf-8", "text/plain", "application/graphql", "", "x"])
def test_a_request_is_taken_under_any_content_type(api: Api, header: str) -> None:
    """What counts is the body; a byte order mark is passed over."""
    body = b'\xef\xbb\xbf{"query": "{ partner { id } }", "variables": null, "operationName": null, "extensions": {}}'
    assert "errors" not in api.post(body, **{"Content-Type": header}).json()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_only_post_is_taken(api: Api, method: str) -> None:
    """405 with Allow, in the form of the errors."""
    reply = api.client.request(method, GRAPHQL_PATH, headers={"Authorization": f"Bearer {api.token}"})
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert codes(reply.json()) == ["wrong_method"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong", "Bearer rpt_wrong", "rpt_x", "Bearer \xe9"]
)
def test_a_caller_without_a_good_token_is_401_with_errors(api: Api, header: str | None) -> None:
    """With an `errors` list, and WWW-Authenticate as RFC 6750 says."""
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    reply = api.client.post(GRAPHQL_PATH, json={"query": "{ partner { id } }"}, headers=headers)  # type: ignore[arg-type]
    assert reply.status_code == 401
    assert codes(reply.json()) == ["unauthenticated"]
    assert reply.json()["errors"][0]["type"] == "invalid_token"
    challenge = reply.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="reelport"')
    tried = header is not None and header.startswith("Bearer ") and header != "Bearer "
    assert ("invalid_token" in challenge) is tried


def test_two_authorization_headers_are_400(api: Api) -> None:
    """Though both are good: a proxy in between may have looked at the other one."""
    twice = [("Authorization", f"Bearer {api.token}")] * 2
    reply = api.client.post(GRAPHQL_PATH, json={"query": "{ partner { id } }"}, headers=twice)
    assert (reply.status_code, codes(reply.json())) == (400, ["unauthenticated"])
    assert 'error="invalid_request"' in reply.headers["www-authenticate"]


def test_the_scheme_of_the_bearer_is_read_in_any_case(api: Api) -> None:
    """As RFC 9110 says of every scheme."""
    reply = api.client.post(
        GRAPHQL_PATH, json={"query": "{ partner { id } }"}, headers={"Authorization": f"bearer  {api.token} "}
    )
    assert reply.status_code == 200


def test_a_path_that_isnt_there_says_which_are(api: Api) -> None:
    """No redirect either, not even for a slash too many."""
    for path in ("/graphql/", "/oauth/token/", "/files", "/files/", "/files/a/b.csv"):
        reply = api.client.post(path, follow_redirects=False)
        assert reply.status_code == 404, path
        for named in (GRAPHQL_PATH, REPORTS_PATH, LIMITS_PATH, OPENAPI_PATH, SDL_PATH):
            assert named in reply.json()["error_description"]
    described = api.client.get("/files/x.pdf").json()["error_description"]
    assert all(suffix in described for suffix in (".csv", *FORM_TYPES))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON | st.fixed_dictionaries({}, optional=dict.fromkeys([*INPUT, "filters", "product"], JSON)))
def test_no_value_breaks_the_service(api: Api, value: object) -> None:
    """Whatever JSON a variable holds: 200, the form of errors, never an error of our own."""
    told = codes(api.graphql(ASK, {"input": value}))
    assert "internal_error" not in told


@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_service(api: Api, body: bytes) -> None:
    """Whatever the body is: 200 and the form of errors."""
    reply = api.post(body)
    assert reply.status_code == 200
    assert "internal_error" not in codes(reply.json())


WORDS = st.sampled_from(
    ["{", "}", "(", ")", "[", "]", "partner", "id", ":", "$a", "...", "on", "Query", "mutation", "5", '"']
)


@given(query=st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=60))
def test_no_document_breaks_the_service(api: Api, query: str) -> None:
    """Whatever the document is: 200 and the form of errors."""
    assert "internal_error" not in codes(api.graphql(query or "{"))
