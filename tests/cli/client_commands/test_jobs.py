"""`reelport jobs`: which service each report belongs to, and how old ones are removed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.cli.test_command_line import ended
from tests.client.ledgers import Calendar, days, given_up, question, requested
from tests.whole.terminal import on_terminal

from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import State


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The user's own ledger: a report of 40 days ago, one of 20, and one that was just asked for and holds a slot."""
    monkeypatch.setenv("REELPORT_HOME", str(tmp_path / "home"))
    calendar = Calendar()
    own = Ledger(tmp_path / "home" / "ledger.db", calendar)
    for number, age in enumerate((40, 20, 0), start=1):
        calendar.now = datetime.now(UTC) - timedelta(days=age, minutes=1)
        row = requested(own, f"R-{number}", question(days(number)))
        given_up(own, row)
        if age:
            own.record_status(row, State.FINISHED)
            own.record_verified(row, delivered=True)
    return own


def test_the_list_names_the_service_of_each_report(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """Two services may have been asked for the same days: lines for pipes and JSON tell them apart."""
    assert len(ledger.list_rows()) == 3
    _, lines, _ = ended(capsys, "jobs", "list", "--all")
    header, *rows = (line.split("\t") for line in lines.splitlines())
    assert [row[header.index("service")] for row in rows] == ["https://vendor.example"] * 3
    _, told, _ = ended(capsys, "jobs", "list", "--all", "--json")
    assert {row["service"] for row in json.loads(told)} == {"https://vendor.example"}


def test_old_reports_are_pruned_once_it_is_confirmed(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run and a program that doesn't say --yes remove nothing; --yes removes what is older and not needed."""
    status, out, err = ended(capsys, "jobs", "prune", "--older-than", "30d", "--dry-run", "--json")
    assert (status, [row["id"] for row in json.loads(out)]) == (0, [1])
    assert err == f"1 report would be removed from {ledger.path}.\n"
    status, _, err = ended(capsys, "jobs", "prune", "--older-than", "30d")
    assert (status, "add --yes" in err) == (2, True)
    assert len(ledger.list_rows()) == 3
    assert ended(capsys, "jobs", "prune", "--older-than", "30d", "--yes")[0] == 0
    assert [row.id for row in ledger.list_rows()] == [2, 3]
    assert ended(capsys, "jobs", "prune", "--older-than", "0h", "--yes")[0] == 0
    assert [row.id for row in ledger.list_rows()] == [3], "it holds a slot"
    status, out, err = ended(capsys, "jobs", "prune", "--older-than", "0h", "--yes")
    assert (status, out) == (0, "")
    assert err.startswith("Nothing in ")


@pytest.mark.parametrize(("key", "left"), thin_out([(b"n\n", 3), (b"y\n", 0)], 2))
def test_a_terminal_is_asked_and_told_what_is_lost(ledger: Ledger, key: bytes, left: int) -> None:
    """A delivered report of today would have served again without an ask: the question says so."""
    calendar = Calendar()
    calendar.now = datetime.now(UTC) - timedelta(minutes=1)
    own = Ledger(ledger.path, calendar)
    row = own.list_rows()[2]
    own.record_status(row, State.FINISHED)
    own.record_verified(row, delivered=True)
    given_up(own, row)
    environment = os.environ | {"REELPORT_HOME": str(ledger.path.parent)}
    status, drawn = on_terminal(
        environment, "jobs", "prune", "--older-than", "0h", keys=(0, key), at="[y/N]", columns=200
    )
    assert status == 0
    question = "Remove 3 reports from the ledger? 1 of them could still be had without asking again. Files stay. [y/N]"
    assert question in drawn
    assert len(ledger.list_rows()) == left


@pytest.mark.parametrize("age", ["30", "soon", "-3d", "1.5d", "3w", ""])
def test_what_is_no_age_is_refused(ledger: Ledger, capsys: pytest.CaptureFixture[str], age: str) -> None:
    """Nothing is removed by a guess."""
    status, _, err = ended(capsys, "jobs", "prune", f"--older-than={age}", "--yes")
    assert (status, "30d or 12h" in err) == (2, True)
    assert len(ledger.list_rows()) == 3
