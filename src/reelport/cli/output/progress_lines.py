"""Progress for people on stderr: bars on a terminal, else lines; hints about the report."""

from __future__ import annotations

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
from reelport.client.flows.download import Downloaded, Ranged
from reelport.client.listener import count_seconds_left, describe_details, describe_look, get_state
from reelport.errors import ReelportError
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.wording import clean_line, format_count, format_duration, format_size

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
"""Seconds between two lines while nothing changes, so that a wait doesn't look like a hang."""

_AGAIN = 5.0
"""Seconds between two lines about the same error, however often it is retried meanwhile."""


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
        self._seconds = seconds
        self._quiet = quiet
        self._bars = ProgressBars(stream, undrawn) if not quiet and _can_draw(stream) else None
        self._last: dict[str, tuple[str, float]] = {}
        self._troubles: dict[str, float] = {}

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
        if self._quiet:
            return
        match event:
            case InWindow(start, end, inner):
                self.report_event(f"{start}..{end}", inner)
            case WindowDone() | Bisected() | Merging():
                self._show_window_event(event)
            case _:
                self._show_event(event, "")

    def report_event(self, name: str, event: Event) -> None:
        """Show an event of one report among several, which `name` identifies."""
        if self._quiet:
            return
        if isinstance(event, Bisected):
            self.say(f"{name}: {event.reason} Asking for its halves instead, the later from {event.middle} on.")
            if self._bars:
                self._bars.end(name)
        else:
            self._show_event(event, name)

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

    def _show_event(self, event: Event, window: str) -> None:
        prefix = f"{window}: " if window else ""
        if self._bars and isinstance(event, Asked | Reused):
            self._show_details(window, "waiting", event.details if isinstance(event, Asked) else None)
        match event:
            case Warned() | KeyExpires():
                self.say(f"{prefix}warning: {event}")
            case Asked(token, again=again) if not (self._bars and window):
                self.say(prefix + (f"the service gave report {token} again" if again else f"asked for report {token}"))
            case Reused(token, age) if not (self._bars and window):
                self.say(f"{prefix}continuing with report {token}, asked for {format_duration(age)} ago")
            case Queued(reason, seconds):
                self._show_state(window, reason, seconds, reason)
            case Retrying(reason, seconds):
                self._show_trouble(window, prefix, reason, seconds)
            case Looked(details=details, next_look=next_look):
                self._show_state(window, get_state(event), next_look or 0, describe_look(event), details)
            case Received(received, total):
                amounts = format_size(received) + (f" of {format_size(total)}" if total else "")
                if self._bars:
                    line = BarLine(window or "downloading", done=received, total=total, amounts=amounts)
                    self._bars.show(window, line)
                self._say_heartbeat(window, 0, f"downloading: {amounts}")

    def _show_trouble(self, window: str, prefix: str, reason: str, seconds: float) -> None:
        """Print an error at once, then every few seconds; all windows of a host share one line."""
        if self._bars:
            self._bars.show(window, BarLine(f"{prefix}trying again"))
        now = self._seconds()
        if now - self._troubles.get(reason, -_AGAIN) >= _AGAIN:
            self._troubles[reason] = now
            self.say(f"{prefix}{reason} Trying again in {seconds:.1f} s.")

    def _show_window_event(self, event: WindowDone | Bisected | Merging) -> None:
        match event:
            case WindowDone(start, end, size_, done, windows):
                self.say(f"{start}..{end}: here, {format_size(size_)}; {done} of {format_count(windows, 'window')}")
                self.finish_window(f"{start}..{end}", done, windows)
            case Bisected(start, end):
                self.report_event(f"{start}..{end}", event)
            case Merging(windows):
                self.say(f"merging {format_count(windows, 'window')}")
                if self._bars:
                    self._bars.show("", BarLine("merging"))

    def _show_details(self, window: str, text: str, details: ReportDetails | None) -> None:
        if self._bars:
            text = text if details is None else describe_details(details)
            left = None if details is None else count_seconds_left(details)
            self._bars.show(window, BarLine(f"{window}: {text}" if window else text, left=left))

    def _show_state(
        self, window: str, state: str, next_look: float, line: str, details: ReportDetails | None = None
    ) -> None:
        """Print a state once; without a bar, again before a minute has passed without a line."""
        text = f"{state}, next look in {next_look:.0f} s" if next_look >= 1 else state
        self._show_details(window, text, details)
        before, _ = self._last.get(window, ("", 0.0))
        if state != before and not (self._bars and window):
            self._say_state(window, state, line)
        else:
            self._last[window] = (state, self._last.get(window, ("", self._seconds()))[1])
            self._say_heartbeat(window, next_look, line)

    def _say_heartbeat(self, window: str, silent: float, line: str) -> None:
        """Print a line where there is no bar and `silent` more seconds would exceed the heartbeat."""
        state, said_at = self._last.setdefault(window, ("", self._seconds()))
        if not self._bars and self._seconds() - said_at + silent >= _HEARTBEAT:
            self._say_state(window, state, line)

    def _say_state(self, window: str, state: str, line: str) -> None:
        self.say(f"{window}: {line}" if window else line)
        self._last[window] = (state, self._seconds())


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
