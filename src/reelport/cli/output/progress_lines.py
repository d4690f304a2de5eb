"""What the client's commands say on stderr: progress bars on a terminal, a line a change of state elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape

from reelport.cli.output.progress_bars import Bars
from reelport.cli.output.terminal_text import plain
from reelport.client.events import (
    Asked,
    Bisected,
    Event,
    FewerDays,
    InWindow,
    Looked,
    Merging,
    Queued,
    Received,
    Retrying,
    Reused,
    Warned,
    WindowDone,
)
from reelport.client.flows.download import Downloaded
from reelport.client.ranges.result import Ranged
from reelport.errors import ReelportError
from reelport.wording import format_count, format_duration, format_size

_HEARTBEAT = 60.0
"""Seconds between two lines while nothing changes, so that nobody takes a wait for a hang."""

_AGAIN = 5.0
"""Seconds between two lines of one and the same trouble, however often it is tried again meanwhile."""


def stderr() -> Console:
    """The console for all that is no data. It obeys NO_COLOR, and wraps nothing where there is no terminal."""
    console = Console(stderr=True, highlight=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, soft_wrap=True)


class ProgressLines:
    """Tells a flow's events to a person: use it as `progress`, inside its own `with`."""

    def __init__(self, console: Console, *, quiet: bool = False, seconds: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._seconds = seconds
        self._quiet = quiet
        moves = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
        self._bars = Bars(console) if moves and not quiet else None
        self._last: dict[str, tuple[str, float]] = {}
        self._troubles: dict[str, float] = {}
        self.token: str | None = None

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start("asking")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, Asked | Reused):
            self.token = event.token
        if self._quiet:
            return
        match event:
            case InWindow(start, end, inner):
                self.of(f"{start}..{end}", inner)
            case WindowDone() | Bisected() | Merging():
                self._tell_of_windows(event)
            case _:
                self._tell(event, "")

    def of(self, name: str, event: Event) -> None:
        """Take in what happened to one report of several, which this name tells from the others."""
        if self._quiet:
            return
        if isinstance(event, Bisected):
            self.say(f"{name}: {event.reason} Asking for its halves instead, the later from {event.middle} on.")
            if self._bars:
                self._bars.end(name)
        else:
            self._tell(event, name)

    def over(self, name: str, done: int, windows: int) -> None:
        """Nothing more will happen to the report of this name: with it so many of the windows are done."""
        if self._bars:
            self._bars.end(name)
            self._bars.fill("", "windows", done, windows, f"{done} of {windows}")

    def rest(self) -> None:
        """Take the bars away: nothing more will happen that takes time."""
        if self._bars:
            self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line, unless quiet."""
        if not self._quiet:
            self._console.print(escape(plain(line)))

    def delivered(self, done: Downloaded, output: str | None, more: dict[str, object], *, drawn: bool = False) -> None:
        """The end: what came, and what shows that it is whole."""
        self.rest()
        windows = len(done.windows) if isinstance(done, Ranged) else 1
        each = f"each of {windows} windows: " if windows > 1 else ""
        place = "drawn, and not kept (-o FILE keeps the data)" if drawn else output or "stdout"
        self.say(f"{place}: {format_count(done.rows, 'row')}, {format_size(done.bytes)}; {each}{done.proof}")
        for what, value in more.items():
            self.say(
                _format_changed(value) if what == "changed_cells" and isinstance(value, int) else f"{what}: {value}"
            )

    def ended(self, **facts: object) -> None:
        """Another good end, which stdout tells."""

    def failed(self, error: ReelportError, resume: str | None) -> ReelportError:
        """The end of what went wrong: the error to raise, which says how it can be taken up again."""
        if resume is not None:
            error.args = (f"{what_happened(error)}\nTake it up again: {resume}", *error.args[1:])
        return error

    def _tell(self, event: Event, window: str) -> None:
        """Tell of one report: the only one, or a window's."""
        prefix = f"{window}: " if window else ""
        if self._bars and isinstance(event, Asked | Reused):
            self._bars.show(window, f"{prefix}waiting")
        match event:
            case Warned() | FewerDays():
                self.say(f"{prefix}{'warning: ' if isinstance(event, Warned) else ''}{event}")
            case Asked(token) if not (self._bars and window):
                self.say(f"{prefix}asked for report {token}")
            case Reused(token, age) if not (self._bars and window):
                self.say(f"{prefix}taking up report {token}, asked for {format_duration(age)} ago")
            case Queued(reason, seconds):
                self._state(window, reason, seconds, reason)
            case Retrying(reason, seconds):
                self._trouble(window, prefix, reason, seconds)
            case Looked(_, status, elapsed, next_look):
                self._state(window, status, next_look or 0, f"{status} after {format_duration(elapsed)}")
            case Received(received, total):
                amounts = format_size(received) + (f" of {format_size(total)}" if total else "")
                if self._bars:
                    self._bars.fill(window, window or "downloading", received, total, amounts)
                self._beat(window, 0, f"downloading: {amounts}")

    def _trouble(self, window: str, prefix: str, reason: str, seconds: float) -> None:
        """Say what went wrong at once, and while it lasts every few seconds: one host is the trouble of all windows."""
        if self._bars:
            self._bars.show(window, f"{prefix}trying again")
        now = self._seconds()
        if now - self._troubles.get(reason, -_AGAIN) >= _AGAIN:
            self._troubles[reason] = now
            self.say(f"{prefix}{reason} Trying again in {seconds:.1f} s.")

    def _tell_of_windows(self, event: WindowDone | Bisected | Merging) -> None:
        match event:
            case WindowDone(start, end, size_, done, windows):
                self.say(f"{start}..{end}: here, {format_size(size_)}; {done} of {format_count(windows, 'window')}")
                self.over(f"{start}..{end}", done, windows)
            case Bisected(start, end):
                self.of(f"{start}..{end}", event)
            case Merging(windows):
                self.say(f"merging {format_count(windows, 'window')}")
                if self._bars:
                    self._bars.show("", "merging")

    def _state(self, window: str, state: str, next_look: float, line: str) -> None:
        """Say a state once; where there is no bar, again before a minute has gone by in silence."""
        if self._bars:
            text = f"{state}, next look in {next_look:.0f} s" if next_look >= 1 else state
            self._bars.show(window, f"{window}: {text}" if window else text)
        before, _ = self._last.get(window, ("", 0.0))
        if state != before and not (self._bars and window):
            self._say_of(window, state, line)
        else:
            self._last[window] = (state, self._last.get(window, ("", self._seconds()))[1])
            self._beat(window, next_look, line)

    def _beat(self, window: str, silent: float, line: str) -> None:
        """Say a line where there is no bar and with `silent` seconds more it would be quiet for too long."""
        state, said_at = self._last.setdefault(window, ("", self._seconds()))
        if not self._bars and self._seconds() - said_at + silent >= _HEARTBEAT:
            self._say_of(window, state, line)

    def _say_of(self, window: str, state: str, line: str) -> None:
        self.say(f"{window}: {line}" if window else line)
        self._last[window] = (state, self._seconds())


def _format_changed(cells: int) -> str:
    made = f"{format_count(cells, 'cell')} changed, so that no spreadsheet takes one for a formula"
    return f"{made}; the report itself was whole, and its SHA-256 is another" if cells else "no cell had to be changed"


def what_happened(error: ReelportError) -> str:
    """An error's sentences without how a program would go on: the command line says how it does."""
    return str(error).partition(" Take it up again with")[0]
