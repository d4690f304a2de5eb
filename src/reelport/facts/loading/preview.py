"""What a load would come to, without loading: its first rows, converted, and all of its rows, judged and counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from reelport.facts.defaults import MEMORY
from reelport.facts.input.broken_lines import BrokenLine, BrokenLines
from reelport.facts.input.checking import REJECT, Source, checked
from reelport.facts.input.files import Input, detect_format
from reelport.facts.input.judging import Judged, judge
from reelport.facts.input.mapping import mapped, mapping_text
from reelport.facts.input.progress import Meter, Tell
from reelport.facts.input.sources import Failure, blamed, check_columns, sources
from reelport.facts.input.tolerance import MaxBad, Terms
from reelport.facts.loading.changes import days_left_out, tell_left_out
from reelport.facts.loading.load import batch_of, check_span
from reelport.facts.log.delta_log import Current, DayLeftOut, current
from reelport.facts.rules import quoted
from reelport.facts.schema import table_named
from reelport.facts.storage.duckdb_session import Workspace, reading_workspace
from reelport.facts.tables import Table


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows in the table's columns, as text, each with the reason why it would be refused, if any.

    `lines` are the first that are no rows at all, of `broken` in all files. `judged` is what all rows come to,
    `refusal` is why the batch would not land, `already` that it is there, `left_out` are days that it would not take.
    """

    table: str
    batch: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    reasons: tuple[str | None, ...]
    lines: tuple[BrokenLine, ...]
    broken: int
    judged: Judged
    refusal: str | None = None
    already: bool = False
    left_out: tuple[DayLeftOut, ...] = ()

    @property
    def landing(self) -> int:
        """How many rows would land."""
        return 0 if self.already or self.refusal else self.judged.rows - sum(one.rows for one in self.left_out)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is looked at."""

    table: Table
    inputs: tuple[Input, ...]
    mapping: str | None
    lenient: bool
    bad: BrokenLines
    failure: Failure
    meter: Meter

    def sources(self, space: Workspace) -> tuple[Source, ...]:
        """Where the rows come from; a text file's can be read once."""
        if self.mapping is not None:
            return (mapped(space, self.inputs, self.mapping, self.bad.take, self.failure, self.meter),)
        return sources(space, self.table, self.inputs, self.bad.take, self.failure, self.meter)

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names."""
        return tuple(str(file.path) for file in self.inputs)

    def refusal(self, terms: Terms, judged: Judged) -> str | None:
        """Why the batch would not land on these terms."""
        read = judged.read if self.mapping is None else judged.rows + judged.rejects
        why = terms.against(judged.rows, judged.rejects, read)
        if why is not None:
            return f"{judged.rejects:,} of {read:,} rows can't be taken" + (f" ({why})" if why else "")
        return terms.problem(judged.rows, tuple(judged.days), self.names)


def preview(
    root: Path,
    table: str,
    files: Sequence[Path],
    *,
    mapping: Path | None = None,
    strict: bool = False,
    replace: tuple[date, date] | None = None,
    max_bad: MaxBad | None = None,
    lenient: bool = False,
    count: int = 10,
    progress: Tell | None = None,
    memory: str = MEMORY,
) -> Preview:
    """What a load of these files would come to, and the first `count` rows and broken lines of them.

    Raises as `load` does, but for bad rows and days, whose refusal it tells.
    """
    found = table_named(table)
    check_span(found, replace)
    inputs = detect_format([Path(file) for file in files])
    text = None if mapping is None else mapping_text(mapping)
    bad = BrokenLines(tuple(str(file.path) for file in inputs), count)
    look = _Look(found, inputs, text, lenient, bad, Failure(), Meter(inputs, progress))
    with reading_workspace(root, memory) as space:
        shown, judged = _examine(space, look, count)
    made = Preview(
        table,
        batch_of(found, text, replace, inputs),
        tuple(column.name for column in found.columns),
        tuple(row[:-1] for row in shown),
        tuple(row[-1] for row in shown),
        tuple(bad.first),
        bad.count,
        judged,
        look.refusal(Terms(strict, replace, max_bad), judged),
    )
    is_added = found.is_fact and replace is None and (root / found.name).is_dir()
    return _beside(made, current(root, found)) if is_added else made


def _examine(space: Workspace, look: _Look, count: int) -> tuple[list[tuple[str | None, ...]], Judged]:
    """The first rows, and what all of them come to."""
    space.session.execute("SET preserve_insertion_order = true")
    given = look.sources(space)
    check_columns(look.table, given, look.inputs)
    shown = _first_rows(space, look, given, count)
    if look.mapping is None:
        look.bad.forget()
        look.meter.restart()
        given = look.sources(space)
    with look.failure.told(), blamed(space, look.inputs, given):
        judged = judge(space, look.table, given, look.bad, look.names, lenient=look.lenient, meter=look.meter)
    return shown, judged


def _beside(made: Preview, now: Current) -> Preview:
    """The same, with what the table has already."""
    left_out = days_left_out(now, made.batch, made.judged.days)
    refusal = made.refusal
    if left_out and len(left_out) == len(made.judged.days):
        refusal = refusal or tell_left_out(left_out)
    return dataclasses.replace(made, refusal=refusal, already=now.has(made.batch), left_out=left_out)


def _first_rows(space: Workspace, look: _Look, given: Sequence[Source], count: int) -> list[tuple[str | None, ...]]:
    """The first rows as texts, each with its reason at the end."""
    texts = ", ".join(f"CAST({quoted(column.name)} AS VARCHAR)" for column in look.table.columns)
    rows = " UNION ALL ".join(checked(look.table, source, lenient=look.lenient) for source in given)
    query = f"SELECT {texts}, {REJECT}.reason FROM ({rows}) LIMIT {count:d}"  # noqa: S608 - our tables' own names
    with look.failure.told(), blamed(space, look.inputs, given):
        return space.stoppable(lambda: space.session.execute(query).fetchall())
