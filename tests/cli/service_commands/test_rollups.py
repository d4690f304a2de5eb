"""The commands for rollups: suggested from what was asked, built, explained, kept by loads and merges, dropped."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests import forked
from tests.callers import make_caller
from tests.cases import thin_out
from tests.cli.service_commands.conftest import Run

from reelport.killpoints import VARIABLE
from reelport.query import ReportQuery
from reelport.server import credentials
from reelport.server.reports.ask import ask_report
from reelport.server.settings import read_settings
from reelport.server.state.database import connected

QUERY = ("--metrics", "VIEWS", "--dimensions", "DAY,VISITOR_COUNTRY", "--start", "2026-01-01", "--end", "2026-01-02")


def plays(path: Path, day: int, rows: int = 40) -> Path:
    """A file of one day's plays, of which many are alike."""
    lines = ["started_at,video_id,owner_channel_id,media_type,visitor_country,views,time_watched_seconds"]
    countries = ("FR", "DE")
    lines += [f"2026-01-0{day}T0{n % 5}:00:00,v{n},c{n % 2},video,{countries[n % 2]},1,{n}" for n in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def ask(data: Path, query: ReportQuery) -> None:
    """Record that an organization asked for a report."""
    settings = read_settings(data=data)
    with connected(settings) as db:
        caller = make_caller(db, credentials.load_service_secret(settings), "c0", "c1")
        ask_report(db, settings, caller, query, datetime.now(UTC))


def test_the_life_of_a_rollup(tmp_path: Path, run: Run) -> None:
    """Asked, suggested, built, explained; changed by a load, built again, merged, dropped."""
    run("load", "plays", plays(tmp_path / "one.csv", 1))
    run("load", "plays", plays(tmp_path / "two.csv", 2))
    assert run("rollups", "suggest")[2].startswith("No rollup would save the reports of the last 30 days")
    ask(tmp_path / "data", ReportQuery.of(["VIEWS"], ["DAY", "VISITOR_COUNTRY"], date(2026, 1, 1), date(2026, 1, 2)))
    (suggested,) = json.loads(run("rollups", "suggest", "--json", "--add")[1])
    assert (suggested["table"], suggested["grain"], suggested["columns"]) == ("plays", "day", ["visitor_country"])
    # The report reads 4 rows of the rollup in place of 80 of facts.
    assert (suggested["reports"], suggested["rows"], suggested["saved"]) == (1, 4, "95%")
    (listed,) = json.loads(run("rollups", "list", "--json")[1])
    name = listed["rollup"]
    assert listed["days"] == "0 of 2"
    assert f"not from {name}: none of these days is built: build it" in run("explain", *QUERY)[1]
    assert run("rollups", "build")[1].startswith(f"{name}: 2026-01 built, 2 days, 4 rows, ")
    assert run("rollups", "build")[1] == "nothing to build\n"
    assert run("explain", *QUERY)[1] == f"plays from {name}: 2 of 2 days, 4 of 80 rows\n"
    assert run("explain", *QUERY, "--org", "demo")[1] == f"plays from {name}: 2 of 2 days, 4 of 80 rows\n"
    told, rest = run("rollups", "suggest")[1:]
    assert (told, "What the 1 rollup that is there would save, built or not, is counted already" in rest) == ("", True)
    run("load", "plays", plays(tmp_path / "more.csv", 2, 8))
    (told,) = json.loads(run("explain", *QUERY, "--json")[1])
    assert (told["rollup"], told["rollup_days"], told["days"]) == (name, 1, 2)
    assert run("rollups", "build", name)[1].startswith(f"{name}: 2026-01 built, 2 days, 4 rows, ")
    assert "files into 1" in run("compact")[1]
    assert run("explain", *QUERY)[1] == f"plays from {name}: 2 of 2 days, 4 of 88 rows\n"
    written = list((tmp_path / "data" / "facts" / ".rollups").rglob("*"))
    assert len(written) > 4
    assert not any(path.stat().st_mode & 0o077 for path in written)
    assert run("rollups", "drop", name)[1] == f"{name}: dropped\n"
    assert "there is no rollup of plays" in run("explain", *QUERY)[1]


def test_a_load_builds_where_the_setting_says_so(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a rollup that has no room is told, while the load stands."""
    monkeypatch.setenv("REELPORT_ROLLUPS", "after-load")
    run("load", "plays", plays(tmp_path / "one.csv", 1))
    run("rollups", "add", "plays", "visitor_country")
    status, _, err = run("load", "plays", plays(tmp_path / "two.csv", 2))
    assert (status, "warning" in err) == (0, False)
    assert "2 of 2 days" in run("explain", *QUERY)[1]
    monkeypatch.setenv("REELPORT_ROLLUP_SPACE", "1KB")
    status, _, err = run("load", "plays", plays(tmp_path / "more.csv", 2, 8))
    assert status == 0
    assert "2026-01 is not built: it takes " in err
    monkeypatch.setenv("REELPORT_ROLLUPS", "off")
    assert run("explain", *QUERY)[2] == "REELPORT_ROLLUPS is off: every report is made from the facts.\n"


def test_what_can_not_be_is_refused(run: Run, tmp_path: Path) -> None:
    """A wrong column, name or query: a status that tells, and what there is instead."""
    run("load", "plays", plays(tmp_path / "one.csv", 1))
    assert "plays has no column 'colour' to group by" in run("rollups", "add", "plays", "colour")[2]
    assert "there is no rollup 'x'; there are: none" in run("rollups", "build", "x")[2]
    assert "name the rollups to drop, or give --all" in run("rollups", "drop")[2]
    assert run("explain", "--metrics", "VIEW", "--start", "2026-01-01", "--end", "2026-01-02")[0] == 5


@pytest.mark.parametrize("step", thin_out(["rollup-write", "rollup-rename"], 2))
def test_a_build_that_is_killed_leaves_nothing_that_is_read(tmp_path: Path, run: Run, step: str) -> None:
    """Before the manifest there is no segment; the next build makes it, and a vacuum of later deletes the rest."""
    run("load", "plays", plays(tmp_path / "one.csv", 1))
    run("rollups", "add", "plays", "visitor_country")
    data = tmp_path / "data"
    command = ["-m", "reelport", "rollups", "build", "--data", str(data)]
    assert forked.run(command, env={**os.environ, VARIABLE: step}).returncode == -signal.SIGKILL
    assert "none of these days is built" in run("explain", *QUERY)[1]
    assert run("rollups", "build")[1].count("built") == 1
    (folder,) = (data / "facts" / ".rollups").iterdir()
    left = {path.name for path in folder.glob("*.parquet")}
    assert len(left) == (1 if step == "rollup-write" else 2)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    out = run("vacuum")[1]
    assert ("rollups: 1 file deleted" in out) == (step == "rollup-rename")
    assert len(list(folder.glob("*.parquet"))) == 1
    assert "1 of 1 day" in run("explain", *QUERY)[1]
