"""Progress of a load on stderr: a bar on a terminal, else lines, or JSON lines."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Self, TextIO

from reelport.wording import format_count, format_size

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from reelport.facts.input.progress import Progress

EVERY_SECONDS = 5.0


class LoadProgress:
    """Shows a load's progress: a bar on a terminal, else a line a few seconds, sorting too."""

    def __init__(self, stream: TextIO, every: float = EVERY_SECONDS, *, as_json: bool = False) -> None:
        self._stream = stream
        self._every = every
        self._as_json = as_json
        self._last: Progress | None = None
        self._ended = Event()
        self._bar: Bar | None = None
        self._speaker: Thread | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty() and not self._as_json:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
            )
            self._bar = Bar(*columns, console=Console(file=self._stream), transient=True)
            self._bar.add_task("reading", total=None)
            self._bar.start()
        else:
            self._speaker = Thread(target=self._print_line, daemon=True)
            self._speaker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()
        if self._speaker is not None:
            self._speaker.join()

    def _print_line(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(self._every):
            passed = time.monotonic() - began
            line = _event(self._last, passed) if self._as_json else f"{_format_state(self._last)} ({passed:.0f} s)"
            print(line, file=self._stream, flush=True)

    def update(self, progress: Progress) -> None:
        """Show this progress."""
        self._last = progress
        if self._bar is not None:
            share = progress.share
            self._bar.update(
                self._bar.task_ids[0],
                description=_format_state(progress, with_share=False),
                completed=share or 0,
                total=None if share is None else 1,
            )


def _format_state(progress: Progress | None, *, with_share: bool = True) -> str:
    """Format the progress: `reading 12.0 MB of 48.0 MB (25%), 80,000 rows`."""
    if progress is None:
        return "reading"
    rows = format_count(progress.rows, "row")
    if progress.done is None or progress.total is None:
        return f"{progress.stage} {rows}"
    share = f" ({100 * (progress.share or 0):.0f}%)" if with_share else ""
    if progress.unit == "bytes":
        amounts = f"{format_size(progress.done)} of {format_size(progress.total)}{share}"
        return f"{progress.stage} {amounts}" + (f", {rows}" if progress.rows else "")
    return f"{progress.stage} {progress.done:,} of {format_count(progress.total, 'row')}{share}"


def _event(progress: Progress | None, passed: float) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    facts = {"stage": "reading"} if progress is None else asdict(progress)
    return json.dumps({"event": "progress", "time": now, **facts, "seconds": round(passed, 1)})
