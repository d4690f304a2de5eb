"""What a load would come to, without loading: its first rows, converted, and all of its rows, judged and counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from reelport.facts.defaults import MEMORY
from reelport.facts.input.broken_lines import BrokenLine, BrokenLines
from reelport.facts.input.checking import REJECT, RowSource, checked_sql
from reelport.facts.input.files import InputFile, detect_format
from reelport.facts.input.judging import Judgement, judge
from reelport.facts.input.mapping import read_mapping, run_mapping
from reelport.facts.input.progress import ProgressCallback, ProgressMeter
from reelport.facts.input.sources import ReaderFailure, blame_input, check_columns, make_sources
from reelport.facts.input.tolerance import LoadTerms, MaxBad
from reelport.facts.loading.changes import find_days_left_out, format_left_out
from reelport.facts.loading.load import check_span, name_batch
from reelport.facts.log.delta_log import DayLeftOut, TableVersion, read_newest
from reelport.facts.rules import quote_name
from reelport.facts.schema import find_table
from reelport.facts.storage.duckdb_session import Workspace, open_reading_workspace
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
    judged: Judgement
    refusal: str | None = None
    already: bool = False
    left_out: tuple[DayLeftOut, ...] = ()

    @property
    def landing(self) -> int:
        """How many rows would land."""
        return 0 if self.already or self.refusal else self.judged.rows - sum(one.rows for one in self.left_out)


@dataclass(frozen=True, slots=True)
class _PreviewRequest:
    """What is looked at."""

    table: Table
    inputs: tuple[InputFile, ...]
    mapping: str | None
    lenient: bool
    bad: BrokenLines
    failure: ReaderFailure
    meter: ProgressMeter

    def sources(self, space: Workspace) -> tuple[RowSource, ...]:
        """Where the rows come from; a text file's can be read once."""
        if self.mapping is not None:
            return (run_mapping(space, self.inputs, self.mapping, self.bad.add, self.failure, self.meter),)
        return make_sources(space, self.table, self.inputs, self.bad.add, self.failure, self.meter)

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names."""
        return tuple(str(file.path) for file in self.inputs)

    def refusal(self, terms: LoadTerms, judged: Judgement) -> str | None:
        """Why the batch would not land on these terms."""
        read = judged.read if self.mapping is None else judged.rows + judged.rejects
        why = terms.refuse_bad_rows(judged.rows, judged.rejects, read)
        if why is not None:
            return f"{judged.rejects:,} of {read:,} rows can't be taken" + (f" ({why})" if why else "")
        return terms.find_problem(judged.rows, tuple(judged.days), self.names)


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
    progress: ProgressCallback | None = None,
    memory: str = MEMORY,
) -> Preview:
    """What a load of these files would come to, and the first `count` rows and broken lines of them.

    Raises as `load` does, but for bad rows and days, whose refusal it tells.
    """
    found = find_table(table)
    check_span(found, replace)
    inputs = detect_format([Path(file) for file in files])
    text = None if mapping is None else read_mapping(mapping)
    bad = BrokenLines(tuple(str(file.path) for file in inputs), count)
    look = _PreviewRequest(found, inputs, text, lenient, bad, ReaderFailure(), ProgressMeter(inputs, progress))
    with open_reading_workspace(root, memory) as space:
        shown, judged = _examine(space, look, count)
    made = Preview(
        table,
        name_batch(found, text, replace, inputs),
        tuple(column.name for column in found.columns),
        tuple(row[:-1] for row in shown),
        tuple(row[-1] for row in shown),
        tuple(bad.first),
        bad.count,
        judged,
        look.refusal(LoadTerms(strict, replace, max_bad), judged),
    )
    is_added = found.is_fact and replace is None and (root / found.name).is_dir()
    return _compare_with_table(made, read_newest(root, found)) if is_added else made


def _examine(space: Workspace, look: _PreviewRequest, count: int) -> tuple[list[tuple[str | None, ...]], Judgement]:
    """The first rows, and what all of them come to."""
    space.session.execute("SET preserve_insertion_order = true")
    given = look.sources(space)
    check_columns(look.table, given, look.inputs)
    shown = _read_first_rows(space, look, given, count)
    if look.mapping is None:
        look.bad.reset()
        look.meter.restart()
        given = look.sources(space)
    with look.failure.reraise(), blame_input(space, look.inputs, given):
        judged = judge(space, look.table, given, look.bad, look.names, lenient=look.lenient, meter=look.meter)
    return shown, judged


def _compare_with_table(made: Preview, now: TableVersion) -> Preview:
    """The same, with what the table has already."""
    left_out = find_days_left_out(now, made.batch, made.judged.days)
    refusal = made.refusal
    if left_out and len(left_out) == len(made.judged.days):
        refusal = refusal or format_left_out(left_out)
    return dataclasses.replace(made, refusal=refusal, already=now.is_loaded(made.batch), left_out=left_out)


def _read_first_rows(
    space: Workspace, look: _PreviewRequest, given: Sequence[RowSource], count: int
) -> list[tuple[str | None, ...]]:
    """The first rows as texts, each with its reason at the end."""
    texts = ", ".join(f"CAST({quote_name(column.name)} AS VARCHAR)" for column in look.table.columns)
    rows = " UNION ALL ".join(checked_sql(look.table, source, lenient=look.lenient) for source in given)
    query = f"SELECT {texts}, {REJECT}.reason FROM ({rows}) LIMIT {count:d}"  # noqa: S608 - our tables' own names
    with look.failure.reraise(), blame_input(space, look.inputs, given):
        return space.run_interruptibly(lambda: space.session.execute(query).fetchall())
