"""`reelport sync`: keep named reports up to date in a DuckDB file or a Parquet folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reelport.cli.arguments.options import (
    IN_FORCE,
    Again,
    Deadline,
    Json,
    Quiet,
    ServiceOptions,
    WindowDays,
    check_windows,
    parse_day_word,
)
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.output.listing import PrintJson
from reelport.client.steps import DEADLINE
from reelport.errors import ReelportError, UsageError
from reelport.sync import spec_file
from reelport.sync.spec import LOOKBACK, SETTLE, Spec
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
            now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
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


SYNC = App(
    name="sync",
    help="Keep a local copy of reports up to date: a DuckDB file or a Parquet folder.",
    help_format="plaintext",
)

Names = Annotated[list[str] | None, Parameter(negative=(), help="Names of reports in the file; without names, all.")]
Sheet = Annotated[Path, Parameter(["--file", "-f"], help="The file that names the reports.")]
AllowEmpty = Annotated[
    bool, Parameter(negative=(), help="Accept an empty window for days that have rows: the rows are deleted.")
]
EveryDay = Annotated[bool, Parameter(negative=(), help="Read every day again, also verified days.")]
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
lookback = {lookback}  # days that are read again while their numbers move; `reelport sync verify` measures it
settle = {settle}  # days at the end that are not read yet: today isn't over

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
    from reelport.client.files.part import translate_io_errors

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
    from reelport.cli.arguments.options import connect, read_settings
    from reelport.cli.client_commands.sync_output import SyncProgress, range_options
    from reelport.cli.output.progress import reporting
    from reelport.sync import sync_run

    facts = {"file": str(file.absolute()), "reports": names or []}
    with run_on_failure(on_failure, facts), reporting(json=json, quiet=quiet, output=str(file)) as reporter:
        settings = partial(read_settings, service)
        values, days = partial(check_windows, window_days), {"--from": start, "--to": end}
        specs, first, last = _read_specs_and_days(file, names, days, values, beside=settings)
        rest = [*_format_other_options(file, service, window_days), *(["--allow-empty"] if allow_empty else [])]
        reporter.group, reporter.resume = "sync", ["run", *(names or []), *rest, *range_options(first, last)]
        with connect(service) as client:
            loaded = sync_run.run(
                specs,
                client.with_options(again=again, windows=window_days),
                tell=SyncProgress(reporter),
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
    from reelport.cli.client_commands.sync_output import print_coverage
    from reelport.sync.coverage import coverage_of

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
    from reelport.cli.arguments.options import connect, read_settings
    from reelport.cli.client_commands.sync_output import SyncProgress, comparisons_as_json, print_comparison
    from reelport.cli.output.progress import reporting
    from reelport.sync import comparison

    settings = partial(read_settings, service)
    values, days = partial(check_windows, window_days), {"--start": start, "--end": end}
    specs, first, last = _read_specs_and_days(file, names, days, values, beside=settings)
    rest = _format_other_options(file, service, window_days)
    with reporting(json=False, quiet=quiet or json) as reporter, connect(service) as connected:
        reporter.group, reporter.resume = "sync", ["verify", *(names or []), *rest]
        compared, client = [], connected.with_options(again=again, windows=window_days)
        for spec in specs:
            tell = SyncProgress(reporter)
            found = comparison.verify(spec, client, tell=tell, start=first, end=last, deadline=deadline)
            compared.append(found)
            if not json:
                reporter.stop_bars()
                print_comparison(found, rest)
        if json:
            comparisons_as_json(compared, rest)


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
    words = ["--file", str(file)] if file != Path(spec_file.NAME) else []
    return [*words, *service.words(), *([] if window_days is None else ["--window-days", str(window_days)])]
