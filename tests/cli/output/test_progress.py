"""What is said of waits and downloads: lines where no terminal shows bars, and bars for what isn't over at once."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from tests.patience import PATIENCE, until

from reelport.cli.output.progress import JsonEvents, ProgressLines, estimate_share, explain_moving_days, explain_no_rows
from reelport.client.events import (
    Asked,
    Bisected,
    Event,
    InWindow,
    KeyExpires,
    Looked,
    Merging,
    Queued,
    Received,
    Retrying,
    Reused,
    Warned,
    WindowDone,
)
from reelport.client.files.resumable_transfer import Proof
from reelport.client.flows.download import Downloaded, Ranged
from reelport.errors import NotFinished, Problem
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails, State
from reelport.wording import format_duration, format_size


@dataclass
class Told:
    """A narrator into a text, and its clock."""

    quiet: bool = False
    now: float = 0.0
    text: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.narrator = ProgressLines(self.text, quiet=self.quiet, seconds=lambda: self.now)

    def hear(self, *events: Event, after: float = 0.0) -> list[str]:
        """What is said of these events so much later."""
        self.now += after
        for event in events:
            self.narrator(event)
        lines = self.text.getvalue().splitlines()
        self.text.seek(0)
        self.text.truncate()
        return lines


def looked(elapsed: float, next_look: float = 1.0, status: str = "IN_PROGRESS") -> Looked:
    return Looked("R-1", status, elapsed, next_look)


def test_a_wait_is_a_line_a_state_and_a_line_a_minute() -> None:
    """Two hours of looks every ten seconds are about 120 lines, and no silence is longer than a minute."""
    told = Told()
    assert told.hear(Asked("R-1"), looked(0)) == [
        "asked for report R-1",
        "waiting for report R…: IN_PROGRESS after 0.0 s",
    ]
    said = [n for n in range(1, 720) if told.hear(looked(10 * n, 10.0), after=10)]
    assert len(said) == pytest.approx(120, abs=30)
    assert max(b - a for a, b in pairwise(said)) * 10 <= 60
    assert told.hear(looked(7201, status="FINISHED")) == ["waiting for report R…: FINISHED after 2 h 0 min"]
    assert told.hear(Asked("R-1", again=True)) == ["the service gave report R-1 again"]


@pytest.mark.parametrize("proof", [Proof.CHECKSUM, Proof.LENGTH])
@pytest.mark.parametrize("form", [None, "parquet"])
def test_the_end_says_what_was_checked(proof: Proof, form: str | None) -> None:
    """The downloaded CSV is what was checked: of another file that was made of it, the line says so."""
    told = Told()
    more: dict[str, object] = {} if form is None else {"form": form}
    done = Downloaded(Path("views.csv"), 10, "", 1, proof)
    told.narrator.report_download(done, "views", more)
    said = told.hear()[0].partition("; ")[2]
    of = "the downloaded CSV" if form else ""
    if proof is Proof.CHECKSUM:
        assert said == f"{of} was checked by the service's SHA-256".removeprefix(" was ")
    else:
        assert said == f"{of}: its length is the service's, and every row is whole".removeprefix(": ")


def test_moments_of_events_end_in_z() -> None:
    """As all other moments do, and those on the wire."""
    text = io.StringIO()
    ready = datetime(2026, 11, 2, 7, 4, 1, tzinfo=UTC)
    JsonEvents(text, quiet=False)(Asked("R-1", ReportDetails("R-1", State.QUEUED, place=1, ready_at=ready)))
    assert json.loads(text.getvalue())["details"]["ready_at"] == "2026-11-02T07:04:01Z"


def test_looks_that_are_a_minute_apart_are_all_said() -> None:
    """Where the next look is far, the line comes before the silence."""
    told = Told()
    told.hear(looked(0))
    assert all(told.hear(looked(70 * n, 70.0), after=70) for n in range(1, 5))


def test_a_long_download_is_a_line_a_minute() -> None:
    """A short one is not told of at all before its end."""
    told = Told()
    assert told.hear(*(Received(n, 40_000_000) for n in range(0, 20_000_000, 1_000_000)), after=30) == []
    assert told.hear(Received(20_000_000, 40_000_000), after=61) == ["downloading the report: 20.0 MB of 40.0 MB"]
    assert told.hear(Received(21_000_000, None), after=1) == []


def test_each_window_has_its_own_lines() -> None:
    """Two windows at a time don't take each other's words away."""
    told = Told()
    first, second = (date(2026, 1, 1), date(2026, 6, 29)), (date(2026, 6, 30), date(2026, 12, 26))
    other = Looked("S-1", "IN_PROGRESS", 0, 1.0)
    assert told.hear(InWindow(*first, looked(0)), InWindow(*second, other), InWindow(*first, looked(1))) == [
        "2026-01-01..2026-06-29: waiting for report R…: IN_PROGRESS after 0.0 s",
        "2026-06-30..2026-12-26: waiting for report S…: IN_PROGRESS after 0.0 s",
    ]
    assert told.hear(WindowDone(*first, 1_200, 1, 2), Merging(2)) == [
        "2026-01-01..2026-06-29: here, 1.2 kB; 1 of 2 windows",
        "merging 2 windows",
    ]
    (line,) = told.hear(Bisected(*first, date(2026, 4, 1), "It failed."))
    assert "2026-04-01" in line


def test_reports_of_one_window_are_told_apart_by_name() -> None:
    """Two reports over the same days, as a sync has them; one that is asked for in halves says so too."""
    told = Told()
    told.narrator.report_event("views 2026-01-01..2026-06-29", looked(0))
    told.narrator.report_event("earned 2026-01-01..2026-06-29", Looked("S-1", "IN_PROGRESS", 0, 1.0))
    told.narrator.report_event(
        "earned 2026-01-01..2026-06-29", Bisected(date(2026, 1, 1), date(2026, 6, 29), date(2026, 4, 1), "No.")
    )
    assert told.hear() == [
        "views 2026-01-01..2026-06-29: waiting for report R…: IN_PROGRESS after 0.0 s",
        "earned 2026-01-01..2026-06-29: waiting for report S…: IN_PROGRESS after 0.0 s",
        "earned 2026-01-01..2026-06-29: asking for two halves, the later from 2026-04-01 on: No.",
    ]


def test_every_event_says_something() -> None:
    """Warnings, an earlier report that serves, a wait for a slot, what is tried again."""
    told = Told()
    odd = Warned(Problem("x", ("metrics", 0), "Odd."))
    assert told.hear(odd, Reused("R-1", 240), Queued("No slot is free.", 1), Retrying("Cut.", 2)) == [
        "warning: metrics.0: Odd. It is sent all the same.",
        "continuing with report R-1, asked for 4 min ago",
        "waiting to ask, next try in 1.0 s: No slot is free.",
        "Cut. Trying again in 2.0 s.",
    ]  # fmt: skip
    assert told.narrator.token == "R-1"  # noqa: S105 - a report's, no secret


def test_a_trouble_that_lasts_is_said_now_and_then() -> None:
    """At once, then every five seconds at most; another reason at once; of two windows' one host, one line."""
    told = Told()
    first, second = (date(2026, 1, 1), date(2026, 6, 29)), (date(2026, 6, 30), date(2026, 12, 26))
    tries = [told.hear(Retrying("Refused.", 0.5), after=0.5) for _ in range(40)]
    assert 3 <= sum(map(len, tries)) <= 4
    assert tries[0] == ["Refused. Trying again in 0.5 s."]
    assert told.hear(Retrying("Not found.", 0.5)) == ["Not found. Trying again in 0.5 s."]
    dead = Retrying("Silent.", 1)
    (line,) = told.hear(InWindow(*first, dead), InWindow(*second, dead), after=60)
    assert line == "2026-01-01..2026-06-29: Silent. Trying again in 1.0 s."


def test_quiet_says_nothing_but_keeps_the_token() -> None:
    """The command that goes on needs it."""
    told = Told(quiet=True)
    assert told.hear(Asked("R-1"), looked(0), Retrying("Cut.", 2), after=600) == []
    assert told.narrator.token == "R-1"  # noqa: S105 - a report's, no secret


def test_the_last_words_name_the_command_that_goes_on() -> None:
    """In place of what a program would do."""
    error = NotFinished("It goes on without you. Continue with client.reports.attach('R-1').", "R-1")
    said = str(Told().narrator.report_failure(error, "reelport report run"))
    assert said == "It goes on without you.\nTo continue: reelport report run"


def test_amounts_read_well() -> None:
    """Bytes and times as people say them."""
    assert [format_size(n) for n in (0, 999, 1_200, 5_300_000, 7_100_000_000)] == [
        "0 bytes", "999 bytes", "1.2 kB", "5.3 MB", "7.1 GB"
    ]  # fmt: skip
    assert [format_duration(s) for s in (0.04, 61, 150, 3_600, 11_100)] == [
        "0.0 s",
        "61.0 s",
        "2 min",
        "1 h 0 min",
        "3 h 5 min",
    ]


def test_a_key_that_expires_is_one_line() -> None:
    """It says when, and what to do; a quiet command says nothing."""
    event = KeyExpires(datetime(2026, 12, 1, tzinfo=UTC))
    sentence = "The API key expires on 2026-12-01 at 00:00 UTC: have its secret rotated, or use a new key."
    assert Told().hear(event) == [f"warning: {sentence}"]
    assert Told(quiet=True).hear(event) == []


def test_of_several_windows_the_last_says_up_to_which_day_data_is_complete(tmp_path: Path) -> None:
    """The first ones may have been made when less was complete: their days are complete since."""
    made = [Downloaded(tmp_path, 10, "", 1, Proof.CHECKSUM, None, date(2026, month, 28)) for month in (7, 11)]
    told = Told()
    told.narrator.query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 1, 1), date(2026, 11, 29))
    told.narrator.report_download(Ranged.kept(tmp_path, made), "a", {})
    assert told.hear()[-1].endswith("is complete up to 2026-11-28: numbers of later days may still change")


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


def draw(*events: Event, drawn: str) -> str:
    """All that a terminal draws of these events, at least until this is among it."""
    terminal = Terminal()
    with ProgressLines(terminal, undrawn=0) as progress:
        for event in events:
            progress(event)
        assert until(lambda: drawn in _CONTROL.sub("", terminal.getvalue()))
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
        Asked("R-1", ReportDetails("R-1", State.QUEUED, place=3)), drawn="queued, place 3 0:0"
    )
    assert "queued" not in draw(Asked("R-1"), drawn="waiting 0:0")


def test_a_running_report_shows_rows_bytes_and_the_time_left() -> None:
    """With a bar by the estimate; without one, how much there is."""
    ready = datetime.now(UTC) + timedelta(hours=2, seconds=30)
    running = ReportDetails("R-1", State.RUNNING, rows=1_200, bytes=3_400_000, ready_at=ready)
    assert re.search(
        r"running, 1,200 rows, 3\.4 MB ━{20} 2 h 0 min left 0:00:0\d", draw(look(running), drawn="min left 0:0")
    )
    late = ReportDetails("R-1", State.RUNNING, rows=1, bytes=20, ready_at=ready - timedelta(days=1))
    assert "running, 1 row, 20 bytes 0:00:0" in draw(look(late), drawn="bytes 0:0")


def test_another_vendors_report_shows_its_status() -> None:
    """As it says no more."""
    assert "IN_PROGRESS, next look in 12 s 0:0" in draw(
        Looked("R-1", "IN_PROGRESS", 1.0, 12.0), drawn="next look in 12 s 0:0"
    )


def test_a_range_shows_each_window_in_flight_and_how_many_are_done() -> None:
    """A longer line has a shorter bar, or none."""
    ready = datetime.now(UTC) + timedelta(minutes=30, seconds=30)
    running = ReportDetails("R-1", State.RUNNING, rows=1_200, bytes=3_400, ready_at=ready)
    drawn = draw(
        InWindow(*FIRST, look(running)),
        InWindow(*SECOND, look(ReportDetails("R-2", State.QUEUED, place=12, ready_at=ready))),
        WindowDone(date(2025, 1, 1), date(2025, 12, 31), 1, 1, 3),
        drawn="1 of 3 0:0",
    )
    assert re.search(r"windows ━{20} 1 of 3 0:0", drawn)
    assert "2026-01-01..2026-06-29: running, 1,200 rows, 3.4 kB 30 min left 0:0" in drawn
    assert re.search(r"2026-06-30\.\.2026-12-26: queued, place 12 ━{16} 30 min left 0:0", drawn)
    assert "merging 0:0" in draw(Merging(3), drawn="merging 0:0")


def test_a_download_shows_its_bytes() -> None:
    """And the total, where it is known."""
    assert "downloading ━━━━━━━━━━━━━━━━━━━━ 10 bytes of 40 bytes 0:0" in draw(
        Received(10, 40), drawn="of 40 bytes 0:0"
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
