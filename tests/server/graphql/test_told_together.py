"""What is told beside a wrong name or date: all that is wrong, at its own place, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.server.api import INPUT, Api

from reelport import check
from reelport.catalog import Dimension, Metric
from reelport.query import ReportQuery
from reelport.server.limits import document_limits
from reelport.wire import Code

from .test_errors import inline, places, well_formed

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
