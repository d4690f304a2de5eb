"""Documents: parsed once for equal text, all that is wrong told together, refused by the matrix as `check` refuses."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from types import CodeType, FrameType
from typing import Any

import pytest
from tests.cases import thin_out
from tests.server.api import ASK, INPUT, Api

from reelport import check
from reelport.catalog import Dimension, Filter, Metric, Scope
from reelport.check import problems
from reelport.query import ReportQuery
from reelport.server.access import callers
from reelport.server.graphql import validation
from reelport.server.graphql.resolvers import build_schema
from reelport.server.graphql.validation import DocumentCache, Operation
from reelport.server.http.graphql_over_http import parse_and_execute
from reelport.server.limits import document_limits
from reelport.server.limits.document_limits import MAX_CHARACTERS, DocumentLimits
from reelport.wire import LOOK, Code

from .test_errors import inline, places, well_formed

ONCE = ("graphql/language/", "graphql/validation/", "graphql/utilities/type_info")
"""Where the library parses, visits and validates."""


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """The functions of Python that run within the block, in this thread and in those that begin in it."""
    found: Counter[CodeType] = Counter()
    named: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found[frame.f_code] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield named
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        for code, count in found.items():
            named[code.co_filename] += count


def in_library(named: Counter[str]) -> int:
    """How many of them parse, visit or validate."""
    return sum(count for file, count in named.items() if any(part in file for part in ONCE))


def sender(api: Api, document: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answers a document with these variables, in this thread."""
    caller = callers.identify_caller(api.service.db, api.service.service_secret, api.token, api.service_now())
    assert caller is not None

    def send(variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": document, "variables": variables}).encode()
        return parse_and_execute(api.service, caller, body, "http://here")[0]

    return send


def narrow() -> DocumentCache:
    return DocumentCache(build_schema(), DocumentLimits(tokens=4000, depth=15, aliases=50))


def test_equal_text_is_parsed_and_validated_once(api: Api) -> None:
    """The second look runs none of the library's code that reads, walks or validates a document."""
    look = sender(api, LOOK + "# never seen before\n")
    with calls() as first:
        look({"reportToken": "rpr_nothing"})
    with calls() as second:
        look({"reportToken": "rpr_else"})
    assert in_library(first) > 1000
    assert in_library(second) == 0


def test_an_ask_walks_no_schema(api: Api) -> None:
    """What an ask of a known document costs doesn't grow with the schema: no name of an enum is gone through."""
    ask = sender(api, ASK)
    ask({"input": {**INPUT, **api.new()}})
    with calls() as found:
        answered = ask({"input": {**INPUT, **api.new()}})
    assert "errors" not in answered
    assert in_library(found) == 0
    of_values = sum(count for file, count in found.items() if "/graphql/" in file)
    assert of_values < 1500


def test_variables_are_looked_at_for_each_request(api: Api) -> None:
    """A known document with a wrong variable is refused as if it were new, and a right one after it is answered."""
    ask = sender(api, ASK)
    right = {"input": {**INPUT, **api.new()}}
    wrong = {"input": {**INPUT, "metrics": ["VIEWZ"]}}
    first = ask(wrong)
    assert "errors" not in ask(right)
    assert ask(wrong) == first
    assert first["errors"][0]["extensions"]["nearest"] == "VIEWS"
    assert ask({})["errors"][0]["message"] == "The variable $input is missing."


def test_a_refused_document_is_refused_in_the_same_words(api: Api) -> None:
    """What was found wrong with a text is told again, its places included."""
    send = sender(api, "{ partner { id nope } partner { reportFile(reportToken: VIEWS) { status } } }")
    first = send({})
    assert {error["extensions"]["code"] for error in first["errors"]} == {"invalid_document", "invalid_value"}
    assert send({}) == first


def test_operations_of_one_text_are_told_apart() -> None:
    """The name of the operation counts, also for a text that is known."""
    both = "query A { partner { id } } query B { node(id: 1) { id } }"
    known = narrow()
    first, second = known.prepare(both, "A"), known.prepare(both, "B")
    assert isinstance(first, Operation)
    assert isinstance(second, Operation)
    assert (first.node.name, second.node.name) != (None, None)
    assert first.node is not second.node
    assert known.prepare(both, "A") is first
    assert not isinstance(known.prepare(both, None), Operation)
    assert not isinstance(known.prepare(both, "C"), Operation)


def test_what_breaks_a_limit_is_never_kept() -> None:
    """Limits hold before anything is parsed: a text beyond them is refused each time, and takes no memory."""
    known = narrow()
    too_much = (
        "{" + "a " * 5000 + "}",
        "{ a" * 30 + "}" * 30,
        "#" * (MAX_CHARACTERS + 1),
        "\n" * 3000 + "{ partner { id } }",
    )
    for text in too_much * 2:
        assert not isinstance(known.prepare(text, None), Operation)
    assert len(known) == 0


@pytest.mark.long
def test_what_is_kept_is_bounded_by_number_and_length() -> None:
    """The text that was used least recently goes first, and a very long one is not kept at all."""
    known = narrow()
    hot = "{ partner { id } }"
    for number in range(validation.MAX_DOCUMENTS + 50):
        known.prepare(f"{{ partner {{ a{number}: id }} }}", None)
        known.prepare(hot, None)
    assert len(known) == validation.MAX_DOCUMENTS
    assert known.find_prepared(hot, None) is not None
    assert known.find_prepared("{ partner { a0: id } }", None) is None
    for number in range(30):
        known.prepare(f"{{ partner {{ a{number}: id }} }} #{'x' * 10_000}", None)
    assert 0 < known.characters <= validation.MAX_CACHED_CHARACTERS
    long = f"{{ partner {{ id }} }} #{'x' * 50_000}"
    assert isinstance(known.prepare(long, None), Operation)
    assert known.find_prepared(long, None) is None


DAY = date(2026, 1, 1)
# As many asks as one document may hold beside each other.
AT_ONCE = 40
HELD = {scope for scope in Scope if scope is not Scope.ACCESS_REVENUE}
FILTERS = {each: (each.choices or ("x",))[0] for each in Filter}


def refused(metric: Metric) -> list[ReportQuery]:
    """Every query of one metric by one dimension or one filter that this key is refused."""
    by_dimension = [ReportQuery.of([metric], [each], DAY, DAY) for each in Dimension]
    by_filter = [ReportQuery.of([metric], [], DAY, DAY, {each.name: value}) for each, value in FILTERS.items()]
    return [query for query in by_dimension + by_filter if expected(query)]


def expected(query: ReportQuery) -> list[tuple[str, str, list[str | int], str | None]]:
    """The problems that `check` finds, in the words of the wire."""
    found = problems(query, today=datetime.now(UTC).date(), scopes=HELD)
    return [(each.code, each.sentence, list(each.path), each.nearest) for each in found]


def field(number: int, query: ReportQuery) -> str:
    """One aliased ask, its values in the document."""
    filters = ", ".join(
        f"{name}: {value}" if Filter[name].choices else f'{name}: "{value}"' for name, value in query.filters
    )
    return (
        f"a{number}: askPartnerReportFile(input: {{metrics: [{', '.join(query.metrics)}], "
        f"dimensions: [{', '.join(query.dimensions)}], filters: {{{filters}}}, "
        f'startDate: "{query.start}", endDate: "{query.end}"}}) {{ status }}'
    )


@pytest.mark.parametrize("metric", thin_out(Metric, 6, nightly=True), ids=str)
def test_what_check_refuses_the_server_refuses_for_the_same_reasons(api: Api, metric: Metric) -> None:
    """Each refused pair of a metric with a dimension or a filter gets exactly the problems of `check`."""
    queries = refused(metric)
    for start in range(0, len(queries), AT_ONCE):
        asked = dict(enumerate(queries[start : start + AT_ONCE]))
        answer = api.graphql("mutation { " + " ".join(field(number, query) for number, query in asked.items()) + " }")
        assert set(answer["data"].values()) == {None}
        told: dict[str, list[tuple[str, str, list[str | int], str | None]]] = {}
        for error in answer["errors"]:
            more = error["extensions"]
            said = (more["code"], error["message"], more["inputPath"], more.get("nearest"))
            told.setdefault(error["path"][0], []).append(said)
        assert told == {f"a{number}": expected(query) for number, query in asked.items()}


TWICE = """
mutation Ask($input: AskPartnerReportFileInput!) {
  one: askPartnerReportFile(input: $input) { status }
  two: askPartnerReportFile(input: $input) { status }
}
"""


@contextmanager
def reading_only(api: Api) -> Iterator[None]:
    """A token that is for no new reports."""
    held = api.token
    api.token = api.grant(scope="read_reports").json()["access_token"]
    try:
        yield
    finally:
        api.token = held


@pytest.mark.parametrize(("bad", "good"), [("startDate", "endDate"), ("endDate", "startDate")])
@pytest.mark.parametrize("metric", ["VIEWS", "VIEWZ"])
def test_beside_a_bad_date_the_good_one_keeps_its_own_problem(api: Api, bad: str, good: str, metric: str) -> None:
    """A date in the future is told once, at its own place and with its own day, whichever of the two it is."""
    today = datetime.now(UTC).date()
    future = (today + timedelta(1000)).isoformat()
    answer = api.ask(**{bad: "x", good: future, "metrics": [metric]})
    assert [place for place in places(answer) if place[0] != Code.UNKNOWN_METRIC] == [
        ("bad_date", [bad]),
        ("range_in_future", [good]),
    ]
    (error,) = (each for each in answer["errors"] if each["extensions"]["code"] == "range_in_future")
    assert error["message"].startswith(future)
    assert error["extensions"]["nearest"] == today.isoformat()


@pytest.mark.parametrize("part", ["metrics", "dimensions"])
def test_a_single_wrong_name_in_place_of_a_list_is_one_problem(api: Api, part: str) -> None:
    """GraphQL takes one value for a list of one: the name alone is wrong, in a variable and in the document."""
    code = f"unknown_{part.removesuffix('s')}"
    assert places(api.ask(**{part: "NOTHING"})) == [(code, [part])]
    asked = inline("VIEWS").replace("[VIEWS]", "NOTHING" if part == "metrics" else "VIEWS")
    asked = asked.replace("[DAY]", "NOTHING" if part == "dimensions" else "DAY")
    assert places(api.graphql(f"mutation {{ {asked} {{ status }} }}")) == [(code, [part])]


def test_a_wrong_name_of_a_variable_that_serves_two_asks_is_no_null_in_the_second(api: Api) -> None:
    """The name is told once; a null that is there is told for both."""
    answer = api.graphql(TWICE, {"input": {**INPUT, "metrics": ["VIEWZ", None]}})
    told = [(error["path"], error["extensions"]["code"]) for error in well_formed(answer)]
    assert told == [(["one"], "unknown_metric"), (["one"], "empty_item"), (["two"], "empty_item")]


@pytest.mark.parametrize("changed", [{"metrics": ["VIEWZ"]}, {"startDate": "x"}], ids=["a name", "a date"])
def test_a_token_that_may_not_ask_is_told_so_beside_what_is_wrong(api: Api, changed: dict[str, Any]) -> None:
    """Whoever mends the name or the date doesn't hear of the scope only then."""
    with reading_only(api):
        wrong, lacking = well_formed(api.ask(**changed))
    assert wrong["extensions"]["code"] in {"unknown_metric", "bad_date"}
    assert (lacking["path"], lacking["type"]) == (["askPartnerReportFile"], "access_forbidden")
    assert lacking["extensions"] == {"code": "scope_missing", "nearest": "create_reports"}


def test_the_service_names_all_where_none_is_near_in_the_words_of_check(api: Api) -> None:
    """A filter, a value and a product like nothing are told with all that there are, as the client tells them."""
    wrong = {"filters": {"mediaType": "ZZZ", "zzz": "x"}, "product": "ZZZ"}
    told = {error["message"] for error in well_formed(api.ask(**wrong))}
    asked = ReportQuery.from_wire({**INPUT, **wrong})
    assert told == {problem.sentence for problem in check.problems(asked, today=datetime.now(UTC).date())}
    assert sum(" There are " in sentence for sentence in told) == 3


@pytest.mark.parametrize("more", [{}, {"metrics": ["VIEWZ", *Metric.__members__]}], ids=["fields", "the document"])
def test_more_problems_than_are_listed_end_with_one_that_says_so(api: Api, more: dict[str, Any]) -> None:
    """A hundred problems, and then an entry of its own code about no field."""
    asked = {**INPUT, "metrics": [*Metric.__members__], "dimensions": [*Dimension.__members__], **more}
    *listed, last = well_formed(api.graphql(TWICE, {"input": asked}))
    assert len(listed) == document_limits.MAX_LISTED
    assert "too_large" not in {error["extensions"]["code"] for error in listed}
    assert (last["path"], last["extensions"], last["type"]) == (None, {"code": "too_large"}, "bad_request")
    assert last["message"] == "There are more problems than are listed here."
