"""Fetch a report as a table only, whose temporary file is removed with it."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from reelport.client.files.part import resolve_csv_target, translate_io_errors
from reelport.client.flows.download import Downloaded
from reelport.client.steps import Flow, work

if TYPE_CHECKING:
    from reelport.client.results.tables import Table

_NAME = "report.csv"

Done = TypeVar("Done", bound=Downloaded)


class Scratch:
    """A temporary folder, removed when garbage-collected or when the process ends."""

    def __init__(self) -> None:
        with translate_io_errors(Path(tempfile.gettempdir())):
            self.folder = Path(tempfile.mkdtemp(prefix="reelport-")).resolve()
        self._end = weakref.finalize(self, _remove, self.folder, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._end()


def fetch_to(to: str | os.PathLike[str] | None, fetch: Callable[[Path], Flow[Done]]) -> Flow[Table | Done]:
    """Run a flow that downloads to a path, or to a temporary file, returned as a table."""
    return _fetch_table(fetch) if to is None else fetch(resolve_csv_target(to))


def _fetch_table(fetch: Callable[[Path], Flow[Done]]) -> Flow[Table]:
    with (yield from work(Scratch)) as scratch:
        done = yield from fetch(scratch.folder / _NAME)
        from reelport.client.results.tables import Table  # noqa: PLC0415 - most reports go into files

        return Table.of(done.path, kept_by=scratch)


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder, but only in the process that made it, not in a forked child."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
