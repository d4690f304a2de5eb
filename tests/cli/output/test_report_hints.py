"""What is said of a report without rows, and of days that may still change."""

from __future__ import annotations

from datetime import date

import pytest

from reelport.cli.output.report_hints import explain_moving_days, explain_no_rows
from reelport.query import ReportQuery

PLAIN = ReportQuery.of(["VIEWS"], [], date(2026, 10, 1), date(2026, 10, 7))
LISTED = ReportQuery.of(["VIEWS"], [], date(2026, 10, 1), date(2026, 10, 7), {"mediaType": "LIVE"})
FILTERED = ReportQuery.of(["VIEWS"], [], date(2026, 10, 1), date(2026, 10, 7), {"channelSlug": "News"}, "ALL")
NOTHING = "there is no data for these metrics of 2026-10-01..2026-10-07 with --product CONTENT that this key may read"
PASSES = (
    "no data for these metrics of 2026-10-01..2026-10-07 with --product ALL passes --filter channelSlug=News (a text "
    "may have to be spelled as in the data, also in upper and lower case), or this key may read none of it"
)
LIVE = (
    "no data for these metrics of 2026-10-01..2026-10-07 with --product CONTENT passes --filter mediaType=LIVE, or "
    "this key may read none of it"
)
COMPLETE = "the service's data for these metrics is complete up to"
EMPTY = "no day of the service's data for these metrics is complete yet"


@pytest.mark.parametrize(
    ("query", "complete", "why"),
    [
        (PLAIN, date(2026, 10, 7), NOTHING),
        (PLAIN, date(2026, 10, 6), f"{NOTHING}; {COMPLETE} 2026-10-06"),
        (PLAIN, date(2026, 9, 30), f"{COMPLETE} 2026-09-30, and it asks for 2026-10-01..2026-10-07"),
        (PLAIN, date.min, f"{EMPTY}, and it asks for 2026-10-01..2026-10-07"),
        (PLAIN, None, f"{NOTHING}; the latest days may have no data yet"),
        (FILTERED, date(2026, 11, 1), PASSES),
        (FILTERED, date(2026, 9, 30), f"{PASSES}; {COMPLETE} 2026-09-30"),
        (FILTERED, date.min, f"{PASSES}; {EMPTY}"),
        (LISTED, date(2026, 10, 7), LIVE),
        (None, date(2026, 10, 7), "no data that its key may read is of its metrics, days, product and filters"),
    ],
)
def test_a_report_without_rows_is_explained(query: ReportQuery | None, complete: date | None, why: str) -> None:
    """By days after the complete ones where nothing else can be the reason, else by filters, key and product."""
    assert explain_no_rows(query, complete) == f"the report has no rows: {why}"


@pytest.mark.parametrize(
    ("query", "complete", "said"),
    [
        (PLAIN, date(2026, 10, 7), None),
        (PLAIN, date(2026, 10, 6), f"{COMPLETE} 2026-10-06: numbers of later days may still change"),
        (PLAIN, date(2026, 9, 30), f"{COMPLETE} 2026-09-30: numbers may still change"),
        (PLAIN, date.min, f"{EMPTY}: numbers may still change"),
        (PLAIN, None, None),
        (None, date(2026, 10, 6), None),
    ],
)
def test_days_that_may_still_change_are_told(
    query: ReportQuery | None, complete: date | None, said: str | None
) -> None:
    """Where a service tells its last complete day, and the report goes on beyond it."""
    assert explain_moving_days(query, complete) == said
