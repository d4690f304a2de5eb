"""How `reelport report` ends against a vendor that doesn't behave: its status, its last words, and what goes on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests import forked
from tests.cases import thin_out

from reelport.cli.client_commands.report import open_spool
from reelport.facts.layout import check_layout
from reelport.testing import Vendor

from .terminal import Ended, bare, on_terminal, piped, surroundings

pytestmark = pytest.mark.long

ASK = ("report", "run", "--metrics", "VIEWS", "--dimensions", "DAY,VIDEO_TITLE", "--start", "2026-01-01", "--end")
WEEK = (*ASK, "2026-01-07")
YEARS = ("report", "run", "--metrics", "VIEWS", "--dimensions", "DAY", "--start", "2025-01-01", "--end", "2025-12-31")


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A vendor that behaves until it is told otherwise."""
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def here(vendor: Vendor, tmp_path: Path) -> dict[str, str]:
    """The environment of a partner of the vendor, with a home of its own."""
    return surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path / "home"))


def result(done: Ended) -> dict[str, Any]:
    """The last event on stderr."""
    found: dict[str, Any] = json.loads(done.err.splitlines()[-1])
    assert found["event"] == "result"
    return found


def again(here: Mapping[str, str], said: str) -> Ended:
    """Run the very command that a command named in its last words."""
    words = shlex.split(said.rpartition("To continue: ")[2])
    assert words[0] == "reelport"
    return piped(here, *words[1:])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_the_very_command_that_goes_on(
    vendor: Vendor, here: dict[str, str], tmp_path: Path, stop: signal.Signals
) -> None:
    """Status 6; days counted back are said as the days that they were; nothing is asked for twice."""
    vendor.makes_in = 3600
    words = [*ASK[:-3], "--start", "9d", "--end", "yesterday", "--filter", "mediaType=VIDEO"]
    words += ["-o", str(tmp_path / "my views.csv")]
    command = ["-m", "reelport", *words]
    with forked.Popen(command, env=here, stderr=forked.PIPE) as process:
        assert process.stderr is not None
        while "IN_PROGRESS" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(stop)
        said = process.stderr.read()
    assert process.returncode == 6
    assert "yesterday" not in said
    assert not (tmp_path / "my views.csv").exists()
    vendor.makes_in = 0
    assert again(here, said).status == 0
    assert (tmp_path / "my views.csv").read_text().startswith("day,video_title,views\n")
    assert len(vendor.asks) == 1


def test_ctrl_c_on_a_terminal_leaves_it_clean(vendor: Vendor, here: dict[str, str]) -> None:
    """The bars go, the cursor comes back, and the last line names the command, whole and ready to be copied."""
    vendor.makes_in = 3600
    status, drawn = on_terminal(here, *WEEK, keys=(0.2, b"\x03"), at="\x1b[?25l")
    assert status == 6
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")
    assert "".join(bare(drawn)[-1:]).startswith("reelport: To continue: reelport report run --metrics VIEWS")
    assert "Traceback" not in drawn


def test_bars_on_a_terminal_leave_stdout_to_the_data(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """What a command prints goes where stdout goes, also after bars were drawn."""
    vendor.makes_after_looks = 6
    token = piped(here, "report", "submit", *WEEK[2:], "-q").out.decode().strip()
    status, drawn = on_terminal(here, "report", "wait", token, stdout=tmp_path / "status")
    assert (status, "\x1b[?25l" in drawn) == (0, True)
    assert (tmp_path / "status").read_text() == "FINISHED\n"


def test_a_deadline_ends_with_status_6_and_goes_on(vendor: Vendor, here: dict[str, str]) -> None:
    """As lines and as JSON: the token is told, and the same command takes the report up."""
    vendor.makes_in = 3600
    late = piped(here, *WEEK, "--deadline", "2")
    told = piped(here, *WEEK, "--deadline", "0.1", "--json")
    assert (late.status, told.status) == (6, 6)
    assert (result(told)["code"], result(told)["token"]) == ("not_finished", vendor.tokens[0])
    assert result(told)["resume"] == late.err.splitlines()[-1].partition("To continue: ")[2]
    vendor.makes_in = 0
    assert again(here, late.err).out.startswith(b"day,video_title,views\n")
    assert len(vendor.asks) == 1


def test_a_terminal_has_room_for_what_was_asked(here: dict[str, str]) -> None:
    """In 80 columns no name and no time of the list of reports is broken."""
    assert piped(here, *WEEK).status == 0
    status, drawn = on_terminal(here, "jobs", "list")
    assert status == 0
    assert all(word in drawn for word in ("delivered", "2026-01-01..2026-01-07", "VIDEO_TITLE", "asked (UTC)"))


@pytest.mark.parametrize("words", thin_out(["jobs list", "check", "tables"], 3))
def test_a_narrow_terminal_breaks_no_name(here: dict[str, str], tmp_path: Path, words: str) -> None:
    """Where a table has no room for its words, its rows stand below each other, a field a line."""
    assert piped(here, *WEEK).status == 0
    check_layout(tmp_path / "data")
    status, drawn = on_terminal(here | {"REELPORT_DATA": str(tmp_path / "data")}, *words.split(), columns=30)
    assert status == 0
    lines = bare(drawn)
    assert {"jobs list": "state        delivered", "check": "verdict  well", "tables": "table  plays"}[words] in lines
    assert max(map(len, lines)) <= 30 or words == "tables"  # what is said on stderr, the terminal breaks
    assert "…" not in drawn


def test_each_ending_has_its_status(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """A failed report is 1, a wrong option 2, a key that is refused 4, a query that is refused 5."""
    vendor.fails = 1
    failed = piped(here, *WEEK, "--json")
    assert (failed.status, result(failed)["code"]) == (1, "report_failed")
    assert "resume" not in result(failed)
    assert piped(here, *WEEK, "--json", "-o", str(tmp_path / "no" / "where.csv")).status == 2
    promised = piped(here, *WEEK, "-o", str(tmp_path / "views.xls"))
    assert (promised.status, "no report is written as .xls" in promised.err) == (2, True)
    mistaken = piped(here, *WEEK, "--deadline", "soon", "--json")
    assert (mistaken.status, result(mistaken)["code"]) == (2, "usage")
    lacking = piped(here, *WEEK[:2], "--json", "-o", str(tmp_path / "a.csv"))
    assert lacking.status == 2
    assert json.loads(lacking.out)["error"].startswith("`reelport report run` needs a value for --metrics: ")
    denied = piped(here | {"REELPORT_API_SECRET": "wr0ng-secret"}, *WEEK, "--json")
    assert (denied.status, result(denied)["code"]) == (4, "access")
    assert "wr0ng-secret" not in denied.err
    vendor.refuses = lambda _: "No such thing."
    refused = piped(here, *WEEK, "--json", "--deadline", "1")
    assert (refused.status, result(refused)["problems"][0]["sentence"]) == (5, "No such thing.")
    assert not list(tmp_path.glob("*.csv*"))


def test_a_range_of_years_is_told_window_by_window(vendor: Vendor, here: dict[str, str]) -> None:
    """Each event carries its window; one whose days can't be had is status 3, and the same command asks for these."""
    broken = ["2025-12-31"]
    vendor.fails = lambda wire: wire["endDate"] in broken
    partly = piped(here, *YEARS, "--json", "--format", "ndjson")
    events = [json.loads(line) for line in partly.err.splitlines()]
    assert (partly.status, result(partly)["code"], partly.out) == (3, "partial", b"")
    assert {"start": "2025-01-01", "end": "2025-06-29"} in [event.get("window") for event in events]
    assert {"window_done", "bisected"} <= {event["event"] for event in events}
    broken.clear()
    asked = len(vendor.asks)
    whole = piped(here, *shlex.split(result(partly)["resume"])[1:], "-q")
    assert whole.status == 0, whole.err
    assert len(vendor.asks) - asked <= 1
    days = [json.loads(line)["day"] for line in whole.out.splitlines()]
    assert (days[0], days[-1], len(set(days))) == ("2025-01-01", "2025-12-31", 365)


def test_a_range_that_can_not_be_merged_is_kept_apart(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """What counts different viewers can't be added up: status 5 and the option that leaves a file a window."""
    words = ("report", "run", "--metrics", "LIVE_VIEWERS", "--start", "2025-01-01", "--end", "2025-12-31")
    refused = piped(here, *words)
    assert refused.status == 5
    assert "--keep-windows" in refused.err
    assert vendor.asks == []
    kept = piped(here, *words, "--keep-windows", "-o", str(tmp_path / "years"), "-q")
    assert (kept.status, kept.err, kept.out) == (0, "", b"")
    assert len(list((tmp_path / "years").glob("*.csv"))) == 3


def test_a_range_of_years_on_a_terminal_fits_it(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """Two windows at a time have a line each, and no line is wider than the terminal."""
    vendor.makes_in, vendor.makes_after_looks = 3.0, 2
    status, drawn = on_terminal(here, *YEARS, "-o", str(tmp_path / "y.csv"))
    lines = bare(drawn)
    assert status == 0
    assert any("2025-01-01..2025-06-29" in line and "IN_PROGRESS" in line for line in lines)
    assert any("3 of 3 windows" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_a_title_can_not_steer_the_terminal(vendor: Vendor, here: dict[str, str]) -> None:
    """Escape sequences, line ends and marks that turn writing around are shown as blanks in a table and a chart."""
    title = "\x1b]0;owned\x07 \x1b[2J\u202etitle"
    vendor.csv = lambda _: f'day,video_title,views\n2026-01-01,"{title}",5\n'.encode()
    for words in (("--format", "table"), ("--format", "table", "--chart")):
        status, drawn = on_terminal(here, *WEEK, *words)
        assert status == 0
        assert "title" in drawn
        assert not any(mark in drawn for mark in ("\x1b]", "\x1b[2J", "\u202e", "\x07"))
    assert title.encode() in piped(here, *WEEK, "-q").out


def test_a_spreadsheet_is_guarded_and_the_sidecar_says_so(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """With --excel-safe, into a file and a pipe; the file that came without it is another one, byte for byte."""
    report = b'day,video_title,views\n2026-01-01,=1+1,-5\n2026-01-01,"a,b",5\n'
    safe = BOM_UTF8 + report.replace(b"=1+1", b'"\'=1+1"')
    vendor.csv = lambda _: report
    file, beside = tmp_path / "week.csv", tmp_path / "week.csv.json"
    done = piped(here, *WEEK, "-o", str(file), "--excel-safe", "--json")
    told = json.loads(done.out.splitlines()[-1])
    assert (done.status, told["changed_cells"], told["sha256"]) == (0, 1, sha256(report).hexdigest())
    assert file.read_bytes() == safe == piped(here, *WEEK, "-q", "--excel-safe").out
    said = piped(here, *WEEK, "-o", str(file), "--excel-safe").err
    assert "the downloaded CSV was checked by the service's SHA-256" in said, said
    assert "1 cell changed, so that no spreadsheet takes one for a formula: what is written has another SHA-256" in said
    noted = json.loads(beside.read_text())
    assert (noted["excel_safe"], noted["changed_cells"], noted["sha256"]) == (True, 1, sha256(safe).hexdigest())
    assert noted["csv"] == {"bytes": len(report), "sha256": sha256(report).hexdigest()}
    assert piped(here, *WEEK, "-o", str(file)).status == 0
    assert file.read_bytes() == report
    assert "excel_safe" not in json.loads(beside.read_text())
    for words in (
        ("-o", str(tmp_path / "a.json")),
        ("--format", "table"),
        ("--keep-windows", "-o", str(tmp_path / "w")),
    ):
        assert piped(here, *WEEK, "--excel-safe", *words).status == 2


def test_a_mark_in_front_is_said_where_no_cell_changed(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """A file with --excel-safe is another one than the service's also then: its SHA-256 isn't said to be the same."""
    report, file = b"day,video_title,views\n2026-01-01,a,5\n", tmp_path / "week.csv"
    vendor.csv = lambda _: report
    done = piped(here, *WEEK, "-o", str(file), "--excel-safe")
    assert (done.status, file.read_bytes()) == (0, BOM_UTF8 + report)
    assert f"{len(report)} bytes; the downloaded CSV" in done.err
    assert "no cell had to be changed: but for a mark of UTF-8 in front" in done.err


def test_a_cell_that_can_not_be_typed_is_said(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """Which row, which column, and the form that gives it all the same; nothing half stays."""
    vendor.csv = lambda _: b"day,video_title,views\n2026-01-01,a,5\n2026-01-01,b,many\n"
    for words in (("--format", "json"), ("-o", str(tmp_path / "report.parquet"))):
        done = piped(here, *WEEK, *words)
        assert done.status == 1
        assert "Row 2, column views: 'many'" in done.err
        assert "--format csv gives the report as it is" in done.err
    assert not list(tmp_path.glob("report.parquet*"))
    status, drawn = on_terminal(here, *WEEK)
    assert (status, "2026-01-01,b,many" in drawn) == (0, True)
    assert "note: no table can be made of it. Row 2, column views: 'many'" in " ".join(bare(drawn))


def test_whoever_has_read_enough_may_go(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """`| head` ends the command without a word of it, and leaves nothing behind."""
    vendor.csv = lambda _: b"day,video_title,views\n" + b"2026-01-01,a,5\n" * 200_000
    command = ["-m", "reelport", *WEEK, "-q", "--format", "ndjson"]
    with forked.Popen(command, env=here, stdout=forked.PIPE, stderr=forked.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
    assert not list((tmp_path / "home" / "landing").iterdir())


def test_a_full_disk_is_said_and_leaves_what_was_there(vendor: Vendor, here: dict[str, str], tmp_path: Path) -> None:
    """A full device as stdout is an error of storage, and the report is kept for the same command."""
    with Path("/dev/full").open("wb") as full:
        done = forked.run(["-m", "reelport", *WEEK, "--format", "json"], env=here, stdout=full)
    assert done.returncode == 1
    assert "stdout takes no more" in done.stderr
    assert again(here, done.stderr).status == 0
    assert len(vendor.asks) == 1
    assert not list((tmp_path / "home" / "landing").iterdir())


def test_a_landing_place_is_one_commands_at_a_time(tmp_path: Path) -> None:
    """The same name leads to the same place after a kill, to another one beside a living command; old ones go."""
    before = os.environ["REELPORT_HOME"]
    os.environ["REELPORT_HOME"] = str(tmp_path)
    try:
        with suppress(InterruptedError), open_spool("a") as first:
            first.write_text("half")
            raise InterruptedError
        with open_spool("a") as taken_up, open_spool("a") as other:
            assert taken_up == first
            assert taken_up.read_text() == "half"
            assert other != first
        assert list((tmp_path / "landing").iterdir()) == []
        for name in ("old", "new"):
            (tmp_path / "landing" / name).mkdir()
        days_ago = time.time() - 3 * 86_400
        os.utime(tmp_path / "landing" / "old", (days_ago, days_ago))
        with open_spool("b"):
            assert sorted(each.name for each in (tmp_path / "landing").iterdir()) == ["b", "new"]
    finally:
        os.environ["REELPORT_HOME"] = before


def test_a_closed_stdout_is_said_before_anything_is_asked_for(vendor: Vendor, here: dict[str, str]) -> None:
    """The report would have nowhere to go."""
    words = [sys.executable, "-m", "reelport", *WEEK]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words],
        env=here,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "reelport: stdout is closed: give -o FILE.\n")
    assert vendor.asks == []
