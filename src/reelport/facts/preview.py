"""What a load would take: its first rows, converted and judged, without loading any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from reelport.errors import BadInput
from reelport.facts.checking import REJECT, Source, checked, column_problems
from reelport.facts.defaults import MEMORY
from reelport.facts.inputs import recognised
from reelport.facts.mapping import mapped, mapping_text
from reelport.facts.rules import quoted
from reelport.facts.schema import table_named
from reelport.facts.sources import Failure, blamed, sources
from reelport.facts.workspace import reading_workspace


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that is no row: its file, its number from 1, and the reason."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows in the table's columns, as text, each with the reason why it would be refused, if any.

    `lines` are the first that are no rows at all, of `broken` that were met while these rows were read.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    reasons: tuple[str | None, ...]
    lines: tuple[BrokenLine, ...] = ()
    broken: int = 0


class _BrokenLines:
    """Counts lines that are no rows and keeps the first `most`; the engine's threads call it."""

    def __init__(self, names: Sequence[str], most: int) -> None:
        self.first: list[BrokenLine] = []
        self.count = 0
        self._names = names
        self._most = most
        self._lock = Lock()

    def take(self, file: int, line: int, reason: str, _raw: str) -> None:
        """Take a line of the file of that number, from 0."""
        with self._lock:
            self.count += 1
            if len(self.first) < self._most:
                self.first.append(BrokenLine(self._names[file], line, reason))


def preview(
    root: Path,
    table: str,
    files: Sequence[Path],
    *,
    mapping: Path | None = None,
    count: int = 10,
    memory: str = MEMORY,
) -> Preview:
    """The first `count` rows that these files, or the mapping over them, hold, and as many broken lines before them.

    Raises as `load` does.
    """
    found = table_named(table)
    inputs = recognised([Path(file) for file in files])
    text = None if mapping is None else mapping_text(mapping)
    bad, failure = _BrokenLines(tuple(str(file.path) for file in inputs), count), Failure()
    with reading_workspace(root, memory) as space:
        session = space.session
        session.execute("SET preserve_insertion_order = true")
        given: tuple[Source, ...]
        if text is None:
            given = sources(space, found, inputs, bad.take, failure, lambda _: None)
        else:
            given = (mapped(space, inputs, text, bad.take, failure, lambda _: None),)
        problems = [problem for source in given for problem in column_problems(found, source)]
        if problems:
            raise BadInput("\n".join(problems))
        texts = ", ".join(f"CAST({quoted(column.name)} AS VARCHAR)" for column in found.columns)
        rows = " UNION ALL ".join(checked(found, source) for source in given)
        query = f"SELECT {texts}, {REJECT}.reason FROM ({rows}) LIMIT {count:d}"  # noqa: S608 - our tables' own names
        with failure.told(), blamed(space, inputs, given):
            shown = space.stoppable(lambda: session.execute(query).fetchall())
    columns = tuple(column.name for column in found.columns)
    first, reasons = tuple(row[:-1] for row in shown), tuple(row[-1] for row in shown)
    return Preview(columns, first, reasons, tuple(bad.first), bad.count)
