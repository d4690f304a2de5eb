"""`rollups` and `explain`: sums of facts, and which of them a report uses."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport.cli.arguments.options import QueryOptions, Whole, split_words
from reelport.cli.output.listing import PrintJson, print_json, print_list
from reelport.cli.service_commands.access import Data
from reelport.cli.service_commands.facts import MemoryOption, open_tables
from reelport.engine.memory_size import parse_size
from reelport.engine.tenant import Tenant
from reelport.errors import QueryRefused, UsageError
from reelport.facts import rollups
from reelport.facts.defaults import MEMORY
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.facts.tables import TABLES
from reelport.server.settings import Settings
from reelport.wording import format_count, format_size

if TYPE_CHECKING:
    from reelport.engine.rollups.build import BuiltMonth
    from reelport.engine.rollups.choice import Choice

ROLLUPS = App(name="rollups")

Name = Annotated[str, Parameter(help="Its name, as `rollups list` shows it.")]


@ROLLUPS.command
def suggest(
    *,
    days: Annotated[Whole, Parameter(help="Reports of so many last days count.")] = 30,
    add: Annotated[bool, Parameter(help="Add the suggested rollups; `rollups build` builds them.")] = False,
    memory: MemoryOption = MEMORY,
    data: Data = None,
    json: PrintJson = False,
) -> None:
    """Suggest the rollups that would have saved recent reports most reading.

    Example: reelport rollups suggest --days 30

    With the existing ones they take at most REELPORT_ROLLUP_SPACE, estimated from one day of facts.
    """
    from reelport.engine.rollups.suggestion import count_demand, suggest_rollups
    from reelport.server.reports.report_list import list_asked_queries
    from reelport.server.state.database import connected

    settings = open_tables(data)
    root = settings.facts_root
    snapshot = pin(root, TABLES)
    with connected(settings, make=False) as db:
        asked = count_demand(list_asked_queries(db, datetime.now(UTC) - timedelta(days=days)), snapshot)
    space = parse_size(settings.rollup_space) - rollups.measure_rollups(root)
    known = rollups.list_rollups(root)
    found = suggest_rollups(root, asked, snapshot, known, space=space, memory=memory)
    rows = [
        {
            "table": each.rollup.table,
            "grain": each.rollup.grain.name.lower(),
            "columns": list(each.rollup.columns),
            "reports": each.reports,
            "saved": f"{each.saved:.0%}",
            "rows": each.rows,
            "size": format_size(each.bytes),
        }
        for each in found
    ]
    none = f"No rollup would save the reports of the last {format_count(days, 'day')} anything worth its space."
    print_list(rows, as_json=json, none=none)
    if known:
        there = f"{format_count(len(known), 'rollup')} that {'is' if len(known) == 1 else 'are'} there"
        counted = "would save, built or not, is counted already: `saved` is what comes on top of it."
        print(f"What the {there} {counted}", file=sys.stderr)
    if add:
        for each in found:
            rollups.add_rollup(root, each.rollup)


@ROLLUPS.command(name="add")
def add_rollup(
    table: Annotated[str, Parameter(help="A table of facts.")],
    /,
    *columns: Annotated[str, Parameter(help="Columns to group by, beside those of channels and kinds.")],
    hour: Annotated[bool, Parameter(help="Keep hours; else days.")] = False,
    data: Data = None,
) -> None:
    """Add a rollup by its columns. It is used once `rollups build` has built it.

    Example: reelport rollups add plays visitor_country
    """
    from reelport.catalog import Grain
    from reelport.engine.rollups.columns import make_rollup

    names = (name.lower() for name in split_words(columns))
    rollup = make_rollup(table, names, Grain.HOUR if hour else Grain.DAY)
    is_new = rollups.add_rollup(open_tables(data).facts_root, rollup)
    print(f"{rollup.name}: {'added' if is_new else 'is there already'}; build it by `reelport rollups build`")


@ROLLUPS.command
def build(
    *names: Annotated[str, Parameter(help="Only these rollups.")],
    memory: MemoryOption = MEMORY,
    data: Data = None,
) -> None:
    """Build the days that a rollup lacks, and those whose files have changed.

    Example: reelport rollups build
    """
    settings = open_tables(data)
    root = settings.facts_root
    chosen = [rollups.find_rollup(root, name) for name in names] or list(rollups.list_rollups(root))
    if not chosen:
        print("There is no rollup to build: see `reelport rollups suggest`.", file=sys.stderr)
        return
    from reelport.engine.rollups.build import build_rollups

    space = parse_size(settings.rollup_space)
    if not build_rollups(root, chosen, space=space, memory=memory, progress=_print_month):
        print("nothing to build")


def _print_month(built: BuiltMonth) -> None:
    if built.problem is not None:
        print(f"{built.rollup}: {built.month} is not built: {built.problem}")
        return
    counts = f"{format_count(built.days, 'day')}, {format_count(built.rows, 'row')}, {format_size(built.bytes)}"
    print(f"{built.rollup}: {built.month} built, {counts}")


@ROLLUPS.command(name="list")
def list_all(*, data: Data = None, json: PrintJson = False) -> None:
    """List the rollups: columns, how many days of the newest facts each has, rows, size.

    Example: reelport rollups list
    """
    from reelport.engine.rollups.choice import list_stored

    rows = [
        {
            "rollup": each.rollup.name,
            "columns": list(each.rollup.columns),
            "days": f"{each.valid_days:,} of {each.all_days:,}",
            "rows": each.rows,
            "facts": each.fact_rows,
            "size": format_size(each.bytes),
        }
        for each in list_stored(open_tables(data).facts_root)
    ]
    print_list(rows, as_json=json, none="There is no rollup: see `reelport rollups suggest`.")


@ROLLUPS.command
def drop(
    *names: Name,
    all: Annotated[bool, Parameter(help="All rollups.")] = False,  # noqa: A002 - the option's name
    data: Data = None,
) -> None:
    """Delete rollups. Reports are then made from the facts, with the same bytes.

    Example: reelport rollups drop --all
    """
    root = open_tables(data).facts_root
    if all == bool(names):
        raise UsageError("name the rollups to drop, or give --all")
    for rollup in rollups.list_rollups(root) if all else [rollups.find_rollup(root, name) for name in names]:
        rollups.drop_rollup(root, rollup)
        print(f"{rollup.name}: dropped")


def explain(
    ask: QueryOptions,
    *,
    org: Annotated[
        str | None, Parameter(help="The organization that asks; otherwise one that owns all channels.")
    ] = None,
    data: Data = None,
    json: PrintJson = False,
) -> None:
    """Say which rollup a report would use, and why others are refused.

    Example: reelport explain --metrics VIEWS --dimensions DAY --start 30d --end yesterday
    """
    from reelport.check import problems
    from reelport.engine.compile import tables_of
    from reelport.engine.rollups.choice import RollupList, describe_use
    from reelport.engine.rollups.choice import explain as choose

    settings = open_tables(data)
    root = settings.facts_root
    asked = ask.query()
    if found := problems(asked, today=datetime.now(UTC).date()):
        raise QueryRefused(found)
    snapshot = pin(root, tables_of(asked))
    usable = RollupList() if settings.rollups == "off" else RollupList.read(root)
    choices = choose(asked, _find_tenant(settings, org, snapshot), snapshot, usable)
    if json:
        print_json([_to_fields(choice) for choice in choices])
        return
    if settings.rollups == "off":
        print("REELPORT_ROLLUPS is off: every report is made from the facts.", file=sys.stderr)
    for choice in choices:
        print(f"{choice.source.name} from {describe_use(choice)}")
        for name, why in sorted(choice.refused.items()):
            print(f"  not from {name}: {why}")
        if choice.reading is None and not choice.refused:
            print(f"  there is no rollup of {choice.source.table}: see `reelport rollups suggest`")


def _find_tenant(settings: Settings, org: str | None, snapshot: Snapshot) -> Tenant:
    if org is None:
        files = [file for found in snapshot.listing.values() for file in found]
        return Tenant(frozenset(file.low_owner or "" for file in files) or frozenset({""}))
    from reelport.server.access import organizations
    from reelport.server.state.database import connected

    with connected(settings, make=False) as db:
        organization = organizations.get_organization(db, org)
        return Tenant(organizations.list_readable_channels(db, organization.id))


def _to_fields(choice: Choice) -> dict[str, object]:
    reading = choice.reading
    return {
        "source": choice.source.name,
        "table": choice.source.table,
        "rollup": reading and reading.rollup.name,
        "rollup_days": len(reading.days) if reading else 0,
        "days": len(reading.all_days) if reading else None,
        "rows": reading.rows if reading else choice.fact_rows,
        "fact_rows": choice.fact_rows,
        "refused": dict(choice.refused),
    }
