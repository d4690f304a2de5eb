"""What the client's commands say on stderr: progress bars on a terminal, a line a change of state elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from reelport.client.events import Asked, Event, Looked, Received, Retrying, Warned

_HEARTBEAT = 60.0
"""Seconds between two lines while nothing changes, so that nobody takes a wait for a hang."""


def stderr() -> Console:
    """The console for all that is no data. It obeys NO_COLOR, and wraps nothing where there is no terminal."""
    console = Console(stderr=True, highlight=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, soft_wrap=True)


class Narrator:
    """Tells a flow's events to a person: use it as `progress`, inside its own `with`."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._bar = _Bar(console) if console.is_terminal and not quiet else None
        self._status: str | None = None
        self._said_at = 0.0
        self.token: str | None = None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, Asked):
            self.token = event.token
        if self._quiet:
            return
        match event:
            case Warned(problem):
                self.say(f"warning: {problem}")
            case Asked(token):
                self.say(f"asked for report {token}")
            case Retrying(reason, seconds):
                self.say(f"{reason} Trying again in {seconds:.1f} s.")
            case Looked(_, status, elapsed, next_look):
                self._looked(status, elapsed, next_look)
            case Received(received, total):
                if self._bar:
                    self._bar.download(received, total)

    def rest(self) -> None:
        """Take the bars away: nothing more will happen that takes time."""
        if self._bar:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Print one line, unless quiet."""
        if not self._quiet:
            self._console.print(escape(line))

    def _looked(self, status: str, elapsed: float, next_look: float | None) -> None:
        if self._bar:
            self._bar.wait(f"{status}, next look in {next_look:.0f} s" if (next_look or 0) >= 1 else status)
        now = time.monotonic()
        silent_for = now - self._said_at
        if status != self._status or (silent_for >= _HEARTBEAT and not self._bar):
            self.say(f"{status} after {elapsed:.1f} s")
            self._said_at = now
        self._status = status


class _Bar:
    """One line at the foot of the terminal: a spinner while waiting, a bar while downloading."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._waiting = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._waiting.add_task("asking", total=None)
        self._download: TaskID | None = None

    def start(self) -> None:
        self._waiting.start()

    def stop(self) -> None:
        self._waiting.stop()
        self._progress.stop()

    def wait(self, text: str) -> None:
        self._waiting.update(self._task, description=text)

    def download(self, received: int, total: int | None) -> None:
        if self._download is None:
            self._waiting.stop()
            self._download = self._progress.add_task("downloading", total=total)
            self._progress.start()
        self._progress.update(self._download, completed=received, total=total)


def size(number: int) -> str:
    """A number of bytes for people: 1.2 MB."""
    value = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 - a kilo
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
