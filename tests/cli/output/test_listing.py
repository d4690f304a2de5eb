"""What lists look like for people and programs, and formats that can't hold every report, refused early."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from reelport.cli.output.delivery import Delivery, Format, refuse_early
from reelport.client.events import Event, Looked
from reelport.errors import UsageError
from reelport.report_details import ReportDetails, State
from reelport.xlsx import MOST_ROWS

_NASTY = "a\x1b[2J\x9b31m\u202eb"
_PRINT = """
from reelport.cli.output.listing import print_fields, print_json, print_list
nasty = {nasty!r}
print_fields({{"token": nasty}}, as_json=False)
print_list([{{"token": nasty}}], as_json=False)
print_json({{"token": nasty}})
"""


def _run(stdout: int) -> None:
    command = [sys.executable, "-c", _PRINT.format(nasty=_NASTY)]
    subprocess.run(command, stdout=stdout, check=True, timeout=300, env={**os.environ, "TERM": "dumb"})


def test_a_terminal_gets_no_control_characters_and_a_pipe_all() -> None:
    """A text of a vendor can't steer the terminal of who looks at it; a program reads it as it is."""
    master, slave = os.openpty()
    _run(slave)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert not set(shown) & {"\x1b", "\x9b", "\u202e"}
    assert "a [2J 31m b" in shown
    reader, writer = os.pipe()
    _run(writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        fields, _, listed, *parts = pipe.read().splitlines()
    assert fields == f"token  {_NASTY}"
    assert listed == _NASTY
    assert json.loads("".join(parts)) == {"token": _NASTY}


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
