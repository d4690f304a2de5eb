"""`reelport report`: ask for a report, wait for it, get it whole; the same command again goes on where it was."""

from __future__ import annotations

import hashlib
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reelport.cli.formats import Format, Wished, format_of, give
from reelport.cli.options import (
    Again,
    AnyColumns,
    Ask,
    Deadline,
    Fresh,
    Insecure,
    Json,
    Output,
    Profile,
    Quiet,
    Token,
    Url,
    WindowDays,
    words_of,
)
from reelport.client.deadline import DEADLINE
from reelport.errors import QueryRefused, UsageError
from reelport.query import ReportQuery

if TYPE_CHECKING:
    from reelport.cli.charts import Chart
    from reelport.cli.telling import Teller
    from reelport.client.files.download import Downloaded
    from reelport.client.reports import Reports

REPORT = App(name="report", help="Ask for a report, wait for it, download it whole.", help_format="plaintext")

Picture = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=(0, 1),
        negative=(),
        help="Draw the first metric by the first dimension: here, or into a .png or .svg FILE.",
    ),
]

Apart = Annotated[
    bool, Parameter("--keep-windows", negative=(), help="Leave the windows of a long range as CSV files in -o FOLDER.")
]


@REPORT.command
def run(
    ask: Ask,
    *,
    output: Output = None,
    form: Wished = None,
    chart: Picture = None,
    profile: Profile = None,
    url: Url = None,
    insecure: Insecure = False,
    deadline: Deadline = DEADLINE,
    fresh: Fresh = False,
    again: Again = False,
    any_columns: AnyColumns = False,
    window_days: WindowDays = None,
    keep_windows: Apart = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask for a report, wait for it, download it.

    Example: reelport report run --metrics VIEWS --dimensions DAY,VIDEO_TITLE --start 7d --end yesterday -o views.csv

    The key comes from REELPORT_API_KEY and REELPORT_API_SECRET, or from a
    profile. A range that is longer than one report may be is asked for in
    windows, two at a time, and put together. Whatever ends it early, the same
    command goes on where it was.
    """
    from reelport.cli.charts import chart_of
    from reelport.cli.connection import connect
    from reelport.cli.telling import told

    with told(json=json, quiet=quiet, output=output) as tell:
        query = tell.about(ask.query())
        shape = format_of(form, output)
        picture = None if chart is None else chart_of(query, chart[0] if chart else None)
        tell.resume = ["run", *words_of(query), *_rest(output, form, chart, profile, url, insecure=insecure)]
        tell.resume += _taking(window_days, any_columns=any_columns, keep_windows=keep_windows)
        with connect(url, profile, insecure=insecure) as client:
            reports = client.with_options(again=again, any_columns=any_columns, windows=window_days).reports
            if keep_windows:
                folder = _folder(output, plain=form in {None, Format.CSV} and picture is None)
                kept = reports.run_range(
                    query, folder, deadline=deadline, progress=tell, fresh=fresh, keep_windows=True
                )
                tell.delivered(kept, folder, {})
                return
            with _target(output, shape, query.fingerprint()) as target:
                done = _had(reports, query, target, tell, deadline, fresh=fresh)
                alone = picture is not None and picture.file is None and not _is_wished(output, form)
                _deliver(done, output, None if alone else shape, tell, picture)


@REPORT.command
def submit(
    ask: Ask,
    *,
    profile: Profile = None,
    url: Url = None,
    insecure: Insecure = False,
    deadline: Deadline = DEADLINE,
    fresh: Fresh = False,
    again: Again = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask for a report and print its token, for `report wait` and `report download`.

    Example: reelport report submit --metrics VIEWS --dimensions DAY --start 7d --end yesterday
    """
    from reelport.cli.connection import connect
    from reelport.cli.telling import told

    with told(json=json, quiet=quiet) as tell:
        query = tell.about(ask.query())
        tell.resume = ["submit", *words_of(query), *_rest(profile=profile, url=url, insecure=insecure)]
        with connect(url, profile, insecure=insecure) as client:
            report = client.with_options(again=again).reports.submit(
                query, deadline=deadline, progress=tell, fresh=fresh
            )
        print(report.token)
        tell.ended(token=report.token)


@REPORT.command
def wait(
    token: Token,
    /,
    *,
    profile: Profile = None,
    url: Url = None,
    insecure: Insecure = False,
    deadline: Deadline = DEADLINE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Wait until a report can be downloaded, and print its status.

    Example: reelport report wait TOKEN
    """
    from reelport.cli.connection import connect
    from reelport.cli.telling import told

    with told(json=json, quiet=quiet) as tell:
        tell.token, tell.resume = token, ["wait", token, *_rest(profile=profile, url=url, insecure=insecure)]
        with connect(url, profile, insecure=insecure) as client:
            report = client.reports.attach(token).wait(deadline=deadline, progress=tell)
        print(report.status)
        tell.ended(report_status=report.status)


@REPORT.command
def download(
    token: Token,
    /,
    *,
    output: Output = None,
    form: Wished = None,
    profile: Profile = None,
    url: Url = None,
    insecure: Insecure = False,
    deadline: Deadline = DEADLINE,
    any_columns: AnyColumns = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download a report; waits for it where need be.

    Example: reelport report download TOKEN -o views.csv
    """
    from reelport.cli.connection import connect
    from reelport.cli.telling import told

    with told(json=json, quiet=quiet, output=output) as tell:
        shape = format_of(form, output)
        tell.token, tell.resume = (
            token,
            ["download", token, *_rest(output, form, None, profile, url, insecure=insecure)],
        )
        with connect(url, profile, insecure=insecure) as client, _target(output, shape, token) as target:
            report = (
                client.with_options(any_columns=any_columns)
                .reports.attach(token)
                .wait(deadline=deadline, progress=tell)
            )
            done = report.download(target, progress=tell)
            _deliver(done, output, shape, tell)


def _had(
    reports: Reports, query: ReportQuery, target: Path, tell: Teller, deadline: float, *, fresh: bool
) -> Downloaded:
    """The report on disk; of a range that is longer than one report may be, made of windows."""
    if len(reports.plan(query).windows) == 1:
        try:
            return reports.run(query, target, deadline=deadline, progress=tell, fresh=fresh)
        except QueryRefused:
            if len(reports.plan(query).windows) == 1:
                raise
            # The service has said meanwhile that it takes fewer days in one report.
    return reports.run_range(query, target, deadline=deadline, progress=tell, fresh=fresh)


def _is_wished(output: str | None, form: Format | None) -> bool:
    """Whether the data itself is wanted beside a picture of it."""
    return output is not None or form is not None or not sys.stdout.isatty()


def _taking(window_days: int | None, *, any_columns: bool, keep_windows: bool) -> list[str]:
    """The options for what is taken and kept, as the same command needs them."""
    words = [] if window_days is None else ["--window-days", str(window_days)]
    words += ["--any-columns"] if any_columns else []
    return [*words, *(["--keep-windows"] if keep_windows else [])]


def _folder(output: str | None, *, plain: bool) -> str:
    """Where windows are kept as files. Raises UsageError where more is wished of them."""
    if output is None or not plain:
        raise UsageError("--keep-windows puts a CSV file a window into the folder named by -o; it draws nothing.")
    return output


def _target(output: str | None, shape: Format, name: str) -> AbstractContextManager[Path]:
    """Where to download to: the file itself where it is to be a CSV, else a place that goes away again."""
    from reelport.cli.landing import landing
    from reelport.client.files.part import checked_target

    target = None if output is None else checked_target(output)
    if target is not None and shape is Format.CSV:
        return nullcontext(target)
    return landing(hashlib.sha256(name.encode()).hexdigest()[:16])


def _deliver(
    done: Downloaded, output: str | None, shape: Format | None, tell: Teller, picture: Chart | None = None
) -> None:
    """Give what was downloaded in its form, or with none only draw it."""
    from rich.console import Console

    from reelport.cli.output import stderr

    tell.rest()
    if shape is not None:
        give(done, output, shape)
    more: dict[str, object] = {}
    if picture is not None:
        picture.draw(done.path, Console(highlight=False) if shape is None else stderr())
        more |= {} if picture.file is None else {"chart": str(picture.file)}
    tell.delivered(done, output, more, drawn=shape is None)


def _rest(
    output: str | None = None,
    form: Format | None = None,
    chart: list[str] | None = None,
    profile: str | None = None,
    url: str | None = None,
    *,
    insecure: bool = False,
) -> list[str]:
    """The other options that the same command needs."""
    given = {"-o": output, "--format": form and form.value, "--profile": profile, "--url": url}
    words = [word for option, value in given.items() if value is not None for word in (option, value)]
    words += ["--insecure"] if insecure else []
    return [*words, *([] if chart is None else ["--chart", *chart])]
