"""`queue`, `verify`, `doctor`, `state` and `upgrade`: inspect and maintain a service."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reelport.cli.output.listing import PrintJson, print_fields, print_json, print_list
from reelport.cli.service_commands.access import Data, open_state, use_settings
from reelport.errors import StorageError
from reelport.facts.layout import LAYOUT, check_existing, read_layout
from reelport.local_path import is_address
from reelport.server.settings import Settings, read_settings
from reelport.wording import format_count

QUEUE = App(name="queue")

Report = Annotated[str, Parameter(help="Its token, or its id in the list and the log.")]


@QUEUE.command(name="list")
def list_queue(
    *,
    all: Annotated[bool, Parameter(help="Also list reports that ended.")] = False,  # noqa: A002 - the option's name
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """List the reports that wait or run.

    Example: reelport queue list --all
    """
    from reelport.server.queue import backlog

    with open_state(data, only_read=True) as (_, db):
        entries = backlog.list_entries(db, unfinished_only=not all)
    rows = [
        {
            "report": each.id,
            "organization": each.organization,
            "state": each.state,
            "place": each.place,
            "attempts": each.attempts,
            "created": each.created_at,
            "reason": each.reason,
        }
        for each in entries
    ]
    none = "There is no report yet." if all else "No report waits or runs: `queue list --all` shows those that ended."
    print_list(rows, as_json=json, none=none)


@QUEUE.command(name="show")
def show_report(report: Report, *, json: PrintJson = False, data: Data = None) -> None:
    """Show everything about a report, and why it failed.

    Example: reelport queue show REPORT
    """
    from reelport.server.queue import backlog

    with open_state(data, only_read=True) as (_, db):
        entry = backlog.get_entry(db, report)
    print_fields({**asdict(entry), "query": entry.query.to_wire()}, as_json=json)


@QUEUE.command(name="cancel")
def cancel_report(report: Report, *, json: PrintJson = False, data: Data = None) -> None:
    """Cancel a report that waits or runs, and free its partner's slot.

    Example: reelport queue cancel REPORT
    """
    from reelport.server.queue import backlog

    with open_state(data) as (_, db):
        ended = backlog.cancel(db, report, datetime.now(UTC))
    print_fields({"report": ended.id, "state": ended.state, "reason": ended.reason}, as_json=json)


_DAMAGED_ROLLUP = "its bytes are not those that were written: delete it, and run reelport rollups build"


def verify(*, json: PrintJson = False, data: Data = None) -> None:
    """Check tables, rollups and reports; status 1 if any isn't as recorded.

    Example: reelport verify
    """
    from reelport.facts.loading.verification import verify as verify_tables
    from reelport.facts.rollups import check_rollups
    from reelport.server.files.retention import check_files
    from reelport.server.state.own_tables import refuse_other_tables

    with open_state(data, only_read=True) as (settings, db):
        refuse_other_tables(db, settings)
        tables = verify_tables(settings.facts_root)
        rollups = check_rollups(settings.facts_root)
        files, file_faults = check_files(db, settings)
    faults = [f"{table.table}: {finding}" for table in tables for finding in table.findings]
    faults += [f"{path}: {_DAMAGED_ROLLUP}" for path in rollups.damaged]
    faults += file_faults
    left = {table.table: table.left for table in tables if table.left}
    if json:
        print_json({"files": files, "faults": faults, "left": left})
    if faults:
        raise StorageError("\n".join(faults))
    if not json:
        print(f"All is as recorded: every table, and {format_count(files, 'finished file')}.")
        for name, paths in left.items():
            print(
                f"{name}: {format_count(len(paths), 'file')} in no commit, such as {paths[0]}: left by a command that "
                "runs or was killed (vacuum deletes such files), or the newest commit is lost (then `load list` lacks "
                "a load)."
            )


def doctor(*, json: PrintJson = False, data: Data = None) -> None:
    """Check this machine and this data directory; the exit status is 1 when something is wrong.

    Example: reelport doctor
    """
    from reelport.server.doctor.checks import run_checks

    found = run_checks(read_settings(data=data))
    rows = [{"well": "yes" if each.well else "NO", "subject": each.subject, "finding": each.sentence} for each in found]
    print_list(rows, as_json=json)
    wrong = [f"{each.subject}: {each.sentence}" for each in found if not each.well]
    if wrong:
        raise StorageError("\n".join(wrong))


STATE = App(name="state")

Place = Annotated[str, Parameter(help="A data directory (SQLite) or postgresql://…; keep the password in ~/.pgpass.")]


@STATE.command(name="copy")
def copy(source: Place, target: Place, *, json: PrintJson = False) -> None:
    """Copy the whole state into an empty database: SQLite to PostgreSQL, or back.

    Stop every process of the service first. The state is copied whole or not at all; the source stays unchanged. Tables
    and report files stay in the data directory; the secret goes along with it.

    Example: reelport state copy restored postgresql://reelport@db.internal/reelport
    """
    from reelport.server.state.state_copy import copy_state

    copied = copy_state(_read_place(source), _read_place(target))
    shown = {"from": copied.source, "to": copied.target, "rows": sum(copied.rows.values())}
    print_fields({**shown, **{name: count for name, count in copied.rows.items() if count}}, as_json=json)
    print(f"Now start the service on {copied.target}, and nothing on {copied.source} any more.", file=sys.stderr)


def _read_place(place: str) -> Settings:
    return use_settings(**{"database_url": place} if is_address(place) else {"database_url": "", "data": Path(place)})


def upgrade(
    *,
    check: Annotated[bool, Parameter(help="Only try the migration, and show what it does.")] = False,
    scratch: Annotated[
        Path | None, Parameter(help="The folder for the temporary copy; otherwise the system's temporary folder.")
    ] = None,
    scratch_database: Annotated[
        str | None, Parameter(help="An empty database to copy a state of PostgreSQL into, emptied afterwards.")
    ] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Bring a data directory to this version, as the first start of this version would.

    `--check` migrates a copy of the state; the service may run.

    Example: reelport upgrade --check
    """
    settings = use_settings(data=data)
    done = _check(settings, scratch, scratch_database) if check else _upgrade(settings)
    lists = {name: "\n  ".join(["", *value]) for name, value in done.items() if isinstance(value, list)}
    print_fields(done if json else done | lists, as_json=json)


def _upgrade(settings: Settings) -> dict[str, object]:
    from reelport.server.state.database import connected, read_state_revision
    from reelport.server.state.revisions import REVISION

    check_existing(settings.data)
    found, started = read_state_revision(settings), time.monotonic()
    with connected(settings):
        seconds = time.monotonic() - started
    return {"from_revision": found, "to_revision": REVISION, "seconds": round(seconds, 3)}


def _check(settings: Settings, scratch: Path | None, scratch_database: str | None) -> dict[str, object]:
    from reelport.server.backup.restore import try_upgrade
    from reelport.server.state.database import read_state_revision
    from reelport.server.state.revisions import REVISION, list_pending

    check_existing(settings.data)
    found = read_state_revision(settings)
    pending, started = list_pending(found), time.monotonic()
    if found is not None:
        try_upgrade(settings, scratch, scratch_database)
    blockers = [each.revision for each in pending if found is not None and not each.backward_compatible]
    return {
        "from_layout": read_layout(settings.data),
        "to_layout": LAYOUT,
        "from_revision": found,
        "to_revision": REVISION,
        "migrations": [f"{each.revision} {each.sentence}" for each in pending],
        "seconds": round(time.monotonic() - started, 3),
        "old_processes": _describe_old_processes(blockers, is_needed=bool(pending)),
    }


def _describe_old_processes(blockers: list[str], *, is_needed: bool) -> str:
    if not is_needed:
        return "They and new ones may run: nothing changes."
    if not blockers:
        return "Those that run go on until they are stopped. One that starts afterwards is refused."
    return f"Stop them first: they can't go on after {', '.join(blockers)}."
