"""Progress bars at the foot of a terminal: one line for each report, one for a whole range.

They are drawn only once the work has taken a while, and rich is loaded only then.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from reelport.wording import format_rough_duration

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DRAWN_A_SECOND = 10
_BAR, _LEAST = 20, 6  # the cells of a bar, where the terminal is wide enough, and below which there is none
_ALMOST = 0.9  # what an estimate fills at most: the report itself says when it is ready


@dataclass(frozen=True, slots=True)
class BarLine:
    """A text, with a bar if its `total` is known, or `left`: estimated seconds to go."""

    text: str
    done: float = 0
    total: float | None = None
    amounts: str = ""
    left: float | None = None


@dataclass(frozen=True, slots=True)
class _Shown:
    """A line, when its name was first shown, when it was, and the share done by then."""

    line: BarLine
    begun: float
    at: float
    share: float | None

    def find_share(self, now: float) -> float | None:
        if self.line.total:
            return min(self.line.done / self.line.total, 1)
        if self.line.left is None:
            return None
        return estimate_share(now - self.begun, self.line.left - (now - self.at), self.share or 0.0)


class ProgressBars:
    """Lines by name, drawn from `undrawn` seconds after the start on, until `stop`."""

    def __init__(self, stream: IO[str], undrawn: float) -> None:
        self._stream = stream
        self._lines: dict[str, _Shown] = {}
        self._console: Console | None = None
        self._live: Live | None = None
        self._stopped = False
        # Rich's thread draws under a lock of its own and reads `_lines`: it must not wait for this one.
        self._lock = threading.Lock()
        self._timer = threading.Timer(undrawn, self._draw)
        self._timer.daemon = True

    def start(self, text: str) -> None:
        """Begin with the first line."""
        self.show("", BarLine(text))
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
        now, before = time.monotonic(), self._lines.get(name)
        if before is None:
            self._lines[name] = _Shown(line, now, now, None)
        else:
            estimated = before.line.total is None
            self._lines[name] = _Shown(line, before.begun, now, before.find_share(now) if estimated else None)

    def end(self, name: str) -> None:
        """Remove one line."""
        self._lines.pop(name, None)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        with self._lock:
            if self._console is None:
                print(line, file=self._stream)
            else:
                self._console.print(line, markup=False)

    def _draw(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, highlight=False)
        live = Live(
            get_renderable=lambda: self._render(console.width),
            console=console,
            transient=True,
            redirect_stdout=False,  # what a command prints there is data, perhaps for a pipe
            refresh_per_second=_DRAWN_A_SECOND,
        )
        with self._lock:
            if not self._stopped:
                live.start(refresh=True)
                self._console, self._live = console, live

    def _render(self, width: int) -> Group:
        from rich.console import Group

        now = time.monotonic()
        return Group(*[_render_line(shown, width, now) for shown in list(self._lines.values())])


def _render_line(shown: _Shown, width: int, now: float) -> Text:
    from rich.text import Text

    line, share = shown.line, shown.find_share(now)
    left = 0.0 if line.left is None else line.left - (now - shown.at)
    after = f" {line.amounts}" if line.amounts else ""
    after += f" {format_rough_duration(left)} left" if left > 0 else ""
    after += f" {_format_clock(now - shown.begun)}"
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


def _format_clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
