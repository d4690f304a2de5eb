"""Print a load's or dry run's result: sentences and tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from reelport.cli.service_commands.facts_output import print_rows
from reelport.facts.tables import TABLES
from reelport.wording import clean_line, format_count

if TYPE_CHECKING:
    from datetime import date

    from reelport.facts.input.row_writer import OutsideRows
    from reelport.facts.loading.conflicts import SharedDay
    from reelport.facts.loading.load import LoadResult
    from reelport.facts.loading.preview import Preview


def to_json(value: object) -> str:
    """Format a value as indented JSON; days and paths become texts."""
    text = json.dumps(value, default=str, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "backslashreplace").decode()  # half a character, of a file's name, as JSON escapes it


def print_result(result: LoadResult, note: str | None, *, again: bool, as_json: bool) -> None:
    """Print what a load did, `again` or not, and a note on its channels."""
    if as_json:
        print(to_json(asdict(result) | {"note": note}))
        return
    if result.already:
        undo = _see_undo(result, again=again)
        print(f"{result.table}: nothing changed, batch {result.batch} is loaded already{undo}")
    else:
        print(f"{result.table}: {_rows_and_days(result.rows, result.days, 'loaded')} (batch {result.batch})")
    if result.removed is not None:
        print(f"{result.table}: {format_count(result.removed, 'row')} removed from the days that it replaced")
    _print_later_rows(result.table, result.later_rows)
    if result.renamed:
        print(f"{result.table}: {format_count(result.renamed, 'known channel')} got another slug, for all partners")
    if result.shared_days:
        _print_shared_days(result.table, result.shared_days, result.days, is_dry=False)
    if result.left_out:
        from reelport.facts.loading.changes import format_left_out

        print(f"{result.table}: {format_left_out(result.left_out)}")
    if result.rejects:
        print(f"{result.table}: {format_count(result.rejects, 'row')} rejected, {_format_rejects(result)}")
    _print_outside(result.table, result.outside, "taken")
    if note is not None:
        print(f"{result.table}: {note}")


def _print_later_rows(table: str, rows: int) -> None:
    if rows:
        which, shown = ("is of a day", "it") if rows == 1 else ("are of days", "them")
        print(
            f"{table}: {format_count(rows, 'row')} {which} later than today (UTC): no report shows {shown} until then"
        )


def _print_shared_days(table: str, shared: Sequence[SharedDay], days: Sequence[date], *, is_dry: bool) -> None:
    from reelport.facts.loading.conflicts import format_shared_days

    print(f"{table}: {format_shared_days(shared, days, is_dry=is_dry)}")


def _see_undo(loaded: LoadResult | Preview, *, again: bool) -> str:
    """Say how to load facts once more; nothing stands in the way of objects, which merge."""
    if not TABLES[loaded.table].is_fact:
        return ""
    undo = f"first run: reelport load undo {loaded.batch}"
    if not again:
        return f". To load it on other terms, such as --lenient, {undo}"
    return (
        ". --again adds files that another batch holds, and never just the same files twice. To load them anew, "
        f"{undo}\n{loaded.table}: where their rows are to count twice, name each file twice in the load that follows, "
        "with --again"
    )


def _rows_and_days(rows: int, days: Sequence[date], done: str) -> str:
    when = f", {format_count(len(days), 'day')} from {days[0]} to {days[-1]}" if days else ""
    return f"{format_count(rows, 'row')} {done}{when}"


def _format_rejects(result: LoadResult) -> str:
    if result.already and TABLES[result.table].is_fact:
        return "when it was loaded"
    if result.rejects_file is None:
        return "none of them kept"
    if result.rejects_kept == result.rejects:
        return f"see {result.rejects_file}"
    return (
        f"the first {result.rejects_kept:,} are in {result.rejects_file}, which is full (--reject-rows, --reject-bytes)"
    )


def _print_outside(table: str, outside: Sequence[OutsideRows], done: str) -> None:
    for one in outside:
        print(f"{table}: {format_count(one.rows, 'row')} {done} all the same (--lenient), {one.reason}")


def print_preview(shown: Preview, note: str | None, *, again: bool, as_json: bool) -> None:
    """Print what a dry run found: first rows, totals over all rows, a note on their channels."""
    if as_json:
        print(to_json({**_facts(shown), "note": note}))
        return
    names = (*shown.columns, "problem")
    rows = [(*row, reason) for row, reason in zip(shown.rows, shown.reasons, strict=True)]
    used = [place for place, name in enumerate(names) if name == "problem" or any(row[place] for row in rows)]
    if rows:
        print_rows([names[place] for place in used], [[row[place] or "" for place in used] for row in rows])
    _print_broken_lines(shown)
    _print_judged(shown, again=again)
    if note is not None:
        print(f"{shown.table}: {note}")


def _facts(shown: Preview) -> Mapping[str, object]:
    judged = shown.judged
    rows = [
        dict(zip((*shown.columns, "problem"), (*row, reason), strict=True))
        for row, reason in zip(shown.rows, shown.reasons, strict=True)
    ]
    return {
        "table": shown.table,
        "batch": shown.batch,
        "rows": shown.rows_to_load,
        "rejects": judged.rejects,
        "read": judged.read,
        "days": list(judged.days),
        "reasons": [asdict(one) for one in judged.reasons],
        "outside": [asdict(one) for one in judged.outside],
        "already": shown.already,
        "left_out": [asdict(one) for one in shown.left_out],
        "shared_days": [asdict(one) for one in shown.shared_days],
        "removed": shown.removed,
        "later_rows": shown.later_rows,
        "renamed": shown.renamed,
        "refusal": shown.refusal,
        "first_rows": rows,
        "first_broken_lines": [asdict(one) for one in shown.lines],
    }


def _print_broken_lines(shown: Preview) -> None:
    if not shown.broken:
        return
    which = "" if shown.broken == len(shown.lines) else f"; the first {len(shown.lines):,} of them"
    print(f"{format_count(shown.broken, 'line')} can't be taken{which}:")
    for one in shown.lines:
        print(f"  {clean_line(one.file)} line {one.line}: {clean_line(one.reason)}")


def _print_judged(shown: Preview, *, again: bool) -> None:
    judged = shown.judged
    if judged.rejects:
        print(f"{shown.table}: {judged.rejects:,} of {format_count(judged.read, 'row')} would be rejected:")
        reasons = [[f"{one.rows:,}", one.example, _format_place(one.file, one.line)] for one in judged.reasons]
        print_rows(["rows", "reason, as the first row has it", "first row"], reasons)
    _print_outside(shown.table, judged.outside, "would be taken")
    if shown.already:
        undo = _see_undo(shown, again=again)
        print(f"{shown.table}: nothing would change, batch {shown.batch} is loaded already{undo}")
        return
    if shown.left_out:
        rows = sum(one.rows for one in shown.left_out)
        days = ", ".join(str(one.day) for one in shown.left_out)
        print(f"{shown.table}: {format_count(rows, 'row')} of days that were replaced since would be left out: {days}")
    left = {one.day for one in shown.left_out}
    days_landing = [] if shown.refusal else [day for day in judged.days if day not in left]
    if shown.removed is not None:
        print(f"{shown.table}: {format_count(shown.removed, 'row')} would be removed from the days to replace")
    _print_later_rows(shown.table, shown.later_rows)
    if shown.renamed:
        print(f"{shown.table}: {format_count(shown.renamed, 'known channel')} would get another slug, for all partners")
    if shown.shared_days:
        _print_shared_days(shown.table, shown.shared_days, days_landing, is_dry=True)
    print(f"{shown.table}: {_rows_and_days(shown.rows_to_load, days_landing, 'would be loaded')}")


def _format_place(file: str | None, line: int) -> str:
    return f"row {line} of the mapping's output" if file is None else f"{file} line {line}"
