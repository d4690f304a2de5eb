"""Formats that can't hold every report, refused as early as that is known."""

from __future__ import annotations

import pytest

from reelport.cli.output.delivery import Delivery, Format, refuse_early
from reelport.client.events import Event, Looked
from reelport.errors import UsageError
from reelport.report_details import ReportDetails, State
from reelport.xlsx import MOST_ROWS


def look(state: State, rows: int | None) -> Looked:
    return Looked("R-1", "IN_PROGRESS", 1.0, 0.0, ReportDetails("R-1", state, rows=rows))


def test_a_report_that_outgrows_a_workbook_is_refused_while_it_is_made() -> None:
    """Nobody waits an hour for rows that have no place; what is known of the report is shown before that."""
    told: list[Event] = []
    tell = refuse_early(Delivery(output="views.xlsx"), told.append)
    fits = [Looked("R-1", "IN_PROGRESS", 1.0, 0.0), look(State.QUEUED, None), look(State.RUNNING, MOST_ROWS)]
    for event in fits:
        tell(event)
    with pytest.raises(UsageError, match=r"The report has 1,048,576 rows so far, and XLSX holds 1,048,575\. Take"):
        tell(look(State.RUNNING, MOST_ROWS + 1))
    with pytest.raises(UsageError, match=r"The report has 1,048,576 rows, and XLSX holds"):
        tell(look(State.FINISHED, MOST_ROWS + 1))
    assert told == [*fits, look(State.RUNNING, MOST_ROWS + 1), look(State.FINISHED, MOST_ROWS + 1)]


def test_no_other_format_is_refused_for_its_rows() -> None:
    """They hold any number."""
    told: list[Event] = []
    for to in (Delivery(output="views.parquet"), Delivery(output="views.xlsx.csv"), Delivery(form=Format.NDJSON)):
        refuse_early(to, told.append)(look(State.RUNNING, MOST_ROWS + 1))
    assert len(told) == 3
