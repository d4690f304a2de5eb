"""Builds rollups: a segment for each month of which a day is not valid yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb

from reelport import killpoints
from reelport.engine.rollups.choice import choose_parts, in_days_sql
from reelport.engine.rollups.columns import identity_of, rollup_columns, select_sums, summed_columns
from reelport.facts.data_files.duckdb_session import Workspace, open_workspace, parquet_source
from reelport.facts.data_files.projection import project_sql
from reelport.facts.data_files.sorted_files import ROW_GROUP
from reelport.facts.defaults import MEMORY
from reelport.facts.log.delta_log import read_newest, require_intact
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.facts.retention import KEPT_HOURS
from reelport.facts.rollups import (
    DATA,
    Files,
    Rollup,
    Segment,
    SegmentDay,
    delete_manifests,
    list_files_by_day,
    list_rollups,
    list_segments,
    measure_rollups,
    name_segment,
    sweep,
    write_manifest,
)
from reelport.facts.tables import TABLES, sort_keys
from reelport.sql_quoting import quote_name, quote_text
from reelport.storage.digests import FileDamaged, check_files, compute_digest
from reelport.storage.durable import (
    make_folder,
    private,
    sync_file,
    sync_folder,
    translate_io_errors,
)
from reelport.storage.file_cache import holding
from reelport.wording import format_size

_Counts = Mapping[date, int]
"""The number of rows of each day that has any."""


@dataclass(frozen=True, slots=True)
class BuiltMonth:
    """A month of a rollup: what its new segment holds, or why there is none (`problem`)."""

    rollup: str
    month: str
    days: int = 0
    rows: int = 0
    bytes: int = 0
    problem: str | None = None


@private()
def build_rollups(
    root: Path,
    rollups: Iterable[Rollup] | None = None,
    *,
    space: int,
    memory: str = MEMORY,
    progress: Callable[[BuiltMonth], None] | None = None,
) -> tuple[BuiltMonth, ...]:
    """Build what is missing of these rollups, or of all, the newest month first.

    `space` are the bytes that all rollups together may take; a month that would take more is not built. Safe while
    other processes load, build or read. Raises StorageError when a disk fails; what was built stays.
    """
    sweep(root, datetime.now(UTC) - timedelta(hours=KEPT_HOURS))
    done = []
    for rollup in list_rollups(root) if rollups is None else rollups:
        snapshot = pin(root, (rollup.table,))
        for month in _list_months(root, rollup, snapshot):
            with holding():  # a cache needs room for one month at a time
                built = _build_month(root, rollup, snapshot, month, space, memory)
            done.append(built)
            if progress is not None:
                progress(built)
    return tuple(done)


@dataclass(frozen=True, slots=True)
class _Month:
    name: str
    days: Mapping[date, Files]
    kept: tuple[tuple[Segment, frozenset[date]], ...]
    older: tuple[Segment, ...]

    @property
    def missing(self) -> frozenset[date]:
        """The days that are summed from the facts."""
        return frozenset(self.days).difference(*(days for _, days in self.kept))


def _list_months(root: Path, rollup: Rollup, snapshot: Snapshot) -> Iterator[_Month]:
    months: dict[str, dict[date, Files]] = {}
    for day, files in list_files_by_day(snapshot.listing[rollup.table]).items():
        months.setdefault(f"{day:%Y-%m}", {})[day] = files
    everything = list_segments(root, rollup)
    for name, days in sorted(months.items(), reverse=True):
        older = tuple(segment for segment in everything if any(f"{day:%Y-%m}" == name for day in segment.days))
        kept = choose_parts(filter(partial(_is_provable, rollup), older), days)
        month = _Month(name, days, kept, older)
        if month.missing or len(kept) > 1:
            yield month


def _is_provable(rollup: Rollup, segment: Segment) -> bool:
    """Whether days may be copied: the file is there, to be compared with its digest."""
    return segment.identity == identity_of(rollup) and segment.data.exists()


def _leave_out_damaged(month: _Month) -> _Month:
    """Sum days of damaged segments from the facts: a copy's new digest would prove the damage."""
    checked = check_files((segment.data, segment.digest) for segment, _ in month.kept)
    return replace(month, kept=tuple(part for part in month.kept if part[0].data not in checked.damaged))


def _build_month(root: Path, rollup: Rollup, snapshot: Snapshot, month: _Month, space: int, memory: str) -> BuiltMonth:
    folder = rollup.folder(root)
    with open_workspace(root, memory) as work:
        draft = work.folder / f"{name_segment(month.name)}{DATA}"
        try:
            month = _leave_out_damaged(month)
            counts = work.run_interruptibly(lambda: _write(work, rollup, snapshot, month, draft))
        except duckdb.ConversionException:
            return BuiltMonth(rollup.name, month.name, problem="a sum has more digits than a count can hold")
        except FileDamaged as damage:
            return BuiltMonth(rollup.name, month.name, problem=str(damage))
        with translate_io_errors(draft):
            size = draft.stat().st_size
            if measure_rollups(root) + size > space:
                return BuiltMonth(
                    rollup.name, month.name, problem=f"it takes {format_size(size)}, and that is too much"
                )
            digest = compute_digest(draft)
            sync_file(draft)
            killpoints.reach("rollup-write")
            make_folder(folder)
            data = draft.rename(folder / draft.name)
            sync_folder(folder)
    killpoints.reach("rollup-rename")
    days = {day: SegmentDay(month.days[day], counts.get(day, 0)) for day in month.days}
    write_manifest(data, identity_of(rollup), days, digest)
    delete_manifests(month.older)
    return BuiltMonth(rollup.name, month.name, len(month.days), sum(counts.values()), size)


def _write(work: Workspace, rollup: Rollup, snapshot: Snapshot, month: _Month, draft: Path) -> _Counts:
    _require_intact_facts(snapshot, rollup.table, month)
    work.session.execute(write_sql(rollup, " UNION ALL ".join(_select_rows(rollup, snapshot, month)), draft))
    day = f"CAST({quote_name(TABLES[rollup.table].time or '')} AS DATE)"
    counted = f"SELECT {day}, COUNT(*) FROM {parquet_source([str(draft)])} GROUP BY 1"  # noqa: S608 - our own names
    return dict(work.session.execute(counted).fetchall())


def write_sql(rollup: Rollup, rows: str, draft: Path) -> str:
    """Write the SQL that writes rows of a rollup into a file, in the order of facts first."""
    columns, table = rollup_columns(rollup), TABLES[rollup.table]
    first = [name for name in sort_keys(table) if name in columns]
    others = [name for name in columns if name not in {*first, *summed_columns(rollup.table)}]
    order = ", ".join(map(quote_name, [*first, *others]))
    options = f"FORMAT PARQUET, COMPRESSION ZSTD, ROW_GROUP_SIZE {ROW_GROUP}"
    return f"COPY ({rows} ORDER BY {order}) TO {quote_text(str(draft))} ({options})"


def _require_intact_facts(snapshot: Snapshot, table: str, month: _Month) -> None:
    """Raise FileDamaged where a file that is summed is not as it was written.

    Its sums would outlive it: put right, it has the same name.
    """
    if files := _list_summed(snapshot, table, month):
        require_intact(read_newest(snapshot.root, TABLES[table]), files)


def _list_summed(snapshot: Snapshot, table: str, month: _Month) -> list[DataFile]:
    names = frozenset[str]().union(*(month.days[day] for day in month.missing))
    return [file for file in snapshot.data_files(table) if file.path in names]


def _select_rows(rollup: Rollup, snapshot: Snapshot, month: _Month) -> Iterator[str]:
    columns = ", ".join(map(quote_name, rollup_columns(rollup)))
    for segment, days in month.kept:
        source = parquet_source([str(segment.data)])
        yield f"SELECT {columns} FROM {source} WHERE {in_days_sql(rollup.table, days)}"  # noqa: S608 - see above
    if month.missing:
        paths = list(snapshot.paths(rollup.table, _list_summed(snapshot, rollup.table, month)))
        facts = f"FROM ({project_sql(TABLES[rollup.table], parquet_source(paths))})"
        yield select_sums(rollup, f"({facts} WHERE {in_days_sql(rollup.table, month.missing)})")
