"""`reelport report`: ask for a report, wait for it, get it whole; the same command again goes on where it was."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from reelport.cli.arguments.options import (
    Again,
    AnyColumns,
    Ask,
    Deadline,
    Fresh,
    Insecure,
    Json,
    Profile,
    Quiet,
    Token,
    Url,
    WindowDays,
    check_window_days,
    words_of,
)
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.output.delivery import AS_IT_CAME, Delivery, Format, format_of
from reelport.cli.output.formats import give
from reelport.client.deadline import DEADLINE
from reelport.errors import QueryRefused, UsageError
from reelport.query import ReportQuery

if TYPE_CHECKING:
    from reelport.cli.charts.chart import Chart
    from reelport.cli.output.progress import Teller
    from reelport.client.flows.download import Downloaded
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
    to: Delivery = AS_IT_CAME,
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
    from reelport.cli.charts.chart import chart_of
    from reelport.cli.client_commands.connection import connect
    from reelport.cli.output.progress import reporting

    with reporting(json=json, quiet=quiet, output=to.output) as tell:
        drawn = (lambda _: None) if chart is None else partial(chart_of, to=chart[0] if chart else None)
        refuse_together(
            lambda: drawn(ask.query()),
            lambda: _folder(to, chart) if keep_windows else to.shape(),
            *checks_of({"to": to, "chart": chart, "json": json, "window_days": window_days, "deadline": deadline}),
            beside=_beside(ask, url, profile, insecure=insecure),
        )
        query = tell.about(ask.query())
        tell.resume = ["run", *words_of(query), *_rest(to, chart, profile, url, insecure=insecure)]
        tell.resume += _taking(window_days, any_columns=any_columns, keep_windows=keep_windows)
        with connect(url, profile, insecure=insecure) as client:
            reports = client.with_options(again=again, any_columns=any_columns, windows=window_days).reports
            if keep_windows:
                folder = _folder(to, chart)
                tell.delivered(_existing(reports, query, folder, tell, deadline, fresh=fresh, apart=True), folder, {})
                return
            with _target(to, query.fingerprint()) as target:
                _deliver(_existing(reports, query, target, tell, deadline, fresh=fresh), to, tell, drawn(query))


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
    window_days: WindowDays = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask for a report and print its token, for `report wait` and `report download`.

    Example: reelport report submit --metrics VIEWS --dimensions DAY --start 7d --end yesterday
    """
    from reelport.cli.client_commands.connection import connect
    from reelport.cli.output.progress import reporting

    with reporting(json=json, quiet=quiet) as tell:
        values = {"window_days": window_days, "deadline": deadline}
        refuse_together(ask.query, *checks_of(values), beside=_beside(ask, url, profile, insecure=insecure))
        query = tell.about(ask.query())
        tell.resume = ["submit", *words_of(query), *_rest(AS_IT_CAME, None, profile, url, insecure=insecure)]
        with connect(url, profile, insecure=insecure) as client:
            report = client.with_options(again=again, windows=window_days).reports.submit(
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
    from reelport.cli.client_commands.connection import connect
    from reelport.cli.output.progress import reporting

    with reporting(json=json, quiet=quiet) as tell:
        tell.token, tell.resume = token, ["wait", token, *_rest(AS_IT_CAME, None, profile, url, insecure=insecure)]
        with connect(url, profile, insecure=insecure) as client:
            report = client.reports.attach(token).wait(deadline=deadline, progress=tell)
        print(report.status)
        tell.ended(report_status=report.status)


@REPORT.command
def download(
    token: Token,
    /,
    *,
    to: Delivery = AS_IT_CAME,
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
    from reelport.cli.client_commands.connection import connect, read_settings
    from reelport.cli.output.progress import reporting

    with reporting(json=json, quiet=quiet, output=to.output) as tell:
        refuse_together(to.shape, beside=[partial(read_settings, url, profile, insecure=insecure)])
        tell.token = token
        tell.resume = ["download", token, *_rest(to, None, profile, url, insecure=insecure)]
        tell.resume += _taking(None, any_columns=any_columns, keep_windows=False)
        with connect(url, profile, insecure=insecure) as client, _target(to, token) as target:
            report = (
                client.with_options(any_columns=any_columns)
                .reports.attach(token)
                .wait(deadline=deadline, progress=tell)
            )
            _deliver(report.download(target, progress=tell), to, tell)


def checks_of(given: Mapping[str, Any]) -> Iterator[Callable[[], object]]:
    """What can be checked of single values of a command, by parameter, whatever else is wrong."""
    from reelport.client.flows.runner import to_seconds

    yield partial(check_window_days, given.get("window_days"))
    yield partial(to_seconds, given.get("deadline", DEADLINE))
    if (chart := given.get("chart")) is None:
        return
    if chart:
        from reelport.cli.charts.chart import check_picture

        yield partial(check_picture, chart[0])
    elif given.get("json"):
        yield partial(_refuse_chart_among_json, given.get("to", AS_IT_CAME))


def _refuse_chart_among_json(to: Delivery) -> None:
    """Raise UsageError for a chart in the terminal where stderr, which it would go to, holds JSON alone."""
    if to.output is None and not _is_drawn_alone(to):
        raise UsageError(
            "--chart draws on stderr here, where --json puts its lines: name a picture (--chart FILE.png), or put the "
            "data into a file (-o FILE)."
        )


def _is_drawn_alone(to: Delivery) -> bool:
    """Tell whether a chart without a file stands for the data: on a terminal, where nobody asked for the data."""
    return to.output is None and to.form is None and sys.stdout.isatty()


def _beside(ask: Ask, url: str | None, profile: str | None, *, insecure: bool) -> list[Callable[[], object]]:
    """What is checked as well where something is wrong already."""
    from reelport.cli.arguments.query_problems import refuse_unsendable
    from reelport.cli.client_commands.connection import read_settings

    return [partial(refuse_unsendable, ask), partial(read_settings, url, profile, insecure=insecure)]


def _existing(
    reports: Reports,
    query: ReportQuery,
    target: Path | str,
    tell: Teller,
    deadline: float,
    *,
    fresh: bool,
    apart: bool = False,
) -> Downloaded:
    """The report on disk; of a range that is longer than one report may be, made of windows, or they `apart`."""
    if not apart and len(reports.plan(query).windows) == 1:
        try:
            return reports.run(query, target, deadline=deadline, progress=tell, fresh=fresh)
        except QueryRefused:
            if len(reports.plan(query).windows) == 1:
                raise
            # The service has said meanwhile that it takes fewer days in one report.
    return reports.run_range(query, target, deadline=deadline, progress=tell, fresh=fresh, keep_windows=apart)


def _taking(window_days: int | None, *, any_columns: bool, keep_windows: bool) -> list[str]:
    """The options for what is taken and kept, as the same command needs them."""
    words = [] if window_days is None else ["--window-days", str(window_days)]
    words += ["--any-columns"] if any_columns else []
    return [*words, *(["--keep-windows"] if keep_windows else [])]


def _folder(to: Delivery, chart: list[str] | None) -> str:
    """Where windows are kept as files. Raises UsageError where more is wished of them."""
    plain = to.plain and format_of(to.form, to.output) is Format.CSV
    if to.output is None or not plain or chart is not None:
        raise UsageError(
            "--keep-windows puts a CSV file a window, as it came, into the folder named by -o; it draws nothing."
        )
    return to.output


def _target(to: Delivery, name: str) -> AbstractContextManager[Path]:
    """Where to download to: the file itself where it is to be the report as it came, else a place that goes again."""
    from reelport.cli.client_commands.spool import open_spool
    from reelport.client.files.part import resolve_target

    shape = to.shape()
    if to.output is not None and shape is Format.CSV and not to.excel_safe:
        return nullcontext(resolve_target(to.output))
    return open_spool(hashlib.sha256(name.encode()).hexdigest()[:16])


def _deliver(done: Downloaded, to: Delivery, tell: Teller, picture: Chart | None = None) -> None:
    """Give what was downloaded in its form; where a chart stands for it on a terminal, only draw it."""
    from rich.console import Console

    from reelport.cli.output.progress_lines import stderr

    tell.rest()
    alone = picture is not None and picture.file is None and _is_drawn_alone(to)
    more = {} if alone else give(done, to)
    if picture is not None:
        picture.draw(done.path, Console(highlight=False) if alone else stderr())
        more |= {} if picture.file is None else {"chart": str(picture.file)}
    tell.delivered(done, to.output, more, drawn=alone)


def _rest(to: Delivery, chart: list[str] | None, profile: str | None, url: str | None, *, insecure: bool) -> list[str]:
    """The other options that the same command needs."""
    given = {"--profile": profile, "--url": url}
    words = [word for option, value in given.items() if value is not None for word in (option, value)]
    words += ["--insecure"] if insecure else []
    return [*to.words(), *words, *([] if chart is None else ["--chart", *chart])]
