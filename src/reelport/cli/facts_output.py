"""How the commands for facts show themselves: tables on stdout, progress on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from reelport.facts.loading import Progress

EVERY_SECONDS = 5.0
_KILO = 1000


class LoadProgress:
    """Shows how far a load is: moving on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = ""
        self._said = time.monotonic()
        self._bar: Bar | None = None
        if stream.isatty():
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Bar(*columns, console=Console(file=stream), transient=True)
            self._task = self._bar.add_task("reading", total=None)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Show this state."""
        text = f"{progress.stage} {progress.rows:,} rows"
        if self._bar is not None:
            self._bar.update(self._task, description=text)
            return
        now = time.monotonic()
        if now - self._said >= EVERY_SECONDS:
            print(text, file=self._stream, flush=True)
            self._said = now


def print_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: framed on a terminal, otherwise columns of plain text."""
    if sys.stdout.isatty():
        table = Table(*names)
        for row in rows:
            table.add_row(*(Text(_plain(cell)) for cell in row))
        Console().print(table)
        return
    lines = [list(names), *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _plain(cell: str) -> str:
    """The cell without characters that move the cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in cell)


def stamp_text(moment: datetime | None) -> str:
    """A moment for people, in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if moment else ""


def size_text(size: int) -> str:
    """A number of bytes for people."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _KILO:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:.1f} TB"
