"""`load`, `tables`, `compact`, `vacuum`, `payees`, `sample`: facts and their tables."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport.cli.arguments.environment_variables import REJECT_BYTES_VARIABLE, REJECT_ROWS_VARIABLE
from reelport.cli.arguments.options import Whole, is_confirmed
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.output.listing import PrintJson, print_json
from reelport.cli.service_commands.access import Data, use_settings
from reelport.cli.service_commands.facts_output import (
    build_after_load,
    describe_missing_days,
    format_moment,
    print_loads,
    print_preview,
    print_result,
    print_rows,
    print_undo_plan,
    show_load,
    write_suggestion,
)
from reelport.errors import BadInput, UsageError
from reelport.facts.defaults import MEMORY, REJECT_BYTES, REJECT_ROWS, SETTLED_AFTER
from reelport.facts.input.rejects import MaxBad, RejectCap, parse_max_bad
from reelport.facts.layout import check_existing, check_layout
from reelport.facts.log.table_identity import identify_tables
from reelport.facts.retention import KEPT_HOURS
from reelport.facts.tables import TABLES, find_table
from reelport.server.access.unread_rows import describe_unread_rows
from reelport.server.settings import Settings, read_settings
from reelport.wording import format_count, format_size

if TYPE_CHECKING:
    from reelport.engine.payee_totals import PayeeTotal

MemoryOption = Annotated[str, Parameter(name="--memory", help="Memory for sorting; the rest spills to disk.")]

LOAD = App(name="load")


def open_tables(data: Path | None, *, make: bool = False) -> Settings:
    """Return the settings of tables. Without `make` they must exist, of a known version."""
    settings = use_settings(data=data)
    (check_layout if make else check_existing)(settings.data)
    identify_tables(settings.data, settings.facts_root, make=make)
    return settings


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Options of a load and its dry run: mapping, days, and rows that can't be loaded."""

    map: Annotated[Path | None, Parameter(help="A file with one SELECT over `input`.")] = None
    replace_days: Annotated[
        str | None, Parameter(help="A day, or START:END. The files replace all rows of these days.")
    ] = None
    strict: Annotated[bool, Parameter(help="Refuse the batch if one row is bad.")] = False
    max_bad: Annotated[str | None, Parameter(help="100 or 5%: refuse the batch if more rows are bad.")] = None
    lenient: Annotated[
        bool,
        Parameter(
            help="Accept and count texts that are not in their list (country, device), if no number depends on it."
        ),
    ] = False
    again: Annotated[bool, Parameter(help="Load files that another load has, or that are named twice.")] = False
    rejects: Annotated[Path | None, Parameter(help="Where bad rows go; default: beside the first file.")] = None
    reject_rows: Annotated[
        Whole, Parameter(env_var=REJECT_ROWS_VARIABLE, help="Most bad rows in the reject file; all are counted.")
    ] = REJECT_ROWS
    reject_bytes: Annotated[
        Whole, Parameter(env_var=REJECT_BYTES_VARIABLE, help="Largest size of the reject file, in bytes.")
    ] = REJECT_BYTES
    memory: MemoryOption = MEMORY

    def span(self) -> tuple[date, date] | None:
        """Parse `--replace-days`. Raises UsageError where it is no range of days."""
        return None if self.replace_days is None else parse_days(self.replace_days)

    def limit(self) -> MaxBad | None:
        """Parse `--max-bad`. Raises UsageError where it is no limit."""
        return None if self.max_bad is None else parse_max_bad(self.max_bad)


@LOAD.default
def load(
    table: Annotated[str, Parameter(help=f"One of: {', '.join(TABLES)}.")],
    /,
    *files: Annotated[Path, Parameter(help="Files of one batch. The first bytes of each show its format.")],
    data: Data = None,
    dry_run: Annotated[bool, Parameter(help="Check all rows, show the first ones, load nothing.")] = False,
    suggest_map: Annotated[
        bool, Parameter(help="Write a first mapping to TABLE.map.sql, or to the file of --map; load nothing.")
    ] = False,
    force: Annotated[bool, Parameter(["--force", "-f"], help="Let --suggest-map overwrite a file.")] = False,
    options: LoadOptions | None = None,
    json: PrintJson = False,
) -> None:
    """Load Parquet, CSV or NDJSON files (plain, gzip, zstd) into a table.

    Example: reelport load channels channels.csv

    Bad rows go to a reject file with their line and reason. The same files loaded twice change nothing.
    """
    terms = options or LoadOptions()
    refuse_together(partial(find_table, table), partial(_check_files, files), terms.span, terms.limit)
    if suggest_map:
        root = read_settings(data=data).facts_root
        write_suggestion(root, table, files, terms.map, terms.memory, force=force, as_json=json)
        return
    if force:
        raise UsageError("--force goes with --suggest-map: nothing else is written over a file")
    if dry_run:
        _dry_run(data, table, files, terms, as_json=json)
    else:
        _load(data, table, files, terms, as_json=json)


def _check_files(files: Sequence[Path]) -> None:
    if not files:
        raise UsageError("no file was given: name the files to load after the table")


def _load(data: Path | None, table: str, files: Sequence[Path], terms: LoadOptions, *, as_json: bool) -> None:
    from reelport.facts.loading.load import load as load_files

    owners = Counter[str]()
    settings = open_tables(data, make=True)
    with show_load(sys.stderr, as_json=as_json) as show:
        result = load_files(
            settings.facts_root,
            table,
            files,
            mapping=terms.map,
            strict=terms.strict,
            replace=terms.span(),
            rejects=terms.rejects,
            max_bad=terms.limit(),
            cap=RejectCap(terms.reject_rows, terms.reject_bytes),
            lenient=terms.lenient,
            again=terms.again,
            owners=owners,
            now=datetime.now(UTC),
            progress=show,
            memory=terms.memory,
        )
    if not result.already:
        build_after_load(settings, table, terms.memory)
    note = None if result.already else describe_unread_rows(settings, owners)
    print_result(result, note, again=terms.again, as_json=as_json)


def _dry_run(data: Path | None, table: str, files: Sequence[Path], terms: LoadOptions, *, as_json: bool) -> None:
    from reelport.facts.loading.preview import preview

    settings = read_settings(data=data)
    with show_load(sys.stderr, as_json=as_json) as show:
        shown = preview(
            settings.facts_root,
            table,
            files,
            mapping=terms.map,
            strict=terms.strict,
            replace=terms.span(),
            max_bad=terms.limit(),
            lenient=terms.lenient,
            now=datetime.now(UTC),
            again=terms.again,
            progress=show,
            memory=terms.memory,
        )
    print_preview(shown, describe_unread_rows(settings, shown.owners), again=terms.again, as_json=as_json)
    if shown.refusal is not None and not shown.already:
        raise BadInput(f"nothing would be loaded: {shown.refusal}")


def parse_days(text: str) -> tuple[date, date]:
    """Parse D, START:END or START..END. Raises UsageError for anything else."""
    start, mark, end = text.replace("..", ":").partition(":")
    try:
        return date.fromisoformat(start), date.fromisoformat(end if mark else start)
    except ValueError as error:
        raise UsageError(
            f"--replace-days takes a day or START:END, such as 2023-07-01 or 2023-07-01:2023-07-31, not {text!r}"
        ) from error


@LOAD.command(name="list")
def load_list(
    *,
    data: Data = None,
    table: Annotated[str | None, Parameter(help="Only the loads of this table.")] = None,
    json: PrintJson = False,
) -> None:
    """List the loads, table by table, each table's oldest first.

    Example: reelport load list --table channels
    """
    from reelport.facts.log.history import list_loads

    settings = open_tables(data)
    found = list_loads(settings.facts_root, table)
    if json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        print(f"Nothing is loaded into {table or 'any table'} of {settings.data} yet.", file=sys.stderr)
        return
    print_loads(found)


@LOAD.command(name="undo")
def load_undo(
    batch: Annotated[str, Parameter(help="Its name in `load list`, or the beginning of the name.")],
    /,
    *,
    data: Data = None,
    table: Annotated[str | None, Parameter(help="The table, if several tables have a batch of this name.")] = None,
    yes: Annotated[bool, Parameter(help="Do not ask for confirmation; programs need this.")] = False,
    json: PrintJson = False,
) -> None:
    """Undo a load: its rows go, and rows that it replaced come back. Shows both and asks first.

    Example: reelport load undo BATCH --yes
    """
    from reelport.facts.loading import undo
    from reelport.server.access import channel_registry

    settings = open_tables(data)
    plan = undo.plan_undo(settings.facts_root, batch, table)
    channel_registry.refuse_undo(plan.load.table, plan.load.batch)
    if not (yes and json):
        with redirect_stdout(sys.stderr if json else sys.stdout):
            print_undo_plan(plan)
    if not yes and not is_confirmed(f"Undo batch {plan.load.batch} of {plan.load.table}?"):
        return
    done = undo.undo_load(settings.facts_root, plan.load)
    if json:
        print_json(asdict(done) | {"days": [asdict(one) for one in plan.days]})
        return
    back = f", {format_count(done.restored, 'row')} restored" if done.restored else ""
    print(f"{done.table}: batch {done.batch} undone, {format_count(done.removed, 'row')} removed{back}")


def tables(*, data: Data = None, json: PrintJson = False) -> None:
    """Show what is loaded: rows, first and last complete day, last load.

    Example: reelport tables
    """
    from reelport.facts.log.freshness import tables_report

    settings = open_tables(data)
    found = tables_report(settings.facts_root, datetime.now(UTC).date())
    if json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        [
            one.table,
            f"{one.rows:,}",
            str(one.complete_from or ""),
            str(one.complete_to or ""),
            format_moment(one.last_load),
            f"{one.files:,}",
            format_size(one.bytes),
        ]
        for one in found
    ]
    print_rows(["table", "rows", "complete from", "complete to", "last load", "files", "size"], rows)
    for one in found:
        if one.missing_days:
            print(f"{one.table}: {describe_missing_days(one.missing_days)}", file=sys.stderr)
    if not any(one.rows for one in found):
        advice = "`reelport load TABLE FILES`, or `reelport sample`."
        print(f"Nothing is loaded into {settings.data} yet: {advice}", file=sys.stderr)


def compact(
    *,
    data: Data = None,
    table: Annotated[str | None, Parameter(help="Only this table.")] = None,
    settled_after: Annotated[Whole, Parameter(help="Merge days that are older than so many days.")] = SETTLED_AFTER,
    role_copies: Annotated[
        bool,
        Parameter(
            negative="--no-role-copies",
            help="Copy files sorted by publisher and claimer, for reports of EMBED and CLAIM.",
        ),
    ] = True,
    memory: MemoryOption = MEMORY,
) -> None:
    """Merge files of old days into files of a month, copy files by role: for faster reports.

    Example: reelport compact --settled-after 30
    """
    from reelport.facts.loading.compaction import compact as merge
    from reelport.facts.loading.compaction import copy_tables_by_roles

    settings = open_tables(data)
    root = settings.facts_root
    done = merge(root, today=datetime.now(UTC).date(), settled_after=settled_after, table=table, memory=memory)
    for one in done:
        merged = f"{one.month} merged, {one.files:,} files into {one.into:,}"
        print(f"{one.table}: {merged}, {format_count(one.rows, 'row')}")
    if not done:
        print("nothing to merge")
    for copied in copy_tables_by_roles(root, table=table, memory=memory) if role_copies else ():
        print(f"{copied.table}: {format_count(copied.copies, 'copy', 'copies')} by role written")


def vacuum(
    *,
    data: Data = None,
    hours: Annotated[Whole, Parameter(help=f"Hours that a replaced file is kept: at least {KEPT_HOURS}.")] = KEPT_HOURS,
) -> None:
    """Delete files replaced, or left by a killed load, so long ago that no report reads them.

    Example: reelport vacuum
    """
    from reelport.facts.loading.vacuum import vacuum as delete

    for one in delete(open_tables(data).facts_root, now=datetime.now(UTC), hours=hours):
        print(f"{one.table}: {format_count(one.files, 'file')} deleted, {format_size(one.bytes)}")


NOBODY = "(nobody)"


def payees(
    *,
    data: Data = None,
    start: Annotated[date | None, Parameter(help="First day; otherwise the first loaded day.")] = None,
    end: Annotated[date | None, Parameter(help="Last day, included; otherwise the last loaded day.")] = None,
    memory: MemoryOption = MEMORY,
    json: PrintJson = False,
) -> None:
    """Show whom all loaded earnings belong to, channel by channel, and what is nobody's.

    Example: reelport payees --start 2023-07-01 --end 2023-07-31
    """
    from reelport.engine.payee_totals import sum_by_payee

    if start is not None and end is not None and end < start:
        raise UsageError(f"--end {end} is before --start {start}")
    settings = open_tables(data)
    found = sum_by_payee(settings.facts_root, start, end, memory)
    if json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        print(f"{settings.data} has no earnings of these days: see `reelport tables`.", file=sys.stderr)
        return
    rows = [[one.channel or NOBODY, one.slug or "", *_numbers([one])] for one in found]
    print_rows(["payee", "slug", "rows", "EUR", "USD"], [*rows, ["total", "", *_numbers(found)]])


def _numbers(found: Sequence[PayeeTotal]) -> list[str]:
    eur = sum((one.eur for one in found), Decimal(0))
    usd = sum((one.usd for one in found), Decimal(0))
    return [f"{sum(one.rows for one in found):,}", f"{eur:,.6f}", f"{usd:,.6f}"]


def sample(
    *,
    start: date,
    end: date,
    rows: Whole = 100_000,
    seed: Whole = 1,
    data: Data = None,
) -> None:
    """Fill the tables with believable facts, for the organizations demo and rival.

    Example: reelport sample --start 2024-01-01 --end 2024-01-31 --rows 5000

    The same days, rows and seed give the same facts. The same call twice
    changes nothing; another call adds another range, and is refused when
    sample facts lie on one of its days.

    Args:
        start: First day, from 2020-01-01.
        end: Last day, included.
        rows: Facts in all tables together; seven in ten are plays.
        seed: Whole number that the facts are drawn from.
        data: The data directory; else REELPORT_DATA, else ./reelport-data.
    """
    from reelport.server.sample_organizations import fill

    settings = use_settings(data=data)
    found = fill(settings, start, end, rows, seed, _print_drawn)
    if not found.changed:
        print(f"These sample facts are in {settings.data} already; nothing was changed.", file=sys.stderr)
    for table, count in found.rows.items():
        print(f"{table:<10}{count:>14,}")
    for organization, channels in found.organizations.items():
        print(f"{organization:<10}{', '.join(channels)}")


def _print_drawn(table: str, rows: int) -> None:
    print(f"{table}: {format_count(rows, 'row')} drawn", file=sys.stderr, flush=True)
