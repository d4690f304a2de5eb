"""Commands that load facts, look at them and keep them in order."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport.cli.consent import is_confirmed
from reelport.cli.facts_output import (
    LoadProgress,
    print_broken_lines,
    print_rows,
    print_undo_plan,
    size_text,
    stamp_text,
)
from reelport.cli.options import Whole
from reelport.cli.variables import REJECT_BYTES_VARIABLE, REJECT_ROWS_VARIABLE
from reelport.errors import UsageError
from reelport.facts.defaults import KEPT_HOURS, MEMORY, REJECT_BYTES, REJECT_ROWS, SETTLED_AFTER
from reelport.facts.layout import check_layout, check_there
from reelport.facts.modes import let_read
from reelport.facts.tables import TABLES
from reelport.facts.tolerance import RejectCap, parse_max_bad
from reelport.server.settings import read
from reelport.wording import format_count

if TYPE_CHECKING:
    from reelport.facts.history import Load
    from reelport.facts.loading import LoadResult

FACTS_FOLDER = "facts"
_DAYS_SHOWN = 3

DataOption = Annotated[
    Path, Parameter(name="--data", env_var="REELPORT_DATA", help="The data directory; REELPORT_DATA names it too.")
]
JsonOption = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
MemoryOption = Annotated[str, Parameter(name="--memory", help="Memory to sort in; more than that spills to the disk.")]
DEFAULT_DATA = Path("reelport-data")

LOAD = App(name="load", help="Load facts and objects from files; list and undo loads.")


def facts_root(data: Path, *, make: bool = False) -> Path:
    """Where the tables of a data directory lie; it must be there, and of a known version, unless it may be made."""
    let_read(read(data=data).readers)
    (check_layout if make else check_there)(data)
    return data / FACTS_FOLDER


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class BadRows:
    """What a load does about rows that can't be taken."""

    strict: Annotated[bool, Parameter(negative="", help="Refuse the whole batch when any row is bad.")] = False
    max_bad: Annotated[
        str | None, Parameter(help="100 or 5%: more bad rows than this end the load, and nothing is loaded.")
    ] = None
    rejects: Annotated[Path | None, Parameter(help="Where bad rows go; default: beside the first file.")] = None
    reject_rows: Annotated[
        Whole, Parameter(env_var=REJECT_ROWS_VARIABLE, help="Bad rows that the reject file keeps; all are counted.")
    ] = REJECT_ROWS
    reject_bytes: Annotated[
        Whole, Parameter(env_var=REJECT_BYTES_VARIABLE, help="Bytes that the reject file may have.")
    ] = REJECT_BYTES


@LOAD.default
def load(
    table: Annotated[str, Parameter(help=f"One of: {', '.join(TABLES)}.")],
    /,
    *files: Annotated[Path, Parameter(help="Files of one batch; what each is, is read off its first bytes.")],
    data: DataOption = DEFAULT_DATA,
    map: Annotated[Path | None, Parameter(help="A file with one SELECT over `input`.")] = None,  # noqa: A002 - the option's name
    dry_run: Annotated[bool, Parameter(negative="", help="Show the first rows and load nothing.")] = False,
    replace_days: Annotated[str | None, Parameter(help="START:END, days that the files restate.")] = None,
    bad_rows: BadRows | None = None,
    memory: MemoryOption = MEMORY,
    json: JsonOption = False,
) -> None:
    """Load Parquet, CSV or NDJSON files (plain, gzip, zstd) into a table.

    Example: reelport load channels channels.csv

    Bad rows go to a reject file with their line and reason. The same files loaded twice change nothing.
    """
    span = None if replace_days is None else days_between(replace_days)
    if dry_run:
        _print_preview(data / FACTS_FOLDER, table, files, map, memory, as_json=json)
        return
    from reelport.facts.loading import load as load_files

    bad = bad_rows or BadRows()
    limit = None if bad.max_bad is None else parse_max_bad(bad.max_bad)
    root = facts_root(data, make=True)
    with LoadProgress(sys.stderr) as shown:
        result = load_files(
            root,
            table,
            files,
            mapping=map,
            strict=bad.strict,
            replace=span,
            rejects=bad.rejects,
            max_bad=limit,
            cap=RejectCap(bad.reject_rows, bad.reject_bytes),
            progress=shown.update,
            memory=memory,
        )
    _print_result(result, as_json=json)


def days_between(text: str) -> tuple[date, date]:
    """The two days of START:END; UsageError when that isn't what the text says."""
    start, _, end = text.partition(":")
    try:
        return date.fromisoformat(start), date.fromisoformat(end)
    except ValueError as error:
        raise UsageError(f"--replace-days takes START:END, such as 2023-07-01:2023-07-31, not {text!r}") from error


def _print_result(result: LoadResult, *, as_json: bool) -> None:
    if as_json:
        print(_json(asdict(result)))
    elif result.already:
        print(f"{result.table}: nothing changed, batch {result.batch} is loaded already")
    else:
        days = format_count(len(result.days), "day")
        when = f", {days} from {result.days[0]} to {result.days[-1]}" if result.days else ""
        print(f"{result.table}: {format_count(result.rows, 'row')} loaded{when} (batch {result.batch})")
    if result.left_out and not as_json:
        from reelport.facts.changes import tell_left_out

        print(f"{result.table}: {tell_left_out(result.left_out)}")
    if result.rejects and not as_json:
        print(f"{result.table}: {format_count(result.rejects, 'row')} rejected, {_see_rejects(result)}")


def _see_rejects(result: LoadResult) -> str:
    if result.rejects_file is None:
        return "none of them kept"
    if result.rejects_kept == result.rejects:
        return f"see {result.rejects_file}"
    return (
        f"the first {result.rejects_kept:,} are in {result.rejects_file}, which is full (--reject-rows, --reject-bytes)"
    )


def _print_preview(
    root: Path, table: str, files: Sequence[Path], mapping: Path | None, memory: str, *, as_json: bool
) -> None:
    from reelport.facts.preview import preview

    shown = preview(root, table, files, mapping=mapping, memory=memory)
    rows = [(*row, reason) for row, reason in zip(shown.rows, shown.reasons, strict=True)]
    names = (*shown.columns, "problem")
    if as_json:
        print_broken_lines(shown, sys.stderr)
        empty = dict.fromkeys(shown.columns)
        lines = [{**empty, "problem": f"{one.file} line {one.line}: {one.reason}"} for one in shown.lines]
        print(_json([*(dict(zip(names, row, strict=True)) for row in rows), *lines]))
        return
    if not rows and shown.broken:
        print_broken_lines(shown, sys.stdout)
        return
    used = [place for place, name in enumerate(names) if name == "problem" or any(row[place] for row in rows)]
    print_rows([names[place] for place in used], [[row[place] or "" for place in used] for row in rows])
    print_broken_lines(shown, sys.stdout)


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False, indent=2)


@LOAD.command(name="list")
def load_list(
    *,
    data: DataOption = DEFAULT_DATA,
    table: Annotated[str | None, Parameter(help="Only the loads of this table.")] = None,
    json: JsonOption = False,
) -> None:
    """List the loads of every table, oldest first.

    Example: reelport load list --table channels
    """
    from reelport.facts.history import loads

    found = loads(facts_root(data), table)
    if json:
        print(_json([asdict(one) for one in found]))
        return
    if not found:
        print(f"Nothing is loaded into {table or 'any table'} of {data} yet.", file=sys.stderr)
        return
    rows = [
        [
            one.batch,
            one.table,
            stamp_text(one.at),
            f"{one.rows:,}",
            f"{one.rejects:,}",
            _days(one),
            _note(one),
            " ".join(one.sources[:_DAYS_SHOWN]),
        ]
        for one in found
    ]
    print_rows(["batch", "table", "when", "rows", "rejects", "days", "note", "files"], rows)


def _days(one: Load) -> str:
    first, last = one.replaced or ((one.days[0], one.days[-1]) if one.days else (None, None))
    return "" if first is None else str(first) if first == last else f"{first}:{last}"


def _note(one: Load) -> str:
    if one.undone:
        return "undone"
    if one.left_out:
        return f"{format_count(len(one.left_out), 'day')} left out"
    return "replaced days" if one.replaced else ""


@LOAD.command(name="undo")
def load_undo(
    batch: Annotated[str, Parameter(help="Its name, as `load list` shows it, or the beginning of it.")],
    /,
    *,
    data: DataOption = DEFAULT_DATA,
    table: Annotated[str | None, Parameter(help="The table, when batches of several have this name.")] = None,
    yes: Annotated[bool, Parameter(negative="", help="Do it without asking, as programs must.")] = False,
) -> None:
    """Take back a load: its rows go, and what it replaced comes back. Shows both day by day and asks first.

    Example: reelport load undo BATCH --yes
    """
    from reelport.facts import batches
    from reelport.server import registry

    root = facts_root(data)
    plan = batches.plan_undo(root, batch, table)
    registry.refuse_undo(plan.load.table, plan.load.batch)
    print_undo_plan(plan)
    if not yes and not is_confirmed(f"Take back batch {plan.load.batch} of {plan.load.table}?"):
        print("Nothing was changed.", file=sys.stderr)
        return
    done = batches.undo_load(root, plan.load)
    back = f", {format_count(done.restored, 'row')} restored" if done.restored else ""
    print(f"{done.table}: batch {done.batch} undone, {format_count(done.removed, 'row')} removed{back}")


def tables(*, data: DataOption = DEFAULT_DATA, json: JsonOption = False) -> None:
    """Show what is loaded: rows, first and last complete day, last load.

    Example: reelport tables
    """
    from reelport.facts.report import tables_report

    found = tables_report(facts_root(data))
    if json:
        print(_json([asdict(one) for one in found]))
        return
    rows = [
        [
            one.table,
            f"{one.rows:,}",
            str(one.first_day or ""),
            str(one.last_day or ""),
            stamp_text(one.last_load),
            f"{one.files:,}",
            size_text(one.bytes),
        ]
        for one in found
    ]
    print_rows(["table", "rows", "complete from", "complete to", "last load", "files", "size"], rows)
    if not any(one.rows for one in found):
        print(f"Nothing is loaded into {data} yet: `reelport load TABLE FILES`, or `reelport sample`.", file=sys.stderr)


def compact(
    *,
    data: DataOption = DEFAULT_DATA,
    table: Annotated[str | None, Parameter(help="Only this table.")] = None,
    settled_after: Annotated[Whole, Parameter(help="Days after which a day is settled.")] = SETTLED_AFTER,
    memory: MemoryOption = MEMORY,
) -> None:
    """Merge settled days into month files, which reports read faster. Rows stay as they are.

    Example: reelport compact --settled-after 30
    """
    from reelport.facts.compaction import compact as merge

    done = merge(
        facts_root(data), today=datetime.now(UTC).date(), settled_after=settled_after, table=table, memory=memory
    )
    for one in done:
        print(f"{one.table}: {one.month} merged, {one.files:,} files into one, {format_count(one.rows, 'row')}")
    if not done:
        print("nothing to merge")


def vacuum(
    *,
    data: DataOption = DEFAULT_DATA,
    hours: Annotated[Whole, Parameter(help="Hours that a replaced file is kept.")] = KEPT_HOURS,
) -> None:
    """Delete files that were replaced, or left by a killed load, so long ago that no report reads them.

    Example: reelport vacuum
    """
    from reelport.facts.vacuuming import vacuum as delete

    for one in delete(facts_root(data), now=datetime.now(UTC), hours=hours):
        print(f"{one.table}: {format_count(one.files, 'file')} deleted, {size_text(one.bytes)}")
