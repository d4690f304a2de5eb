"""How a query is said in plain words."""

from __future__ import annotations

from datetime import date

import pytest

from reelport.query import ReportQuery
from reelport.query_sentence import describe_query

START, END = date(2026, 7, 1), date(2026, 7, 4)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], START, END, {"channelSlug": "demo-news"}),
            "Views by day and video for demo-news, 1 to 4 July 2026",
        ),
        (ReportQuery.of(["VIEWS"], [], START, START), "Views in all, 1 July 2026"),
        (
            ReportQuery.of(["VIEWS", "UPLOADS"], ["MONTH"], START, START, {"mediaType": "LIVE"}, "CLAIM"),
            "Views and uploads by month of what your channels claimed with media type LIVE, 1 July 2026",
        ),
        (
            ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"visitorDomainGroup": ""}),
            "Views by day without a visitor domain group, 1 to 4 July 2026",
        ),
    ],
)
def test_a_query_is_said_in_one_sentence(query: ReportQuery, sentence: str) -> None:
    """Metrics, how they are split, what narrows them, and the days."""
    assert describe_query(query) == sentence


def test_names_of_another_version_stay_as_they_are() -> None:
    """A report of a version that knew other names can still be listed."""
    query = ReportQuery(("OLD_METRIC",), ("OLD_DIMENSION",), START, END, (("oldFilter", "x"),), "OLD")
    assert describe_query(query) == "OLD_METRIC by OLD_DIMENSION with oldFilter x, 1 to 4 July 2026"


def test_a_filter_can_not_turn_the_direction_of_the_sentence() -> None:
    """Line ends and changes of writing direction in a value become blanks."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"channelSlug": "a\u202eb\nc"})
    assert "a b c" in describe_query(query)
