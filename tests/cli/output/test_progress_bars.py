"""What a terminal shows while reports are made: nothing of what is over at once, else a line a report."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.patience import PATIENCE

from reelport.cli.output.progress import ProgressLines, estimate_share
from reelport.client.events import Asked, Event, InWindow, Looked, Merging, Received, WindowDone
from reelport.report_details import ReportDetails, State

FIRST, SECOND = (date(2026, 1, 1), date(2026, 6, 29)), (date(2026, 6, 30), date(2026, 12, 26))
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A terminal of 80 columns that keeps all that was drawn."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """It is one."""
        return True


def look(details: ReportDetails | None = None) -> Looked:
    return Looked("R-1", "IN_PROGRESS", 1.0, 0.0, details)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for a condition."""
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def draw(*events: Event, until: str) -> str:
    """All that a terminal draws of these events, at least until this is among it."""
    terminal = Terminal()
    with ProgressLines(terminal, undrawn=0) as progress:
        for event in events:
            progress(event)
        wait_until(lambda: until in _CONTROL.sub("", terminal.getvalue()))
    return _CONTROL.sub("", terminal.getvalue())


def test_what_is_over_before_a_bar_is_due_draws_none() -> None:
    """Its lines alone are there, and no sign that steers the terminal."""
    terminal = Terminal()
    with ProgressLines(terminal, undrawn=PATIENCE) as progress:
        progress(Asked("R-1", ReportDetails("R-1", State.QUEUED, place=1)))
        progress(Received(10, 10))
    assert terminal.getvalue() == "asked for report R-1\n"


def test_what_is_over_before_a_bar_is_due_loads_no_library_for_one() -> None:
    """On a terminal, as in a pipe."""
    code = (
        "import sys\nfrom reelport.cli.output.progress import ProgressLines\n"
        "from reelport.client.events import Asked\nsys.stderr.isatty = lambda: True\n"
        "with ProgressLines(sys.stderr, undrawn=1000) as progress: progress(Asked('R-1'))\n"
        "print('rich' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONUTF8": "1"}
    )
    assert (ran.stdout, ran.stderr) == ("False\n", "asked for report R-1\n")


def test_a_report_that_waits_shows_its_place() -> None:
    """From the ask on; without details, that it waits."""
    assert "queued, place 3 0:00:0" in draw(
        Asked("R-1", ReportDetails("R-1", State.QUEUED, place=3)), until="queued, place 3 0:0"
    )
    assert "queued" not in draw(Asked("R-1"), until="waiting 0:0")


def test_a_running_report_shows_rows_bytes_and_the_time_left() -> None:
    """With a bar by the estimate; without one, how much there is."""
    ready = datetime.now(UTC) + timedelta(hours=2, seconds=30)
    running = ReportDetails("R-1", State.RUNNING, rows=1_200, bytes=3_400_000, ready_at=ready)
    assert re.search(
        r"running, 1,200 rows, 3\.4 MB ━{20} 2 h 0 min left 0:00:0\d", draw(look(running), until="min left 0:0")
    )
    late = ReportDetails("R-1", State.RUNNING, rows=1, bytes=20, ready_at=ready - timedelta(days=1))
    assert "running, 1 row, 20 bytes 0:00:0" in draw(look(late), until="bytes 0:0")


def test_another_vendors_report_shows_its_status() -> None:
    """As it says no more."""
    assert "IN_PROGRESS, next look in 12 s 0:0" in draw(
        Looked("R-1", "IN_PROGRESS", 1.0, 12.0), until="next look in 12 s 0:0"
    )


def test_a_range_shows_each_window_in_flight_and_how_many_are_done() -> None:
    """A longer line has a shorter bar, or none."""
    ready = datetime.now(UTC) + timedelta(minutes=30, seconds=30)
    running = ReportDetails("R-1", State.RUNNING, rows=1_200, bytes=3_400, ready_at=ready)
    drawn = draw(
        InWindow(*FIRST, look(running)),
        InWindow(*SECOND, look(ReportDetails("R-2", State.QUEUED, place=12, ready_at=ready))),
        WindowDone(date(2025, 1, 1), date(2025, 12, 31), 1, 1, 3),
        until="1 of 3 0:0",
    )
    assert re.search(r"windows ━{20} 1 of 3 0:0", drawn)
    assert "2026-01-01..2026-06-29: running, 1,200 rows, 3.4 kB 30 min left 0:0" in drawn
    assert re.search(r"2026-06-30\.\.2026-12-26: queued, place 12 ━{16} 30 min left 0:0", drawn)
    assert "merging 0:0" in draw(Merging(3), until="merging 0:0")


def test_a_download_shows_its_bytes() -> None:
    """And the total, where it is known."""
    assert "downloading ━━━━━━━━━━━━━━━━━━━━ 10 bytes of 40 bytes 0:0" in draw(
        Received(10, 40), until="of 40 bytes 0:0"
    )


@pytest.mark.parametrize(
    ("elapsed", "left", "before", "share"),
    [
        (0.0, 10.0, 0.0, 0.0),
        (5.0, 5.0, 0.0, 0.5),
        (5.0, 45.0, 0.5, 0.5),
        (5.0, 0.0, 0.5, 0.9),
        (5.0, -3.0, 0.5, 0.9),
    ],
)
def test_an_estimated_share_never_shrinks_and_is_never_all(
    elapsed: float, left: float, before: float, share: float
) -> None:
    """A later estimate holds the bar still; only the report's own end is the end."""
    assert estimate_share(elapsed, left, before) == share
