"""How the commands for facts show themselves: tables on stdout, progress on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from reelport.cli.listing import listed, printable
from reelport.wording import format_count

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from reelport.facts.batches import UndoPlan
    from reelport.facts.loading import Progress
    from reelport.facts.preview import Preview

EVERY_SECONDS = 5.0
_KILO = 1000
_FILES_SHOWN = 3


class LoadProgress:
    """Shows how far a load is: moving on a terminal, a line every few seconds elsewhere, sorting included."""

    def __init__(self, stream: TextIO, every: float = EVERY_SECONDS) -> None:
        self._stream = stream
        self._every = every
        self._text = "reading"
        self._ended = Event()
        self._bar: Bar | None = None
        self._speaker: Thread | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar
            from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Bar(*columns, console=Console(file=self._stream), transient=True)
            self._bar.add_task(self._text, total=None)
            self._bar.start()
        else:
            self._speaker = Thread(target=self._speak, daemon=True)
            self._speaker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
        if self._speaker is not None:
            self._speaker.join()

    def _speak(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(self._every):
            print(f"{self._text} ({time.monotonic() - began:.0f} s)", file=self._stream, flush=True)

    def update(self, progress: Progress) -> None:
        """Show this state."""
        self._text = f"{progress.stage} {format_count(progress.rows, 'row')}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=self._text)


def print_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: as other commands do on a terminal, otherwise columns of plain text."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        listed([dict(zip(names, row, strict=True)) for row in cells], as_json=False)
        return
    lines = [list(names), *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_undo_plan(plan: UndoPlan) -> None:
    """Print which load is meant, and what would go and come back of each day."""
    load = plan.load
    files = f" from {' '.join(printable(name) for name in load.sources[:_FILES_SHOWN])}" if load.sources else ""
    loaded = f"{format_count(load.rows, 'row')} loaded at {stamp_text(load.at)}{files}"
    print(f"{load.table}: batch {printable(load.batch)}, {loaded}")
    rows = [[str(one.day or "all rows"), f"{one.removed:,}", f"{one.restored:,}"] for one in plan.days]
    if len(rows) > 1:
        totals = (sum(one.removed for one in plan.days), sum(one.restored for one in plan.days))
        rows.append(["total", *(f"{total:,}" for total in totals)])
    print_rows(["day", "rows removed", "rows restored"], rows)


def print_broken_lines(shown: Preview, stream: TextIO) -> None:
    """Print how many lines a preview met that are no rows, and the first of them with their reasons."""
    if not shown.broken:
        return
    which = "" if shown.broken == len(shown.lines) else f"; the first {len(shown.lines):,} of them"
    print(f"{format_count(shown.broken, 'line')} among those read can't be taken{which}:", file=stream)
    for one in shown.lines:
        print(f"  {printable(one.file)} line {one.line}: {printable(one.reason)}", file=stream)


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
