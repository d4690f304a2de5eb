"""`reelport sync`: keep named reports up to date in a DuckDB file or a Parquet folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, cast

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reelport.cli.arguments.options import (
    IN_FORCE,
    Again,
    Deadline,
    Json,
    Quiet,
    ServiceOptions,
    WindowDays,
    check_windows,
    connect,
    format_flags,
    parse_day_word,
    read_settings,
)
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.output.listing import PrintJson, quote_command
from reelport.cli.output.listing import print_json as as_json
from reelport.cli.output.progress import JsonEvents, ProgressLines, reporting
from reelport.client.events import Bisected, Event
from reelport.client.files.download_target import translate_io_errors
from reelport.client.settings.config import DEADLINE
from reelport.errors import ReelportError, UsageError
from reelport.sync import comparison, spec_file, sync_run
from reelport.sync.comparison import Comparison, Number
from reelport.sync.coverage import Coverage, coverage_of
from reelport.sync.events import Failed, Loaded, OfWindow, Planned, SyncEvent, Tell, describe_event
from reelport.sync.spec import LOOKBACK, SETTLE, Spec
from reelport.wire import format_utc
from reelport.wording import format_count

_PATIENCE = 60.0  # seconds that the command may take. Then it is ended, with all that it has started.
_STDERR = 2


@contextmanager
def run_on_failure(command: str | None, facts: Mapping[str, object], *, patience: float = _PATIENCE) -> Iterator[None]:
    """Run a shell command if the block fails; its stdin is failure and facts as a line of JSON.

    The block's error goes on unchanged. What the command prints goes to stderr. A stop is no failure.
    """
    try:
        yield
    except ReelportError as error:
        if command and not isinstance(error.__context__, KeyboardInterrupt):
            failure = {"status": error.exit_status, "code": error.code, "error": str(error)}
            now = format_utc(datetime.now(UTC))
            _run_user_command(command, json.dumps({"time": now, **facts, **failure}), patience)
        raise


def _run_user_command(command: str, line: str, patience: float) -> None:
    sys.stderr.flush()
    try:
        process = subprocess.Popen(  # noqa: S602 - the user's own command line, as in a crontab; no fact is put into it
            command, shell=True, stdin=subprocess.PIPE, stdout=_STDERR, start_new_session=True
        )
    except OSError as error:
        _warn(f"can't be run: {error}")
        return
    try:
        process.communicate(f"{line}\n".encode(), timeout=patience)
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _warn(f"took longer than {format_count(round(patience), 'second')} and was ended.")
        return
    if process.returncode:
        _warn(f"ended with status {process.returncode}.")


def _warn(what: str) -> None:
    print(f"reelport: warning: the command of --on-failure {what}", file=sys.stderr)


SYNC = App(name="sync", help_format="plaintext")

Names = Annotated[list[str] | None, Parameter(help="Names of reports in the file; without names, all.")]
Sheet = Annotated[Path, Parameter(["--file", "-f"], help="The file that names the reports.")]
AllowEmpty = Annotated[bool, Parameter(help="Accept an empty window for days that have rows: the rows are deleted.")]
EveryDay = Annotated[bool, Parameter(help="Read every day again, also verified days.")]
From = Annotated[str | None, Parameter("--from", help="Read only these days again, verified or not: the first day.")]
To = Annotated[str | None, Parameter("--to", help="The last day; otherwise the last day of the copy.")]

OnFailure = Annotated[
    str | None,
    Parameter(help="A shell command to run if this run fails. Its stdin gets the failure as a line of JSON."),
]

_FIRST = """\
# Reports that `reelport sync run` keeps up to date. `reelport fields list` shows what can be asked.

[defaults]
destination = "reports.duckdb"  # or the name of a folder, for Parquet files
start = {start}
lookback = {lookback}  # days that are read again, because their numbers may still change: see `reelport sync verify`
settle = {settle}  # newest days that are not read yet: today is not over

[reports.views_by_day]
metrics = ["VIEWS", "TIME_WATCHED_SECONDS"]
dimensions = ["DAY", "VIDEO_ID", "VIDEO_TITLE"]
"""
_DAYS = 30


@SYNC.command
def init(*, file: Sheet = Path(spec_file.NAME)) -> None:
    """Write a file to begin with.

    Example: reelport sync init
    """
    start = datetime.now(UTC).date() - timedelta(days=_DAYS)
    text = _FIRST.format(start=start, lookback=LOOKBACK, settle=SETTLE)
    with translate_io_errors(file):
        existing = file.read_text("utf-8") if file.exists() else ""
        if "[defaults]" in existing or "[reports" in existing:
            raise UsageError(f"{file} names reports already: nothing was changed.")
        file.write_text(f"{existing.rstrip()}\n\n{text}" if existing.strip() else text, "utf-8")
    print(file)


@SYNC.command
def run(
    names: Names = None,
    /,
    *,
    file: Sheet = Path(spec_file.NAME),
    allow_empty: AllowEmpty = False,
    every_day: EveryDay = False,
    again: Again = False,
    window_days: WindowDays = None,
    start: From = None,
    end: To = None,
    service: ServiceOptions = IN_FORCE,
    deadline: Deadline = DEADLINE,
    on_failure: OnFailure = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring copies up to date: read missing days and those that still change, and replace them.

    Example: reelport sync run views_by_day

    If it is stopped, each window has its old or its new rows. The same command continues.
    """
    facts = {"file": str(file.absolute()), "reports": names or []}
    with run_on_failure(on_failure, facts), reporting(json=json, quiet=quiet, output=str(file)) as reporter:
        settings = partial(read_settings, service)
        values, days = partial(check_windows, window_days), {"--from": start, "--to": end}
        specs, first, last = _read_specs_and_days(file, names, days, values, beside=settings)
        rest = [*_format_other_options(file, service, window_days), *format_flags({"--allow-empty": allow_empty})]
        reporter.group, reporter.resume = (
            "sync",
            ["run", *(names or []), *rest, *format_flags({"--from": first, "--to": last})],
        )
        with connect(service) as client:
            loaded = sync_run.run(
                specs,
                client.with_options(again=again, windows=window_days),
                tell=report_sync(reporter),
                deadline=deadline,
                allow_empty=allow_empty,
                every_day=every_day,
                start=first,
                end=last,
            )
        reporter.stop_bars()
        reporter.report_success(windows=len(loaded), rows=sum(one.rows for one in loaded))


@SYNC.command
def status(names: Names = None, /, *, file: Sheet = Path(spec_file.NAME), json: PrintJson = False) -> None:
    """Show which days are there, verified or missing. Sends no request.

    Example: reelport sync status
    """
    print_coverage([coverage_of(spec) for spec in spec_file.read(file, only=names or ())], json=json)


@SYNC.command
def verify(
    names: Names = None,
    /,
    *,
    file: Sheet = Path(spec_file.NAME),
    start: Annotated[str | None, Parameter(help="The first day to compare; otherwise about two weeks ago.")] = None,
    end: Annotated[str | None, Parameter(help="The last day; otherwise the last day of the copy.")] = None,
    service: ServiceOptions = IN_FORCE,
    again: Again = False,
    window_days: WindowDays = None,
    deadline: Deadline = DEADLINE,
    json: PrintJson = False,
    quiet: Quiet = False,
) -> None:
    """Read days again and show the lookback that catches their changes. Changes nothing.

    Example: reelport sync verify views_by_day
    """
    settings = partial(read_settings, service)
    values, days = partial(check_windows, window_days), {"--start": start, "--end": end}
    specs, first, last = _read_specs_and_days(file, names, days, values, beside=settings)
    rest = _format_other_options(file, service, window_days)
    with reporting(json=False, quiet=quiet or json) as reporter, connect(service) as connected:
        reporter.group, reporter.resume = "sync", ["verify", *(names or []), *rest]
        compared, client = [], connected.with_options(again=again, windows=window_days)
        for spec in specs:
            tell = report_sync(reporter)
            found = comparison.verify(spec, client, tell=tell, start=first, end=last, deadline=deadline)
            compared.append(found)
            if not json:
                reporter.stop_bars()
                print_comparison(found, rest)
        if json:
            as_json([_comparison_as_json(each, rest) for each in compared])


def _read_specs_and_days(
    file: Path,
    names: list[str] | None,
    days: Mapping[str, str | None],
    values: Callable[[], object],
    *,
    beside: Callable[[], object],
) -> tuple[tuple[Spec, ...], date | None, date | None]:
    read = partial(spec_file.read, file, only=names or ())
    refuse_together(read, partial(_parse_days, days), values, beside=[beside])
    return read(), *_parse_days(days)


def _parse_days(given: Mapping[str, str | None]) -> tuple[date | None, date | None]:
    wrong: list[str] = []
    today = datetime.now(UTC).date()
    first, last = (None if text is None else parse_day_word(name, text, today, wrong) for name, text in given.items())
    if first and last and first > last:
        wrong.append(f"{list(given)[1]}: {last} lies before {first}.")
    if wrong:
        raise UsageError("\n".join(wrong))
    return first, last


def _format_other_options(file: Path, service: ServiceOptions, window_days: int | None) -> list[str]:
    words = format_flags({"--file": None if file == Path(spec_file.NAME) else file})
    return [*words, *service.words(), *format_flags({"--window-days": window_days})]


def report_sync(printer: ProgressLines | JsonEvents) -> Tell:
    """Return a listener of a sync: JSON to a program, words and bars to a person."""
    windows = done = 0

    def tell(event: SyncEvent) -> None:
        nonlocal windows, done
        match printer, event:
            case JsonEvents() as program, OfWindow(spec, window, happened):
                program.report_event({"spec": spec, "window": window}, happened)
            case JsonEvents() as program, _:
                program(cast("Event", event))  # it prints whatever is a dataclass
            case ProgressLines() as person, OfWindow(spec, window, happened):
                windows += isinstance(happened, Bisected)
                person.report_event(f"{spec} {window}", happened)
            case ProgressLines() as person, Planned(windows=planned) if planned:
                windows += len(planned)  # Each is told when it begins.
            case ProgressLines() as person, Loaded(spec=spec, window=window) | Failed(spec=spec, window=window):
                done += 1
                person.finish_window(f"{spec} {window}", done, windows)
                stops = isinstance(event, Failed) and event.stops  # The run's end says why.
                for line in [f"{spec} {window}: not synced."] if stops else describe_event(event):
                    person.say(line)
            case ProgressLines() as person, _:
                for line in describe_event(event):
                    person.say(line)

    return tell


def print_coverage(standings: Iterable[Coverage], *, json: bool) -> None:
    """Print the coverage of copies: each one's days by their state, or JSON."""
    standings = tuple(standings)
    if json:
        as_json([_coverage_as_json(each) for each in standings])
        return
    console = Console(highlight=False, soft_wrap=True)
    for each in standings:
        console.print(_headline(each))
        days = {"verified": each.verified, "moving, read again": each.moving, "missing": each.missing}
        console.print("\n".join(f"  {name}: {found}" for name, found in days.items() if found.spans), markup=False)


def print_comparison(found: Comparison, options: Sequence[str] = ()) -> None:
    """Print how far a copy's numbers have changed; `options` go into the suggested command."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    if found.moved:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("day", "", "rows", "gone", "come", *found.moved[0].sums):
            table.add_column(name, justify="left" if name in {"day", ""} else "right")
        for each in found.moved:
            rows = f"{each.before:,}" if each.before == each.now else f"{each.before:,} → {each.now:,}"
            sums = [_format_change(before, now) for before, now in each.sums.values()]
            state = "verified" if each.verified else "moving"
            table.add_row(str(each.day), state, rows, f"{each.gone:,}", f"{each.come:,}", *sums)
        console.print(table)
    console.print(_format_verdict(found, options))


def _headline(each: Coverage) -> Text:
    line = Text().append(each.spec.name, style="bold")
    place, here = each.spec.place.path, Path.cwd()
    line.append(f"  {place.relative_to(here) if place.is_relative_to(here) else place}, ")
    line.append(f"{format_count(each.rows, 'row')}; {format_count(len(each.verified), 'day')} verified")
    line.append(f", {len(each.moving):,} moving, {len(each.missing):,} missing")
    if each.last_success:
        line.append(f"; last brought up to date on {each.last_success:%Y-%m-%d %H:%M} UTC")
    if each.outdated:
        line.append("; the report asks for something else now: the next run reads every day again", style="yellow")
    return line


def _coverage_as_json(each: Coverage) -> dict[str, object]:
    return {
        "report": each.spec.name,
        "destination": str(each.spec.place),
        "kind": each.spec.place.kind,
        "service": each.service or None,
        "rows": each.rows,
        "outdated": each.outdated,
        "last_success": format_utc(each.last_success) if each.last_success else None,
        "wanted": each.wanted.to_json(),
        "verified": each.verified.to_json(),
        "moving": each.moving.to_json(),
        "missing": each.missing.to_json(),
    }


def _comparison_as_json(found: Comparison, options: Sequence[str]) -> dict[str, object]:
    return {
        "report": found.spec.name,
        "start": found.span[0].isoformat(),
        "end": found.span[1].isoformat(),
        "days": found.days,
        "absent": found.absent.to_json(),
        "lookback": found.spec.lookback,
        "lookback_needed": found.lookback,
        "read_again_by": _reread_command(found, options),
        "moved": [
            {
                "day": each.day.isoformat(),
                "verified": each.verified,
                "rows": [each.before, each.now],
                "rows_gone": each.gone,
                "rows_come": each.come,
                "sums": {name: [str(before), str(now)] for name, (before, now) in each.sums.items()},
            }
            for each in found.moved
        ],
    }


def _format_change(before: Number, now: Number) -> str:
    if before == now:
        return "="
    share = f" ({float(now - before) / float(before):+.1%})" if before else ""
    return f"{before:,} → {now:,}{share}"


def _reread_command(found: Comparison, options: Sequence[str]) -> str | None:
    if found.overdue is None:
        return None
    days = format_flags(dict(zip(("--from", "--to"), found.overdue, strict=True)))
    return quote_command(["reelport", "sync", "run", found.spec.name, *days, *options])


def _format_verdict(found: Comparison, options: Sequence[str]) -> Text:
    days = f"{format_count(found.days, 'day')}, {found.span[0]} to {found.span[1]}"
    absent = f" Not compared, for the copy doesn't have them: {found.absent}." if found.absent.spans else ""
    moved = f"{format_count(len(found.moved), 'month')} of the" if found.spec.monthly else f"{len(found.moved)} of"
    if found.lookback is None:
        return Text(f"{found.spec.name}: nothing has moved in {days}.{absent}")
    lookback = format_count(found.spec.lookback, "day")
    late = sum(each.verified for each in found.moved)
    text = f"{found.spec.name}: {moved} {days}, moved after being read. "
    if late:
        text += (
            f"Taken to stand still before: {late}. A lookback of {lookback} is too short, {found.lookback} would have "
            f"caught all. `{_reread_command(found, options)}` reads these days again."
        )
    else:
        text += f"All of them are read again by the next run (a lookback of {lookback})."
    return Text(text + absent)
