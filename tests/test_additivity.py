"""What a metric's cell comes to when rows of a report are added up: from the metrics of the report alone."""

from __future__ import annotations

from datetime import date

import pytest

from reelport.additivity import Added, Cell, Rate, plan_cell
from reelport.query import ReportQuery


def planned(metrics: str, name: str, *dimensions: str) -> Cell | None:
    """How the cell of a metric is computed over the rows of a report with these metrics."""
    day = date(2026, 1, 1)
    return plan_cell(ReportQuery.of(metrics.split(), dimensions, day, day), name)


def test_a_count_is_the_sum_of_its_own_column() -> None:
    assert planned("UPLOADS VIEWS", "VIEWS") == Added(1, 0)


def test_a_rate_is_computed_from_parts_that_the_report_has() -> None:
    """By the numbers of their columns."""
    assert planned("AVERAGE_WATCH_TIME_SEC VIEWS TIME_WATCHED_SECONDS", "AVERAGE_WATCH_TIME_SEC") == Rate(2, (1,), 1, 2)
    assert planned("NO_AD_RATE TOTAL_INVENTORY NO_ADS", "NO_AD_RATE") == Rate(2, (1,), 1, 4)


@pytest.mark.parametrize("beside", ["", "VIEWS", "TIME_WATCHED_SECONDS", "UPLOADS NO_ADS"])
def test_a_rate_whose_parts_the_report_lacks_has_no_cell(beside: str) -> None:
    """A part that is missing is not asked for: its column would not be there."""
    assert planned(f"AVERAGE_WATCH_TIME_SEC {beside}", "AVERAGE_WATCH_TIME_SEC") is None


@pytest.mark.parametrize("name", ["LIVE_VIEWERS", "STORAGE_USED_BYTES", "VIEWS_IN_SPACE"])
def test_what_does_not_add_up_has_no_cell(name: str) -> None:
    assert planned(name, name) is None
