"""Report a command's progress to a person or program, and how it failed or was stopped.

For people it is lines on stderr, and bars at the foot of a terminal once the work has taken a while; rich is loaded
only then. For programs it is JSON lines: an object for each event, the last a `result`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, Self

from reelport.catalog import Filter
from reelport.cli import stop_signals
from reelport.cli.arguments.environment_variables import find_unknown_variables
from reelport.cli.arguments.query_problems import name_options
from reelport.cli.output.listing import quote_command
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
from reelport.client.listener import EventLines, count_seconds_left, describe_details, get_state, name_window
from reelport.errors import (
    AccessError,
    AskLost,
    Interrupted,
    NotFinished,
    QueryRefused,
    QueueFull,
    ReelportError,
    RepeatedRows,
    ReportExpired,
    ReportFailed,
    RequestError,
    SchemaDrift,
    WindowEmptied,
)
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.wire import NO_DAY, format_complete_day, format_utc
from reelport.wording import clean_line, format_count, format_rough_duration, format_size

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text


_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DRAWN_A_SECOND = 10
_BAR, _LEAST = 20, 6  # the cells of a bar, where the terminal is wide enough, and below which there is none
_ALMOST = 0.9  # what an estimate fills at most: the report itself says when it is ready


@dataclass(frozen=True, slots=True)
class BarLine:
    """A text, with a bar if its `total` is known, or when it is `ready`, by an estimate.

    Times are `time.monotonic`'s. `begun` is when a line of its name was first shown, and `least` the share that is
    done already.
    """

    text: str
    done: float = 0
    total: float | None = None
    amounts: str = ""
    ready: float | None = None
    begun: float = field(default_factory=time.monotonic)
    least: float = 0.0

    def follow(self, before: BarLine | None) -> BarLine:
        """Return the line as the next one of its name: an estimated share never shrinks."""
        if before is None:
            return self
        least = (before.find_share(self.begun) or 0.0) if before.total is None else 0.0
        return replace(self, begun=before.begun, least=least)

    def find_share(self, now: float) -> float | None:
        """Return the share that is done, by the total or else by the estimate; None without both."""
        if self.total:
            return min(self.done / self.total, 1)
        return None if self.ready is None else estimate_share(now - self.begun, self.ready - now, self.least)


class ProgressBars:
    """Lines by name, drawn `undrawn` seconds after the start, until `stop`; if None, never."""

    def __init__(self, stream: IO[str], undrawn: float | None) -> None:
        self._stream = stream
        self._is_drawn = undrawn is not None
        self._lines: dict[str, BarLine] = {}
        self._live: Live | None = None
        self._stopped = False
        # Rich's thread draws under a lock of its own and reads `_lines`: it must not wait for this one.
        self._lock = threading.Lock()
        self._timer = threading.Timer(undrawn or 0.0, self._draw)
        self._timer.daemon = True

    def start(self, text: str) -> None:
        """Begin with the first line."""
        self.show("", BarLine(text))
        if self._is_drawn:
            self._timer.start()

    def stop(self) -> None:
        """Remove all lines, for good."""
        self._timer.cancel()
        with self._lock:
            self._stopped = True
            if self._live is not None:
                self._live.stop()

    def show(self, name: str, line: BarLine) -> None:
        """Show a line in the place of the last one of this name."""
        self._lines[name] = line.follow(self._lines.get(name))

    def end(self, name: str) -> None:
        """Remove one line."""
        self._lines.pop(name, None)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        with self._lock:
            if self._live is None:
                print(line, file=self._stream)
            else:
                self._live.console.print(line, markup=False)

    def _draw(self) -> None:
        from rich.console import Console, Group
        from rich.live import Live

        def render() -> Group:
            now = time.monotonic()
            return Group(*[_draw_line(line, console.width, now) for line in list(self._lines.values())])

        console = Console(file=self._stream, highlight=False)
        live = Live(
            get_renderable=render,
            console=console,
            transient=True,
            redirect_stdout=False,  # what a command prints there is data, perhaps for a pipe
            refresh_per_second=_DRAWN_A_SECOND,
        )
        with self._lock:
            if not self._stopped:
                live.start(refresh=True)
                self._live = live


def _draw_line(line: BarLine, width: int, now: float) -> Text:
    from rich.text import Text

    share, left = line.find_share(now), 0.0 if line.ready is None else line.ready - now
    after = f" {line.amounts}" if line.amounts else ""
    after += f" {format_rough_duration(left)} left" if left > 0 else ""
    after += f" {timedelta(seconds=int(now - line.begun))}"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(_SPINNER[int(now * _DRAWN_A_SECOND) % len(_SPINNER)], "green").append(f" {line.text}")
    cells = min(_BAR, width - len(text) - len(after) - 2)
    if share is not None and cells >= _LEAST:
        filled = round(share * cells)
        text.append(" ").append("━" * filled, "green").append("━" * (cells - filled), "bright_black")
    return text.append(after)


def estimate_share(elapsed: float, left: float, before: float) -> float:
    """Estimate the share that is done; it never shrinks below what it was `before`."""
    return max(before, min(elapsed / (elapsed + max(left, 0.0)), _ALMOST) if elapsed > 0 else 0.0)


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
        self._quiet = quiet
        self._draws = not quiet and _can_draw(stream)
        self._bars = ProgressBars(stream, undrawn if self._draws else None)
        self._lines = EventLines(seconds, math.inf if self._draws else _HEARTBEAT, str)

    def __enter__(self) -> Self:
        self._bars.start("asking")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_bars()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Asked | Reused):
            self.token = event.token
        self.report_event(name_window(event), event.event if isinstance(event, InWindow) else event)

    def report_event(self, name: str, event: Event) -> None:
        """Show an event of one report among several, which `name` identifies."""
        if self._quiet or isinstance(event, Saved | Merged):
            return  # The last line says what was downloaded.
        line = self._lines.find_line(event, name)
        # A bar says what each of several reports does.
        if line is not None and not (self._draws and name and isinstance(event, Asked | Reused | Queued | Looked)):
            self.say(line)
        self._show_bar(name, event)

    def finish_window(self, name: str, done: int, windows: int) -> None:
        """Remove the line of a finished window, and update how many of the windows are done."""
        self._bars.end(name)
        self._bars.show("", BarLine("windows", done=done, total=windows, amounts=f"{done} of {windows}"))

    def show_step(self, text: str) -> None:
        """Show in the place of the bar what the command does now."""
        self._bars.show("", BarLine(text))

    def stop_bars(self) -> None:
        """Remove the bars: nothing more takes time."""
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line, unless quiet."""
        if not self._quiet:
            self._bars.say(clean_line(line))

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

    def _show_bar(self, name: str, event: Event) -> None:
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
                self._bars.show(name, BarLine(name or "downloading", done=received, total=total, amounts=amounts))
                return
            case WindowDone(done=done, windows=windows):
                self.finish_window(name, done, windows)
                return
            case Bisected():
                self._bars.end(name)
                return
            case _:
                return
        text = text if details is None else describe_details(details)
        left = None if details is None else count_seconds_left(details)
        ready = None if left is None else time.monotonic() + left
        self._bars.show(name, BarLine(f"{name}: {text}" if name else text, ready=ready))


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


_EVERY = 1.0
"""Seconds between two lines about received bytes."""

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Matches where a word begins inside of a name like WindowDone."""


class JsonEvents(ResumableCommand):
    """Prints a flow's events for a program; with `quiet` only the result."""

    def __init__(self, stream: IO[str], *, quiet: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._quiet = quiet
        self._received_at: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Print an event. An event of a window carries its days."""
        if isinstance(event, InWindow):
            self.report_event({"window": {"start": event.start, "end": event.end}}, event.event)
            return
        if isinstance(event, Asked | Reused):
            self.token = event.token
        self.report_event({}, event)

    def report_event(self, report: Mapping[str, object], event: Event) -> None:
        """Print an event of one report among several; the facts in `report` identify it."""
        if isinstance(event, Saved | Merged):
            return  # The lines `window_done` and `result` hold the same facts.
        if not self._quiet and not self._is_throttled(event, str(report)):
            self._print_event(_WORD.sub("_", type(event).__name__).lower(), {**report, **_fields_of(event)})

    def _is_throttled(self, event: Event, window: str) -> bool:
        if not isinstance(event, Received) or event.bytes == event.total:
            return False
        now = time.monotonic()
        if now - self._received_at.get(window, -_EVERY) < _EVERY:
            return True
        self._received_at[window] = now
        return False

    def show_step(self, text: str) -> None:
        """Do nothing: a step is no event."""

    def stop_bars(self) -> None:
        """Do nothing: there are no bars."""

    def say(self, line: str) -> None:
        """Print a note, unless quiet."""
        if not self._quiet:
            self._print_event("note", {"text": line})

    def report_download(
        self, done: Downloaded, output: str | None, more: dict[str, object], *, drawn: bool = False
    ) -> None:
        """Print a download's result: bytes and SHA-256 of the CSV, whatever the output format."""
        complete = None if done.last_complete_day is None else format_complete_day(done.last_complete_day)
        facts = {"file": output, "bytes": done.bytes, "rows": done.rows, "sha256": done.sha256}
        more = {"last_complete_day": complete} | more | ({"chart": "stdout"} if drawn else {})
        self.report_success(**facts, proof=done.proof.name.lower(), **more)

    def report_success(self, **facts: object) -> None:
        """Print the result of a success."""
        known = {} if self.token is None else {"token": self.token}
        self._print_event("result", {"ok": True, "status": 0} | known | facts)

    def report_failure(self, error: ReelportError, resume: str | None) -> ReelportError:
        """Print the result of a failure; return the error to raise."""
        token = getattr(error, "token", None) or self.token
        facts: dict[str, object] = {"ok": False, "status": error.exit_status, "code": error.code}
        facts |= {"error": without_resume_advice(error)} | ({"token": token} if token else {})
        if isinstance(error, ReportFailed) and error.reason is not None:
            facts["reason"] = error.reason
        if isinstance(error, QueryRefused):
            facts["problems"] = [_fields_of(problem) for problem in error.problems]
        facts |= {"resume": resume} if resume else {}
        self._print_event("result", facts)
        return error

    def _print_event(self, event: str, facts: Mapping[str, object]) -> None:
        now = format_utc(datetime.now(UTC), "milliseconds")
        line = json.dumps({"event": event, "time": now} | dict(facts), default=_to_json_value)
        print(line, file=self._stream, flush=True)


def _fields_of(value: Any) -> dict[str, object]:  # noqa: ANN401 - any of the events, which are dataclasses
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: each for name, each in fields.items() if name != "details" or each is not None}


def _to_json_value(value: object) -> object:
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return format_complete_day(value) if value == NO_DAY else value.isoformat()
    if dataclasses.is_dataclass(value):
        return _fields_of(value)
    return str(value)


ProgressReporter = ProgressLines | JsonEvents
"""Prints a flow's events, for a person or a program, and remembers the command that resumes it."""


@contextmanager
def reporting(*, json: bool, quiet: bool, output: str | None = None) -> Iterator[ProgressReporter]:
    """Report progress during the block, and its success or failure.

    JSON goes to stdout where the data goes into a file, else to stderr, which then holds nothing else.
    """
    aside = output is None
    reporter = (
        JsonEvents(sys.stderr if aside else sys.stdout, quiet=quiet) if json else ProgressLines(sys.stderr, quiet=quiet)
    )
    try:
        stop_signals.install_handlers()
        with reporter:
            for unknown in find_unknown_variables():
                reporter.say(f"warning: {unknown}")
            yield reporter
    except KeyboardInterrupt as stop:
        if sys.stderr.isatty() and not json:
            print(file=sys.stderr)  # ends the line in which the terminal shows ^C
        early = Interrupted("Interrupted before anything was asked for.", stop_signals.exit_status_of(stop))
        late = NotFinished("Interrupted; nothing is lost.", reporter.token or "")
        _raise_reported(reporter, late if reporter.resume else early, alone=json and aside)
    except ReelportError as error:
        _raise_reported(reporter, error, alone=json and aside)


def _raise_reported(reporter: ProgressReporter, error: ReelportError, *, alone: bool) -> None:
    """Report an error and raise it; with `alone` exit, as the result on stderr says it."""
    if isinstance(error, QueryRefused) and reporter.query is not None:
        error = name_options(error, reporter.query)
    can_resume = reporter.resume and _can_resume(reporter, error)
    error = reporter.report_failure(error, reporter.resume_command() if can_resume else None)
    if alone:
        sys.exit(error.exit_status)
    raise error


def _can_resume(reporter: ProgressReporter, error: ReelportError) -> bool:
    match error:
        case QueueFull():
            return True
        case AccessError() | RequestError() | ReportExpired() | ReportFailed():
            return False
        case AskLost() | SchemaDrift() | RepeatedRows() | WindowEmptied():
            return False  # They say themselves which option changes that.
        case _:
            return reporter.token is not None or error.exit_status != ReelportError.exit_status
