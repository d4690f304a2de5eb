"""`reelport jobs`: reports asked for on this machine, their slots, how to resume each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reelport.cli.arguments.options import format_options, is_confirmed
from reelport.cli.output.listing import PrintJson, print_fields, print_json, print_list, quote_command
from reelport.client.ledger import Ledger, resolve_ledger
from reelport.client.ledger_rows import TOKEN_STATES, Row, State
from reelport.client.ledger_slots import held_until, is_in_flight
from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.wording import format_count

JOBS = App(name="jobs", help_format="plaintext")

_RECENT = timedelta(hours=48)
_AGE = re.compile(r"(\d{1,4})([dh])")

Job = Annotated[str, Parameter(help="Its number in `jobs list`, or its token.")]


@JOBS.command(name="list")
def list_jobs(
    *,
    all_: Annotated[bool, Parameter(name="--all", help="Also show older and forgotten reports.")] = False,
    json: PrintJson = False,
) -> None:
    """List reports of the last 48 hours, and those that hold a slot. Sends no request.

    Example: reelport jobs list
    """
    now = datetime.now(UTC)
    ledger = _ledger()
    known = ledger.list_rows()
    recent = [row for row in known if now - row.created < _RECENT and row.state is not State.FORGOTTEN]
    rows = [row for row in known if all_ or _describe_slot(row, now) or row in recent]
    if json:
        print_json([_details(row, now) for row in rows])
        return
    line = _select_for_terminal if sys.stdout.isatty() else _summarize
    older = f"No report of the last 48 hours, and none that holds a slot; `jobs list --all` shows {len(known):,} older."
    empty = f"No report is remembered yet: `reelport report run` enters each that it asks for into {ledger.path}."
    print_list([line(row, now) for row in rows], as_json=False, none=older if known else empty)


@JOBS.command
def show(job: Job, /, *, json: PrintJson = False) -> None:
    """Show everything about a report, and the command that continues it. Sends no request.

    Example: reelport jobs show 1
    """
    row = _find_row(_ledger(), job)
    details = _details(row, datetime.now(UTC))
    if json:
        print_json(details)
        return
    words = {False: "no", True: "yes"}
    shown = {name: words[value] if isinstance(value, bool) else value for name, value in details.items()}
    print_fields({name: value for name, value in shown.items() if value is not None}, as_json=False)


@JOBS.command
def forget(*jobs: Job, json: PrintJson = False) -> None:
    """Forget reports: they hold no slot, and are requested again. Sends no request.

    Example: reelport jobs forget 1
    """
    if not jobs:
        raise UsageError("Name the reports to forget: their numbers in 'reelport jobs list', or their tokens.")
    ledger = _ledger()
    rows = [_find_row(ledger, job) for job in jobs]
    for row in rows:
        ledger.forget(row)
    print_list([{"id": row.id, "token": row.token, "state": State.FORGOTTEN} for row in rows], as_json=json)


@JOBS.command
def prune(
    *,
    older_than: Annotated[str, Parameter(help="The age since the request: 30d for 30 days, 12h for 12 hours.")],
    dry_run: Annotated[bool, Parameter(help="List the reports, but delete nothing.")] = False,
    yes: Annotated[bool, Parameter(help="Do not ask for confirmation; programs need this.")] = False,
    json: PrintJson = False,
) -> None:
    """Delete old reports from the ledger, but no files, unfinished or undelivered reports.

    Example: reelport jobs prune --older-than 30d --dry-run
    """
    now = datetime.now(UTC)
    ledger, before = _ledger(), now - _parse_age(older_than)
    rows = ledger.list_prunable(before)
    if rows and not dry_run:
        living = sum(row.state in TOKEN_STATES and now < row.expires for row in rows)
        lost = f" {living:,} of them could still be had without asking again." if living else ""
        question = f"Remove {format_count(len(rows), 'report')} from the ledger?{lost} Files stay."
        if not yes and not is_confirmed(question):
            return
        rows = ledger.prune(before)
    none = f"Nothing in {ledger.path} is older than {older_than} and can be removed."
    shown = [
        {
            "id": row.id,
            "state": row.state,
            "asked": row.asked or row.created,
            "service": row.service,
            "report": _report(row.query, ","),
        }
        for row in rows
    ]
    print_list(shown, as_json=json, none=none)
    if rows:
        done = "would be removed" if dry_run else "removed"
        print(f"{format_count(len(rows), 'report')} {done} from {ledger.path}.", file=sys.stderr)


def _parse_age(text: str) -> timedelta:
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"--older-than: {text[:80]!r} is no age: give days or hours, such as 30d or 12h.")
    return timedelta(**{{"d": "days", "h": "hours"}[found[2]]: int(found[1])})


def _ledger() -> Ledger:
    return resolve_ledger(None, os.environ, lambda: datetime.now(UTC))


def _find_row(ledger: Ledger, job: str) -> Row:
    word = job.strip()
    number = int(word) if word.isascii() and word.isdecimal() and len(word) < 19 else 0  # noqa: PLR2004 - SQLite's numbers
    row = ledger.find(word) or (ledger.get(number) if number else None)
    if row is None:
        raise UsageError(f"There is no report {word[:80]!r} in {ledger.path}: see 'reelport jobs list --all'.")
    return row


def _summarize(row: Row, now: datetime) -> Mapping[str, object]:
    return {
        "id": row.id,
        "state": f"{row.state}, delivered" if row.delivered else row.state,
        "slot": _describe_slot(row, now),
        "process": row.find_worker(now),
        "asked": row.asked or row.created,
        "service": row.service,
        "report": _report(row.query, ","),
        "rows": row.rows,
        "file": _find_file(row),
        "token": row.token,
    }


def _select_for_terminal(row: Row, now: datetime) -> Mapping[str, object]:
    return {
        "id": row.id,
        "state": "delivered" if row.delivered else row.state,
        "slot": _describe_slot(row, now),
        "asked (UTC)": f"{row.asked or row.created:%m-%d %H:%M}",
        "service": row.service.partition("://")[2] or row.service,
        "report": _report(row.query, ", "),
    }


def _report(query: ReportQuery, comma: str) -> str:
    split = f" by {comma.join(query.dimensions)}" if query.dimensions else ""
    return f"{query.start}..{query.end} {comma.join(query.metrics)}{split}"


def _describe_slot(row: Row, now: datetime) -> str | None:
    if not is_in_flight(row, now, reelport=False):
        return None
    guessed = row.token is None and not row.is_alive(now)
    return f"until {held_until(row):%H:%M} UTC" if guessed else "yes"


def _details(row: Row, now: datetime) -> Mapping[str, object]:
    file = _find_file(row)
    again = ["reelport", "report", "run", *format_options(row.query), *(["-o", str(file)] if file else [])]
    return {
        "id": row.id,
        "token": row.token,
        "state": row.state,
        "meaning": row.state.sentence,
        "delivered": row.delivered,
        "slot": _describe_slot(row, now),
        "process": row.find_worker(now),
        "service": row.service,
        "key": row.identity,
        "query": row.query.to_wire(),
        "created": row.created,
        "asked": row.asked,
        "looked": row.looked,
        "finished": row.finished,
        "expires": row.expires if row.state in TOKEN_STATES else None,
        "file": file,
        "bytes": row.bytes,
        "rows": row.rows,
        "sha256": row.sha256,
        "proof": row.proof,
        "error": row.error,
        "again": quote_command([*again, "--url", row.service]),
    }


def _find_file(row: Row) -> Path | None:
    return row.path if row.path is not None and row.path.exists() else None
