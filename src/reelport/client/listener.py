"""Make a call's listener: the log, then the caller's `progress` or a notebook's bar."""

from __future__ import annotations

import inspect
import logging
import math
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from importlib import import_module
from typing import Any

from reelport.client.events import (
    Asked,
    Bisected,
    Event,
    InWindow,
    KeyExpires,
    Looked,
    Merged,
    Merging,
    Progress,
    Queued,
    Received,
    Retrying,
    Reused,
    Saved,
    Warned,
    WindowDone,
)
from reelport.client.session import Session
from reelport.report_details import ReportDetails
from reelport.wording import format_count, format_duration, format_rough_duration, format_size

# Without this handler, warnings would go to stderr where nobody has configured logging.
logging.getLogger("reelport").addHandler(logging.NullHandler())

_LOGGER = logging.getLogger("reelport.client")

_OURS = __name__.partition(".")[0]
_EVERY = 30.0  # seconds between two lines about the same wait or the same download
_AGAIN = 5.0  # seconds between two lines about the same failure, however often it is retried meanwhile
_SHOWN = 12  # letters of a report's token to show: enough to recognize it, too few to use it
_TOKEN = 6  # shortest token, in letters, to redact from other texts: a shorter one may be part of any word
_ADDRESS = re.compile(r"(https?://)(?:[^\s/?#@]*@)?([^\s/?#]*)(?:[/?#]\S*)?", re.IGNORECASE)
_ARGUMENTS = re.compile(r"\?[^\s=]+=\S*")

_REDRAWN = 0.1  # seconds between two updates during a download
_LONGEST = 300


class EventLines:
    """Says what happens to reports, a line an event, unless a line has just said the same.

    A wait or a download is said again after `every` seconds. `call` formats a report's token.
    """

    def __init__(self, seconds: Callable[[], float], every: float, call: Callable[[str], str]) -> None:
        self._seconds = seconds
        self._every = every
        self._call = call
        self._report_of: dict[str, str] = {}
        self._waits: dict[str, tuple[str, float]] = {}
        self._told_at: dict[tuple[str, str], float] = {}
        self.tokens: set[str] = set()
        """The reports' tokens so far."""

    def find_line(self, event: Event, name: str = "") -> str | None:
        """Return the line of an event; None for no news. `name` tells a report from others."""
        name = name or name_window(event)
        if isinstance(event, InWindow):
            return self.find_line(event.event, name)
        self._remember_token(name, event)
        if not self._is_news(name, event):
            return None
        line = describe_event(event, self._report_of.get(name, "the report"))
        return f"{name}: {line}" if name else line

    def _remember_token(self, name: str, event: Event) -> None:
        match event:
            case Asked(token) | Reused(token) | Saved(token):
                self.tokens.add(token)
                self._report_of[name] = f"report {self._call(token)}"
            case Looked(token):
                # The look may be at another process's report, whose slot this call waits for.
                self.tokens.add(token)
                self._report_of.setdefault(name, f"report {self._call(token)}")

    def _is_news(self, name: str, event: Event) -> bool:
        match event:
            case Looked(token, elapsed=elapsed):
                before, told_at = self._waits.get(token, ("", 0.0))
                state = get_state(event)
                if state == before and 0 <= elapsed - told_at < self._every:
                    return False
                self._waits[token] = (state, elapsed)
                return True
            case Retrying(reason):  # one line for all reports of a host
                return self._is_due("", reason, _AGAIN, at_once=True)
            case Received():
                return self._is_due(name, "", self._every, at_once=False)
            case _:
                return True

    def _is_due(self, name: str, what: str, pause: float, *, at_once: bool) -> bool:
        """Whether the last such line is `pause` seconds old; the first is due only `at_once`."""
        now = self._seconds()
        before = self._told_at.setdefault((name, what), -math.inf if at_once else now)
        if now - before < pause:
            return False
        self._told_at[name, what] = now
        return True


class ReportLog:
    """A listener that logs a line for each event of one call's reports.

    No line has a secret, an access token, a report's whole token, or an address beyond its host.
    """

    def __init__(self, session: Session, seconds: Callable[[], float] = time.monotonic) -> None:
        self._redact = session.redact
        self._lines = EventLines(seconds, _EVERY, shorten)

    def __call__(self, event: Event) -> None:
        """Log an event; an event of a window begins with its days."""
        self.log_event("", event)

    def log_event(self, name: str, event: Event) -> None:
        """Log an event of the report that has this name among several."""
        line, inner = self._lines.find_line(event, name), event.event if isinstance(event, InWindow) else event
        if line is not None:
            self.write(logging.WARNING if isinstance(inner, Warned | KeyExpires) else logging.INFO, line)

    def write(self, level: int, line: str, logger: logging.Logger = _LOGGER) -> None:
        """Write a line, with secrets, tokens and addresses redacted."""
        if logger.isEnabledFor(level):
            logger.log(level, "%s", self._redact_line(line))

    def _redact_line(self, line: str) -> str:
        line = self._redact(line)
        for token in sorted(self._lines.tokens, key=len, reverse=True):
            line = line.replace(token, shorten(token)) if len(token) >= _TOKEN else line
        return _ARGUMENTS.sub("?…", _ADDRESS.sub(_cut_address, line))


def name_window(event: Event) -> str:
    """Name the window that an event is of, by its days; of another event an empty text."""
    return f"{event.start}..{event.end}" if isinstance(event, InWindow | WindowDone | Bisected) else ""


def describe_event(event: Event, report: str) -> str:  # noqa: C901, PLR0911, PLR0912 - one for each kind
    """Describe an event of the report that is called so; of a window without its days."""
    match event:
        case Warned() | KeyExpires():
            return f"warning: {event}"
        case Asked(again=again):
            return f"the service gave {report} again" if again else f"asked for {report}"
        case Reused(_, age):
            return f"continuing with {report}, asked for {format_duration(age)} ago"
        case Queued(reason, seconds):
            return f"waiting to ask, next try in {format_duration(seconds)}: {reason}"
        case Retrying(reason, seconds):
            return f"{reason} Trying again in {format_duration(seconds)}."
        case Looked(token, next_look=next_look):
            return f"{'waited' if next_look is None else 'waiting'} for report {shorten(token)}: {describe_look(event)}"
        case Received(size, total):
            return f"downloading {report}: {format_size(size)}" + (f" of {format_size(total)}" if total else "")
        case Saved(_, size, rows):
            return f"downloaded {report}: {format_count(rows, 'row')}, {format_size(size)}"
        case InWindow(event=inner):
            return describe_event(inner, report)
        case Bisected(middle=middle, reason=reason):
            return f"asking for two halves, the later from {middle} on: {reason}"
        case WindowDone(bytes=size, done=done, windows=windows):
            return f"here, {format_size(size)}; {done} of {format_count(windows, 'window')}"
        case Merging(windows):
            return f"merging {format_count(windows, 'window')}"
        case Merged(windows, size, rows):
            return f"merged {format_count(windows, 'window')}: {format_count(rows, 'row')}, {format_size(size)}"


def _cut_address(address: re.Match[str]) -> str:
    bare = f"{address[1]}{address[2]}"
    return bare if address[0] == bare else f"{bare}/…"


def get_state(look: Looked) -> str:
    """Return the state that a status query found, or where no service tells one, the status."""
    return look.status if look.details is None else look.details.state


def describe_look(look: Looked) -> str:
    """Describe what a status query found: status, time, and what Reelport tells."""
    waited = f"{look.status} after {format_duration(look.elapsed)}"
    if look.details is None or look.details.state.is_final:
        return waited
    left = count_seconds_left(look.details)
    ready = f", ready in about {format_rough_duration(left)}" if left else ""
    return f"{waited}: {describe_details(look.details)}{ready}"


def describe_details(details: ReportDetails) -> str:
    """Describe a report in a few words: `queued, place 3`, or `running, 1,200 rows, 3.4 MB`."""
    words = [details.state.value]
    words += [] if details.place is None else [f"place {details.place:,}"]
    words += [] if details.rows is None else [format_count(details.rows, "row")]
    words += [] if details.bytes is None else [format_size(details.bytes)]
    return ", ".join(words)


def count_seconds_left(details: ReportDetails) -> float | None:
    """Count the estimated seconds until a report is ready; None without an estimate."""
    if details.ready_at is None:
        return None
    left = (details.ready_at - datetime.now(UTC)).total_seconds()
    return left if left > 0 else None


def shorten(token: str) -> str:
    """Shorten a report's token: enough to recognize it, too little to fetch the report."""
    return f"{token[: min(_SHOWN, len(token) // 2)]}…"


def make_listener(session: Session, progress: Progress | None = None) -> Progress:
    """Make a listener that passes events to the log and then to `progress`.

    Without `progress`, a query's warnings become Python warnings, and a notebook shows all events as a progress bar.
    """
    log: Progress = ReportLog(session)
    bar = None if progress else make_notebook_bar()
    heard = [each for each in (log, bar, progress or warn) if each is not None]

    def tell(event: Event) -> None:
        for each in heard:
            each(event)

    return tell


def warn(event: Event) -> None:
    """The default listener: a query's warnings become Python's; other events are ignored."""
    if isinstance(event, Warned):
        warnings.warn(str(event), UserWarning, stacklevel=_find_stack_level())


def _find_stack_level() -> int:
    """Count the stack frames up to our caller's own code, so that a warning points there."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == _OURS:
        frame, level = frame.f_back, level + 1
    return level


def make_notebook_bar() -> Progress | None:
    """Make a bar for the running cell; None outside of notebooks."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = find() if find else None
    return Bar(import_module("IPython.display")) if getattr(shell, "kernel", None) is not None else None


class Bar:
    """Shows a call's events as one line below its cell. `display` is IPython's module."""

    def __init__(self, display: Any, seconds: Callable[[], float] = time.monotonic) -> None:  # noqa: ANN401 - IPython may be absent
        self._display = display
        self._seconds = seconds
        self._handle: Any = None
        self._shown_at = 0.0
        self._windows: tuple[int, int] | None = None

    def __call__(self, event: Event) -> None:
        """Show an event; a download's bytes at most ten times a second. Warnings are Python's."""
        inner = event.event if isinstance(event, InWindow) else event
        if isinstance(event, InWindow):
            self._windows = self._windows or (0, 1)
        if isinstance(event, WindowDone):
            # Windows end in several threads: what the last but one says may come last.
            event = replace(event, done=max(event.done, self._windows[0] if self._windows else 0))
            self._windows = (event.done, event.windows)
        token = getattr(inner, "token", None)
        if (share := self._find_share(inner)) is not None:
            line = describe_event(event, f"report {shorten(token)}" if token else "the report")
            self._show(f"{window}: {line}" if (window := name_window(event)) else line, share)

    def _find_share(self, event: Event) -> tuple[int, int] | None:
        """Find the share that is there, 0 of 1 if unknown; None for what isn't shown."""
        match event:
            case Warned() | KeyExpires():
                return None
            case Looked(elapsed=elapsed, details=details) if details and (left := count_seconds_left(details)):
                return round(elapsed), max(1, round(elapsed + left))
            case Received(size, total):
                is_due = self._seconds() - self._shown_at >= _REDRAWN or size == total
                return ((size, total) if total else (0, 1)) if is_due else None
            case Saved():
                return 1, 1
            case _:
                return 0, 1

    def _show(self, text: str, share: tuple[int, int]) -> None:
        """Show a line and a bar: the share of windows, where there are several, else of one file.

        An unknown share is an empty bar, because an animated one would go on after a failure.
        """
        there, whole = self._windows or share
        bar = f'<progress value="{there}" max="{whole}" style="width:20em"></progress>'
        text = text[:_LONGEST]
        data = {"text/html": f"<div>{bar} <bdi>{escape(text)}</bdi></div>", "text/plain": text}
        self._shown_at = self._seconds()
        if self._handle is None:
            self._handle = self._display.display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
