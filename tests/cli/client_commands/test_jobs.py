"""`reelport jobs`: which service each report belongs to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.test_command_line import ended
from tests.client.ledgers import Calendar, days, given_up, question, requested

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
