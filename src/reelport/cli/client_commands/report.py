"""`reelport report`: ask, wait, download. The same command, run again, resumes."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport.catalog import Limit
from reelport.cli.arguments.options import (
    IN_FORCE,
    Again,
    AnyColumns,
    Deadline,
    Fresh,
    Json,
    MaxWindows,
    QueryOptions,
    Quiet,
    ServiceOptions,
    Token,
    WindowDays,
    check_windows,
    connect,
    format_flags,
    format_options,
    read_settings,
)
from reelport.cli.arguments.query_problems import refuse_unsendable
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.output.delivery import AS_IT_CAME, Delivery, Format, format_of, refuse_early, write_report
from reelport.cli.output.progress import ProgressReporter, reporting
from reelport.client.files.download_target import resolve_target, translate_io_errors
from reelport.client.files.locks import remove_folder, try_lock_folder
from reelport.client.settings.config import DEADLINE, resolve_home
from reelport.client.steps import to_seconds
from reelport.errors import QueryRefused, UsageError
from reelport.local_path import refuse_address
from reelport.query import ReportQuery
from reelport.wire import Code

if TYPE_CHECKING:
    from reelport.cli.output.chart import ChartOutput
    from reelport.client.events import Progress
    from reelport.client.flows.download import Downloaded
    from reelport.client.reports import Reports

REPORT = App(name="report", help_format="plaintext")

Picture = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=(0, 1),
        help="Draw the first metric by the first dimension: in the terminal, or to a .png or .svg FILE.",
    ),
]

Apart = Annotated[
    bool, Parameter("--keep-windows", help="Leave the windows of a long range as CSV files in -o FOLDER.")
]


@REPORT.command
def run(
    ask: QueryOptions,
    *,
    to: Delivery = AS_IT_CAME,
    chart: Picture = None,
    service: ServiceOptions = IN_FORCE,
    deadline: Deadline = DEADLINE,
    fresh: Fresh = False,
    again: Again = False,
    any_columns: AnyColumns = False,
    window_days: WindowDays = None,
    max_windows: MaxWindows = None,
    keep_windows: Apart = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask for a report, wait for it, download it.

    Example: reelport report run --metrics VIEWS --dimensions DAY,VIDEO_TITLE --start 7d --end yesterday -o views.csv

    The key comes from REELPORT_API_KEY and REELPORT_API_SECRET, or a profile.
    A long range is fetched in windows. If it is interrupted, run the command again.
    """
    with reporting(json=json, quiet=quiet, output=to.output) as reporter:
        drawn = partial(_plan_chart, chart)
        refuse_together(
            lambda: drawn(ask.query()),
            lambda: _resolve_windows_folder(to, chart) if keep_windows else to.shape(),
            partial(check_windows, window_days, max_windows),
            partial(to_seconds, deadline),
            partial(_check_chart, chart, to, json=json),
            beside=_list_settings_checks(ask, service),
        )
        query = reporter.query = ask.query()
        reporter.resume = ["run", *format_options(query), *to.words(), *service.words()]
        reporter.resume += [] if chart is None else ["--chart", *chart]
        limits = {"--window-days": window_days, "--max-windows": max_windows}
        reporter.resume += format_flags({**limits, "--any-columns": any_columns, "--keep-windows": keep_windows})
        with connect(service) as client:
            chosen = client.with_options(
                again=again, any_columns=any_columns, windows=window_days, max_windows=max_windows
            )
            progress = reporter if keep_windows else refuse_early(to, reporter)
            fetch = partial(_fetch_report, chosen.reports, query, progress=progress, deadline=deadline, fresh=fresh)
            if keep_windows:
                reporter.report_download(fetch(_resolve_windows_folder(to, chart), apart=True), to.output, {})
                return
            with _open_target(to, query.fingerprint()) as target:
                _deliver(fetch(target), to, reporter, drawn(query))


@REPORT.command
def submit(
    ask: QueryOptions,
    *,
    service: ServiceOptions = IN_FORCE,
    deadline: Deadline = DEADLINE,
    fresh: Fresh = False,
    again: Again = False,
    window_days: WindowDays = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask for a report and print its token, for `report wait` and `report download`.

    Example: reelport report submit --metrics VIEWS --dimensions DAY --start 7d --end yesterday
    """
    with reporting(json=json, quiet=quiet) as reporter:
        values = (partial(check_windows, window_days), partial(to_seconds, deadline))
        refuse_together(ask.query, *values, beside=_list_settings_checks(ask, service))
        query = reporter.query = ask.query()
        reporter.resume = ["submit", *format_options(query), *service.words()]
        with connect(service) as client:
            report = client.with_options(again=again, windows=window_days).reports.submit(
                query, deadline=deadline, progress=reporter, fresh=fresh
            )
        reporter.stop_bars()
        print(report.token)
        reporter.report_success(token=report.token)


@REPORT.command
def wait(
    token: Token,
    /,
    *,
    service: ServiceOptions = IN_FORCE,
    deadline: Deadline = DEADLINE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Wait until a report can be downloaded, and print its status.

    Example: reelport report wait TOKEN
    """
    with reporting(json=json, quiet=quiet) as reporter:
        reporter.token = token
        reporter.resume = ["wait", token, *service.words()]
        with connect(service) as client:
            report = client.reports.attach(token).wait(deadline=deadline, progress=reporter)
        reporter.stop_bars()
        print(report.status)
        reporter.report_success(report_status=report.status)


@REPORT.command
def download(
    token: Token,
    /,
    *,
    to: Delivery = AS_IT_CAME,
    service: ServiceOptions = IN_FORCE,
    deadline: Deadline = DEADLINE,
    any_columns: AnyColumns = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download a report; waits for it if needed.

    Example: reelport report download TOKEN -o views.csv
    """
    with reporting(json=json, quiet=quiet, output=to.output) as reporter:
        refuse_together(to.shape, beside=[partial(read_settings, service)])
        reporter.token = token
        columns = format_flags({"--any-columns": any_columns})
        reporter.resume = ["download", token, *to.words(), *service.words(), *columns]
        with connect(service) as client, _open_target(to, token) as target:
            report = client.with_options(any_columns=any_columns).reports.attach(token)
            report.wait(deadline=deadline, progress=refuse_early(to, reporter))
            _deliver(report.download(target, progress=reporter), to, reporter)


def _plan_chart(chart: list[str] | None, query: ReportQuery) -> ChartOutput | None:
    if chart is None:
        return None
    from reelport.cli.output.chart import plan_chart

    return plan_chart(query, chart[0] if chart else None)


def _check_chart(chart: list[str] | None, to: Delivery, *, json: bool) -> None:
    if chart:
        from reelport.cli.output.chart import check_picture

        check_picture(chart[0])
    elif chart is not None and json and to.output is None and not _is_drawn_alone(to):
        raise UsageError(
            "--chart draws on stderr here, where --json puts its lines: name a picture (--chart FILE.png), or put the "
            "data into a file (-o FILE)."
        )


def _is_drawn_alone(to: Delivery) -> bool:
    """Whether a chart without a file replaces the data: on a terminal, without an output."""
    return to.output is None and to.form is None and sys.stdout.isatty()


def _list_settings_checks(ask: QueryOptions, service: ServiceOptions) -> list[Callable[[], object]]:
    """Return checks of query and settings that run only where another check has failed."""
    return [partial(refuse_unsendable, ask), partial(read_settings, service)]


def _fetch_report(
    reports: Reports,
    query: ReportQuery,
    target: Path | str,
    progress: Progress,
    deadline: float,
    *,
    fresh: bool,
    apart: bool = False,
) -> Downloaded:
    """Fetch the report; a too long range in windows, merged or, with `apart`, a file each."""
    if not apart and len(reports.plan(query).windows) == 1:
        try:
            return reports.run(query, target, deadline=deadline, progress=progress, fresh=fresh)
        except QueryRefused as refused:
            if all(problem.code != Code.RANGE_TOO_LONG for problem in refused.problems):
                raise
    return reports.run_range(query, target, deadline=deadline, progress=progress, fresh=fresh, keep_windows=apart)


def _resolve_windows_folder(to: Delivery, chart: list[str] | None) -> str:
    plain = not to.excel_safe and format_of(to.form, to.output) is Format.CSV
    if to.output is None or not plain or chart is not None:
        raise UsageError(
            "--keep-windows puts a CSV file a window, as it came, into the folder named by -o; it draws nothing."
        )
    refuse_address(to.output, "Windows are kept on this machine: name a folder, and copy it on from there.")
    return to.output


def _open_target(to: Delivery, name: str) -> AbstractContextManager[Path]:
    shape = to.shape()
    if to.output is not None and shape is Format.CSV and not to.excel_safe:
        return nullcontext(resolve_target(to.output))
    return open_spool(hashlib.sha256(name.encode()).hexdigest()[:16])


def _deliver(done: Downloaded, to: Delivery, reporter: ProgressReporter, picture: ChartOutput | None = None) -> None:
    if to.output is None:
        reporter.stop_bars()
    else:
        reporter.show_step(f"writing {to.output}")
    alone = picture is not None and picture.file is None and _is_drawn_alone(to)
    more = {} if alone else write_report(done, to)
    reporter.stop_bars()
    form = format_of(to.form, to.output, excel_safe=to.excel_safe)
    more |= {} if alone or form is Format.CSV else {"form": form.value}
    if picture is not None:
        from rich.console import Console

        picture.draw(done.path, Console(highlight=False, stderr=not alone))
        more |= {} if picture.file is None else {"chart": str(picture.file)}
    reporter.report_download(done, to.output, more, drawn=alone)


_SPOOLS = "landing"
"""Folder of the user's home for downloads on their way elsewhere, where a restarted command finds them."""

_SPOOLED = "report.csv"


@contextmanager
def open_spool(name: str) -> Iterator[Path]:
    """Give a path to download to: the same for a name, unless another process uses it.

    A command deletes its spool file when it succeeds. The first command after two days deletes abandoned ones.
    """
    home = resolve_home(os.environ) / _SPOOLS
    with translate_io_errors(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_expired(home)
        place = home / name
        lock = try_lock_folder(place)
    if lock is None:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=home) as other:
            yield Path(other) / _SPOOLED
        return
    try:
        yield place / _SPOOLED
    except BrokenPipeError:
        remove_folder(place, lock)  # The reader of our output has closed the pipe.
        raise
    except BaseException:  # the partial download stays for the same command, which resumes it
        os.close(lock)
        raise
    remove_folder(place, lock)


def _remove_expired(home: Path) -> None:
    before = time.time() - Limit.RETENTION_HOURS.default * 3600
    for place in home.iterdir():
        with suppress(OSError):
            if place.stat().st_mtime < before:
                lock = try_lock_folder(place)
                if lock is not None:
                    remove_folder(place, lock)
