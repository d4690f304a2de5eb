"""A report that is wanted as a table and under no name: its file is a temporary one that goes with the table."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Self

from reelport.client.files.part import translate_io_errors
from reelport.client.flows.download import Downloaded
from reelport.client.results.tables import Table
from reelport.client.steps import Flow, work

_NAME = "report.csv"


class Scratch:
    """A temporary folder that is removed once nothing refers to this object any more, or the process ends."""

    def __init__(self) -> None:
        with translate_io_errors(Path(tempfile.gettempdir())):
            self.folder = Path(tempfile.mkdtemp(prefix="reelport-")).resolve()
        self._end = weakref.finalize(self, _remove, self.folder, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._end()


def fetch_table(fetch: Callable[[Path], Flow[Downloaded]]) -> Flow[Table]:
    """The table of what a flow fetches into the file that it is given."""
    with (yield from work(Scratch)) as scratch:
        done = yield from fetch(scratch.folder / _NAME)
        return Table.of(done.path, kept_by=scratch)


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder of this process: a fork's copy of the table ends without it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
