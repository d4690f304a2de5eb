"""Output of commands about facts: tables, a load's progress and result, suggested mappings."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, TextIO

from reelport.cli.output.listing import print_json, print_list
from reelport.engine.memory_size import parse_size
from reelport.errors import ReelportError, UsageError
from reelport.facts.rollups import list_rollups
from reelport.facts.tables import TABLES
from reelport.server.settings import Settings
from reelport.storage.durable import describe_os_error, replace_file, to_storage_error
from reelport.wire import format_utc
from reelport.wording import clean_line, format_count, format_size

if TYPE_CHECKING:
    from reelport.facts.input.files import Progress, ProgressCallback
    from reelport.facts.loading.load import LoadResult, OutsideRows
    from reelport.facts.loading.preview import Preview
    from reelport.facts.loading.undo import UndoPlan
    from reelport.facts.log.history import Load
    from reelport.facts.mapping_suggestion import Suggestion

_FILES_SHOWN = 3
_MISSING_SHOWN = 3


def print_rows(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: on a terminal as other commands do, otherwise as aligned plain text."""
    cells = [[clean_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        print_list([dict(zip(names, row, strict=True)) for row in cells], as_json=False)
        return
    lines = [list(names), *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(names))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def describe_missing_days(days: Sequence[date]) -> str:
    """Say which days lack their rows, what that means and what to do."""
    more = f" and {len(days) - _MISSING_SHOWN} more" if len(days) > _MISSING_SHOWN else ""
    listed = ", ".join(map(str, days[:_MISSING_SHOWN]))
    return (
        f"no rows of {listed}{more}, though each day should have some; no day from there on counts as complete. "
        "Load them; where a day had none, say so: load a file of a header alone with --replace-days DAY"
    )


def print_loads(loads: Sequence[Load]) -> None:
    """Print a row for each load of the history."""
    rows = [
        [
            one.batch,
            one.table,
            format_moment(one.at),
            f"{one.rows:,}",
            f"{one.rejects:,}",
            _format_load_days(one),
            _note(one),
            _list_files(one),
        ]
        for one in loads
    ]
    print_rows(["batch", "table", "when", "rows", "rejects", "days", "note", "files"], rows)


def _format_load_days(one: Load) -> str:
    first, last = one.replaced or ((one.days[0], one.days[-1]) if one.days else (None, None))
    return "" if first is None else str(first) if first == last else f"{first}:{last}"


def _list_files(one: Load) -> str:
    more = len(one.sources) - _FILES_SHOWN
    return " ".join(one.sources[:_FILES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _note(one: Load) -> str:
    if one.undone:
        return "undone"
    if one.left_out:
        return f"{format_count(len(one.left_out), 'day')} left out"
    return "replaced days" if one.replaced else ""


def print_undo_plan(plan: UndoPlan) -> None:
    """Print which load would be undone, and each day's rows to be removed and restored."""
    load = plan.load
    files = f" from {clean_line(_list_files(load))}" if load.sources else ""
    loaded = f"{format_count(load.rows, 'row')} loaded at {format_moment(load.at)}{files}"
    print(f"{load.table}: batch {clean_line(load.batch)}, {loaded}")
    rows = [[str(one.day or "all rows"), f"{one.removed:,}", f"{one.restored:,}"] for one in plan.days]
    if len(rows) > 1:
        totals = (sum(one.removed for one in plan.days), sum(one.restored for one in plan.days))
        rows.append(["total", *(f"{total:,}" for total in totals)])
    print_rows(["day", "rows removed", "rows restored"], rows)


def format_moment(moment: datetime | None) -> str:
    """Format a time for people, in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if moment else ""


def print_result(result: LoadResult, note: str | None, *, again: bool, as_json: bool) -> None:
    """Print what a load did, `again` or not, and a note on its channels."""
    if as_json:
        print_json(asdict(result) | {"note": note})
        return
    if result.already:
        undo = _explain_second_load(result, again=again)
        print(f"{result.table}: nothing changed, batch {result.batch} is loaded already{undo}")
    else:
        print(f"{result.table}: {_rows_and_days(result.rows, result.days, 'loaded')} (batch {result.batch})")
    _print_effects(result, result.days, is_dry=False)
    if result.left_out:
        from reelport.facts.loading.load import format_left_out

        print(f"{result.table}: {format_left_out(result.left_out)}")
    if result.rejects:
        print(f"{result.table}: {format_count(result.rejects, 'row')} rejected, {_format_rejects(result)}")
    _print_outside(result.table, result.outside, "taken")
    if note is not None:
        print(f"{result.table}: {note}")


def _print_effects(found: LoadResult | Preview, days: Sequence[date], *, is_dry: bool) -> None:
    """Print what becomes of rows, names and days beside those that are loaded."""
    would = "would be " if is_dry else ""
    if found.removed is not None:
        days_gone = "the days to replace" if is_dry else "the days that it replaced"
        print(f"{found.table}: {format_count(found.removed, 'row')} {would}removed from {days_gone}")
    if rows := found.later_rows:
        which, shown = ("row is of a day", "it") if rows == 1 else ("rows are of days", "them")
        print(f"{found.table}: {rows:,} {which} later than today (UTC): no report shows {shown} until then")
    if found.renamed:
        get = "would get" if is_dry else "got"
        print(f"{found.table}: {format_count(found.renamed, 'known channel')} {get} another slug, for all partners")
    if found.shared_days:
        from reelport.facts.loading.conflicts import format_shared_days

        print(f"{found.table}: {format_shared_days(found.shared_days, days, is_dry=is_dry)}")


def _explain_second_load(loaded: LoadResult | Preview, *, again: bool) -> str:
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
    full = "which is full (--reject-rows, --reject-bytes)"
    return f"the first {result.rejects_kept:,} are in {result.rejects_file}, {full}"


def _print_outside(table: str, outside: Sequence[OutsideRows], done: str) -> None:
    for one in outside:
        print(f"{table}: {format_count(one.rows, 'row')} {done} all the same (--lenient), {one.reason}")


def print_preview(shown: Preview, note: str | None, *, again: bool, as_json: bool) -> None:
    """Print what a dry run found: first rows, totals over all rows, a note on their channels."""
    if as_json:
        print_json({**_facts(shown), "note": note})
        return
    if shown.rows:
        from reelport.facts.loading.preview import PROBLEM

        used = [name for name in shown.rows[0] if name == PROBLEM or any(row[name] for row in shown.rows)]
        print_rows(used, [[row[name] or "" for name in used] for row in shown.rows])
    if shown.broken:
        which = "" if shown.broken == len(shown.lines) else f"; the first {len(shown.lines):,} of them"
        print(f"{format_count(shown.broken, 'line')} can't be taken{which}:")
        for one in shown.lines:
            print(f"  {clean_line(one.file)} line {one.line}: {clean_line(one.reason)}")
    _print_judged(shown, again=again)
    if note is not None:
        print(f"{shown.table}: {note}")


def _facts(shown: Preview) -> Mapping[str, object]:
    judged = shown.judged
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
        "first_rows": shown.rows,
        "first_broken_lines": [asdict(one) for one in shown.lines],
    }


def _print_judged(shown: Preview, *, again: bool) -> None:
    judged = shown.judged
    if judged.rejects:
        print(f"{shown.table}: {judged.rejects:,} of {format_count(judged.read, 'row')} would be rejected:")
        reasons = []
        for one in judged.reasons:
            place = f"row {one.line} of the mapping's output" if one.file is None else f"{one.file} line {one.line}"
            reasons.append([f"{one.rows:,}", one.example, place])
        print_rows(["rows", "reason, as the first row has it", "first row"], reasons)
    _print_outside(shown.table, judged.outside, "would be taken")
    if shown.already:
        undo = _explain_second_load(shown, again=again)
        print(f"{shown.table}: nothing would change, batch {shown.batch} is loaded already{undo}")
        return
    if shown.left_out:
        rows = sum(one.rows for one in shown.left_out)
        days = ", ".join(str(one.day) for one in shown.left_out)
        print(f"{shown.table}: {format_count(rows, 'row')} of days that were replaced since would be left out: {days}")
    left = {one.day for one in shown.left_out}
    days_landing = [] if shown.refusal else [day for day in judged.days if day not in left]
    _print_effects(shown, days_landing, is_dry=True)
    print(f"{shown.table}: {_rows_and_days(shown.rows_to_load, days_landing, 'would be loaded')}")


EVERY_SECONDS = 5.0


@contextmanager
def show_load(stream: TextIO, every: float = EVERY_SECONDS, *, as_json: bool = False) -> Iterator[ProgressCallback]:
    """Give what shows a load: a bar on a terminal, else a line every few seconds."""
    if stream.isatty() and not as_json:
        from reelport.cli.output.progress import BarLine, ProgressBars

        bars = ProgressBars(stream, 0.0)
        bars.start("reading")
        try:
            yield lambda now: bars.show(
                "", BarLine(_format_state(now), done=now.share or 0, total=None if now.share is None else 1)
            )
        finally:
            bars.stop()
        return
    last: Progress | None = None
    ended, began = Event(), time.monotonic()

    def remember(progress: Progress) -> None:
        nonlocal last
        last = progress

    def print_lines() -> None:
        while not ended.wait(every):
            passed = time.monotonic() - began
            line = f"{_format_state(last)} ({passed:.0f} s)"
            if as_json:
                facts = {"stage": "reading"} if last is None else asdict(last)
                now = format_utc(datetime.now(UTC), "milliseconds")
                line = json.dumps({"event": "progress", "time": now, **facts, "seconds": round(passed, 1)})
            print(line, file=stream, flush=True)

    speaker = Thread(target=print_lines, daemon=True)
    speaker.start()
    try:
        yield remember
    finally:
        ended.set()
        speaker.join()


def _format_state(progress: Progress | None) -> str:
    if progress is None:
        return "reading"
    rows = format_count(progress.rows, "row")
    if progress.done is None or progress.total is None:
        return f"{progress.stage} {rows}"
    share = f" ({100 * (progress.share or 0):.0f}%)"
    if progress.unit == "bytes":
        amounts = f"{format_size(progress.done)} of {format_size(progress.total)}{share}"
        return f"{progress.stage} {amounts}" + (f", {rows}" if progress.rows else "")
    return f"{progress.stage} {progress.done:,} of {format_count(progress.total, 'row')}{share}"


def write_suggestion(
    root: Path, table: str, files: Sequence[Path], to: Path | None, memory: str, *, force: bool, as_json: bool
) -> None:
    """Write a mapping from the files to the table, into `to` or ./TABLE.map.sql.

    Raises UsageError where that file exists, unless `force`. A file that is to be loaded is never overwritten.
    """
    from reelport.facts.mapping_suggestion import format_map, suggest_for_files

    place = to or Path(f"{table}.map.sql")
    found = suggest_for_files(root, table, files, memory)
    if place.exists() and any(place.samefile(file) for file in files):
        raise UsageError(f"{place} is the file that is to be loaded: name another place for the mapping by --map")
    _write_file(place, format_map(found, files, place), force=force)
    command = shlex.join(["reelport", "load", table, *map(str, files), "--map", str(place), "--dry-run"])
    if as_json:
        print_json(_suggestion_as_json(found, place, command))
    else:
        _print_suggestion(found, place, command)


def _write_file(place: Path, text: str, *, force: bool) -> None:
    """Write whole or not at all; into a pipe or device, and through a link."""
    content = text.encode("utf-8", "replace")
    try:
        if force and place.exists() and not place.is_file():
            place.write_bytes(content)
        else:
            replace_file(place.resolve() if force else place, content, is_new=not force)
    except FileExistsError:
        advice = "name another place by --map, or write over it by --force"
        raise UsageError(f"{place} is there already: {advice}") from None
    except OSError as error:
        raise to_storage_error(f"{place} can't be written: {describe_os_error(error, place)}", error) from error


def _print_suggestion(found: Suggestion, place: Path, command: str) -> None:
    for guess in found.guesses:
        print(f"  {guess.column.name}: {clean_line(guess.given.name)!r}, {guess.confidence}")
    missing = [gap.column.name for gap in found.gaps if gap.column.required]
    count = format_count(len(found.guesses), "column")
    print(f"{clean_line(str(place))}: {count} of {found.table.name} found in the file; look them over.")
    if missing:
        print(f"To fill in before it loads: {', '.join(missing)}.")
    print(f"Then try it: {clean_line(command)}")


def _suggestion_as_json(found: Suggestion, place: Path, command: str) -> dict[str, object]:
    return {
        "file": place,
        "found": [
            {
                "column": guess.column.name,
                "from": guess.given.name,
                "confidence": guess.confidence,
                "why": guess.why,
                "sql": guess.way.sql,
            }
            for guess in found.guesses
        ],
        "to_fill_in": [gap.column.name for gap in found.gaps if gap.column.required],
        "left_out": [gap.column.name for gap in found.gaps if not gap.column.required],
        "unused": found.unused,
        "command": command,
    }


def build_after_load(settings: Settings, table: str, memory: str) -> None:
    """Build the table's rollups, if the settings say so. An error is a warning."""
    if settings.rollups != "after-load":
        return
    from reelport.engine.rollups.build import build_rollups

    root = settings.facts_root
    try:
        space = parse_size(settings.rollup_space)
        for month in build_rollups(root, list_rollups(root, table), space=space, memory=memory):
            if month.problem is not None:
                failed = f"{month.rollup}: {month.month} is not built: {month.problem}"
                print(f"reelport: warning: {failed}", file=sys.stderr)
    except ReelportError as error:
        print(f"reelport: warning: rollups are not built: {error}; run `reelport rollups build`", file=sys.stderr)
