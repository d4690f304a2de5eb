"""Progress for people on stderr: bars on a terminal, else lines; hints about the report."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from datetime import date
from typing import IO, Self

from reelport.catalog import Filter
from reelport.cli.output.listing import quote_command
from reelport.cli.output.progress_bars import BarLine, ProgressBars
from reelport.client.events import (
    Asked,
    Bisected,
    Event,
    InWindow,
    Looked,
    Merged,
    Merging,
    Queued,
    Received,
    Retrying,
    Reused,
    Saved,
    WindowDone,
)
from reelport.client.flows.download import Downloaded, Ranged
from reelport.client.listener import EventLines, count_seconds_left, describe_details, get_state
from reelport.errors import ReelportError
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.wording import clean_line, format_count, format_size

_UNKNOWN = "no data that its key may read is of its metrics, days, product and filters"


def explain_no_rows(query: ReportQuery | None, complete: date | None) -> str:
    """Say that a report has no rows, and what explains it: its filters or its days.

    `complete` is the last complete day of the service's data: None where unknown, `date.min` where there is none.
    """
    if query is None:
        return f"the report has no rows: {_UNKNOWN}"
    if complete is not None and complete < query.start and not query.filters:
        return f"the report has no rows: {_describe_complete(complete)}, and it asks for {_format_days(query)}"
    moving = "the latest days may have no data yet" if complete is None else _describe_complete(complete)
    late = f"; {moving}" if complete is None or complete < query.end else ""
    return f"the report has no rows: {_describe_nothing(query)}{late}"


def explain_moving_days(query: ReportQuery | None, complete: date | None) -> str | None:
    """Say that the report's last days aren't complete (`complete` as above); None if they are."""
    if query is None or complete is None or complete >= query.end:
        return None
    moving = "numbers" if complete < query.start else "numbers of later days"
    return f"{_describe_complete(complete)}: {moving} may still change"


def _describe_nothing(query: ReportQuery) -> str:
    place = f"for these metrics of {_format_days(query)} with --product {query.product}"
    if not query.filters:
        return f"there is no data {place} that this key may read"
    filters = quote_command(word for name, value in query.filters for word in ("--filter", f"{name}={value}"))
    listed = {row.name for row in Filter if row.choices}
    has_text = any(value and name not in listed for name, value in query.filters)
    spelled = " (a text may have to be spelled as in the data, also in upper and lower case)" if has_text else ""
    return f"no data {place} passes {filters}{spelled}, or this key may read none of it"


def _describe_complete(complete: date) -> str:
    if complete == date.min:
        return "no day of the service's data for these metrics is complete yet"
    return f"the service's data for these metrics is complete up to {complete}"


def _format_days(query: ReportQuery) -> str:
    return str(query.start) if query.start == query.end else f"{query.start}..{query.end}"


_HEARTBEAT = 60.0
"""Seconds between two lines while nothing changes, so that a wait doesn't look like a hang. A bar needs none."""

_UNDRAWN = 1.0
"""Seconds after which bars are drawn: what is faster draws nothing, and loads nothing for it."""


class ResumableCommand:
    """What resumes a command: query, report token, and the words after `reelport GROUP`."""

    def __init__(self) -> None:
        self.query: ReportQuery | None = None
        self.token: str | None = None
        self.group = "report"
        self.resume: list[str] = []

    def resume_command(self) -> str:
        """Format the command that resumes the work."""
        return quote_command(["reelport", self.group, *self.resume])


class ProgressLines(ResumableCommand):
    """Prints a flow's events for a person on stderr, or another stream. Use it in a `with`.

    A terminal has bars at its foot, once the work has taken `undrawn` seconds.
    """

    def __init__(
        self,
        stream: IO[str],
        *,
        quiet: bool = False,
        undrawn: float = _UNDRAWN,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._quiet = quiet
        self._bars = ProgressBars(stream, undrawn) if not quiet and _can_draw(stream) else None
        self._lines = EventLines(seconds, math.inf if self._bars else _HEARTBEAT, str)

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start("asking")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_bars()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Asked | Reused):
            self.token = event.token
        match event:
            case InWindow(start, end, inner):
                self.report_event(f"{start}..{end}", inner)
            case Bisected(start, end):
                self.report_event(f"{start}..{end}", event)
            case _:
                self.report_event("", event)

    def report_event(self, name: str, event: Event) -> None:
        """Show an event of one report among several, which `name` identifies."""
        if self._quiet or isinstance(event, Saved | Merged):
            return  # The last line says what was downloaded.
        line = self._lines.find_line(event, name)
        # A bar says what each of several reports does.
        if line is not None and not (self._bars and name and isinstance(event, Asked | Reused | Queued | Looked)):
            self.say(line)
        if self._bars:
            self._show_bar(self._bars, name, event)

    def finish_window(self, name: str, done: int, windows: int) -> None:
        """Remove the line of a finished window, and update how many of the windows are done."""
        if self._bars:
            self._bars.end(name)
            self._bars.show("", BarLine("windows", done=done, total=windows, amounts=f"{done} of {windows}"))

    def show_step(self, text: str) -> None:
        """Show in the place of the bar what the command does now."""
        if self._bars:
            self._bars.show("", BarLine(text))

    def stop_bars(self) -> None:
        """Remove the bars: nothing more takes time."""
        if self._bars:
            self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line, unless quiet."""
        if self._quiet:
            return
        if self._bars:
            self._bars.say(clean_line(line))
        else:
            print(clean_line(line), file=self._stream)

    def report_download(
        self, done: Downloaded, output: str | None, more: dict[str, object], *, drawn: bool = False
    ) -> None:
        """Print a finished download's size and proof, and what its days or filters explain."""
        self.stop_bars()
        # Earlier windows may have been made long ago; the last one has the last days.
        complete = done.windows[-1].last_complete_day if isinstance(done, Ranged) else done.last_complete_day
        place = "drawn, and not kept (-o FILE keeps the data)" if drawn else output or "stdout"
        form = more.pop("form", None)
        proof = _describe_proof(done, is_other=bool(form) or "changed_cells" in more)
        size = f"{format_size(done.bytes)}{' as CSV' if form else ''}"
        self.say(f"{place}: {format_count(done.rows, 'row')}, {size}; {proof}")
        for what, value in more.items():
            self.say(
                _format_changed(value) if what == "changed_cells" and isinstance(value, int) else f"{what}: {value}"
            )
        if done.rows == 0:
            self.say(explain_no_rows(self.query, complete))
        elif moving := explain_moving_days(self.query, complete):
            self.say(moving)

    def report_success(self, **facts: object) -> None:
        """Print nothing: the command prints its success on stdout."""

    def report_failure(self, error: ReelportError, resume: str | None) -> ReelportError:
        """Return the error to raise, with the command that resumes the work."""
        if resume is not None:
            error.args = (f"{without_resume_advice(error)}\nTo continue: {resume}", *error.args[1:])
        return error

    def _show_bar(self, bars: ProgressBars, name: str, event: Event) -> None:
        details: ReportDetails | None = None
        match event:
            case Asked(details=details):
                text = "waiting"
            case Reused():
                text = "waiting"
            case Queued(reason, seconds):
                text = _format_wait(reason, seconds)
            case Looked(details=details, next_look=next_look):
                text = _format_wait(get_state(event), next_look or 0)
            case Retrying():
                text = "trying again"
            case Merging():
                text = "merging"
            case Received(received, total):
                amounts = format_size(received) + (f" of {format_size(total)}" if total else "")
                bars.show(name, BarLine(name or "downloading", done=received, total=total, amounts=amounts))
                return
            case WindowDone(start, end, _, done, windows):
                self.finish_window(f"{start}..{end}", done, windows)
                return
            case Bisected():
                bars.end(name)
                return
            case _:
                return
        text = text if details is None else describe_details(details)
        left = None if details is None else count_seconds_left(details)
        bars.show(name, BarLine(f"{name}: {text}" if name else text, left=left))


def _format_wait(state: str, seconds: float) -> str:
    return f"{state}, next look in {seconds:.0f} s" if seconds >= 1 else state


def _can_draw(stream: IO[str]) -> bool:
    return (
        stream.isatty()
        and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}
        and (getattr(stream, "encoding", None) or "").lower().startswith("utf")
    )


def _describe_proof(done: Downloaded, *, is_other: bool) -> str:
    """Say what proves the downloaded CSV whole; `is_other`: another file was made of it."""
    windows = len(done.windows) if isinstance(done, Ranged) else 1
    each = f"each of {windows} windows" if windows > 1 else ""
    of = "the downloaded CSV" + (f" of {each}" if each else "") if is_other else each
    if done.proof.word == "checksum":
        return f"{of} was checked by the service's SHA-256" if of else "checked by the service's SHA-256"
    return f"{of}: {done.proof}" if of else str(done.proof)


def _format_changed(cells: int) -> str:
    if not cells:
        return "no cell had to be changed: but for a mark of UTF-8 in front, what is written is what was downloaded"
    changed = f"{format_count(cells, 'cell')} changed, so that no spreadsheet takes one for a formula"
    return f"{changed}: what is written has another SHA-256 than the service's"


def without_resume_advice(error: ReelportError) -> str:
    """Return an error's text without its advice to programs: we give our own resume command."""
    return str(error).partition(" Continue with")[0]
