"""Queries: to and from the wire, their dates and canonical form, their sentence in plain words, their file's name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.errors import QueryRefused, UsageError
from reelport.query import NULL, ReportQuery, describe_query, parse_day
from reelport.wire import Code

DAYS = some.dates(date(2000, 1, 1), date(2100, 1, 1))
QUERIES = some.builds(
    ReportQuery.of,
    some.lists(some.sampled_from(Metric), max_size=4),
    some.lists(some.sampled_from(Dimension), max_size=4),
    DAYS,
    DAYS,
    some.dictionaries(some.sampled_from([each.name for each in Filter]), some.text()),
    some.sampled_from(Product),
)


@given(QUERIES)
def test_the_wire_gives_back_the_same_query(query: ReportQuery) -> None:
    """To the wire and back is the same value with the same fingerprint."""
    again = ReportQuery.from_wire(query.to_wire())
    assert again == query
    assert again.fingerprint() == query.fingerprint()


@given(QUERIES, QUERIES)
def test_queries_are_equal_when_their_canonical_forms_are(one: ReportQuery, other: ReportQuery) -> None:
    """The canonical form tells two meanings apart, and only those."""
    assert (one == other) == (one.canonical() == other.canonical())


def test_left_out_null_and_default_are_one_meaning() -> None:
    """No filters, null filters, empty filters and filters of null ask the same; so do no product and CONTENT."""
    base: dict[str, Any] = {"metrics": ["VIEWS"], "dimensions": [], "startDate": "2026-01-01", "endDate": "2026-01-02"}
    same = [
        base,
        base | {"filters": None},
        base | {"filters": {}},
        base | {"filters": {"mediaType": None}},
        base | {"product": None},
        base | {"product": "CONTENT"},
        base | {"clientMutationId": "7"},
        base | {"startDate": "2026-01-01T23:59:59Z", "endDate": "2026-01-03T01:00:00+02:00"},
    ]
    assert len({ReportQuery.from_wire(wire).fingerprint() for wire in same}) == 1


def test_the_order_of_columns_is_part_of_the_meaning() -> None:
    """Two orders of dimensions are two reports."""
    day = date(2026, 1, 1)
    one = ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_ID"], day, day)
    other = ReportQuery.of(["VIEWS"], ["VIDEO_ID", "DAY"], day, day)
    assert one.fingerprint() != other.fingerprint()


def test_nulls_in_a_list_are_kept_to_be_refused() -> None:
    """A null item, which the schema allows, stays visible at its place."""
    wire = {"metrics": ["VIEWS", None], "dimensions": [None], "startDate": "2026-01-01", "endDate": "2026-01-01"}
    query = ReportQuery.from_wire(wire)
    assert query.metrics == ("VIEWS", NULL)
    assert query.dimensions == (NULL,)


DATES = {
    "2026-03-01": date(2026, 3, 1),
    "2024-02-29": date(2024, 2, 29),
    "2026-03-01T00:00:00Z": date(2026, 3, 1),
    "2026-03-01T23:30:00.123Z": date(2026, 3, 1),
    "2026-03-01t23:30:00z": date(2026, 3, 1),
    "2026-03-01T23:30:00": date(2026, 3, 1),
    "2026-03-01 23:30": date(2026, 3, 1),
    "2026-03-01T23:30:00-02:00": date(2026, 3, 2),
    "2026-03-01T01:30:00+02:00": date(2026, 2, 28),
    "2026-03-01T01:30:00+0200": date(2026, 2, 28),
    "2026-03-01T23:30:00.123456789+05:45": date(2026, 3, 1),
}


@pytest.mark.parametrize("text", DATES)
def test_a_date_or_a_time_falls_on_its_day_of_utc(text: str) -> None:
    """A bare date is itself; a time is taken to UTC, then its day; a time without an offset is UTC."""
    assert parse_day(text) == DATES[text]


NO_DATES = [
    "",
    "today",
    "2026-3-1",
    "20260301",
    "2026-02-30",
    "2026-13-01",
    "01/03/2026",
    "2026-W09-7",
    "2026-03-01T25:00:00Z",
    "2026-03-01T10",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:00:00-05:00",
    "\uff12\uff10\uff12\uff16-03-01",
    "2026-03-01\n",
]


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_is_refused(text: str) -> None:
    """Anything else than those two forms, or a day that no calendar has, is no date."""
    with pytest.raises(ValueError, match=r"."):
        parse_day(text)


def test_both_wrong_dates_are_told_at_once() -> None:
    """A query with two wrong dates hears of both, by name."""
    wire = {"metrics": ["VIEWS"], "dimensions": [], "startDate": "yesterday", "endDate": 7}
    with pytest.raises(QueryRefused) as refused:
        ReportQuery.from_wire(wire)
    assert [(each.code, each.path) for each in refused.value.problems] == [
        (Code.BAD_DATE, ("startDate",)),
        (Code.BAD_DATE, ("endDate",)),
    ]


@given(DAYS, some.integers(0, 400))
def test_a_range_counts_both_of_its_ends(start: date, more: int) -> None:
    """From a day to itself is one day."""
    assert ReportQuery((), (), start, start + timedelta(more)).days == more + 1


def test_parts_of_another_kind_are_refused_all_at_once() -> None:
    """A text for a list would be its letters, a text for a day fails much later: each is named before anything runs."""
    of: Any = ReportQuery.of
    with pytest.raises(UsageError) as refused:
        of("VIEWS", [None, "DAY"], "2026-01-01", datetime(2026, 1, 2, tzinfo=UTC), [("mediaType", "LIVE")], None)
    assert str(refused.value).splitlines() == [
        "metrics is a list of names, and not 'VIEWS'.",
        "dimensions holds None, which is no name.",
        "start is a datetime.date, and not '2026-01-01'.",
        "end is a datetime.date, and not datetime.datetime(2026, 1, 2, 0, 0, tzinfo=datetime.timezone.utc).",
        "filters is a mapping of names to values, and not [('mediaType', 'LIVE')].",
        "product is a name, and not None.",
    ]
    with pytest.raises(UsageError, match="mediaType takes a single text, and not None"):
        of([Metric.VIEWS], {"DAY": 1}, date(2026, 1, 1), date(2026, 1, 2), {"mediaType": None})


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
            "Views and uploads by month of what your channels claimed with media type Live stream, 1 July 2026",
        ),
        (
            ReportQuery.of(["VIEWS"], ["DAY"], START, END, {"visitorDomainGroup": ""}),
            "Views by day without a domain group, 1 to 4 July 2026",
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
