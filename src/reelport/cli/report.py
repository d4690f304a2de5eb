"""`reelport report`: ask for a report, wait for it, download it whole."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reelport.cli.charts import Chart, chart_of
from reelport.cli.options import Ask, Deadline, Output, Quiet, Token, Url
from reelport.cli.output import Narrator, size, stderr
from reelport.client.client import Client
from reelport.client.flow import DEADLINE
from reelport.client.part import checked_target, storage
from reelport.client.report import Report
from reelport.errors import (
    AccessError,
    NotFinished,
    ReelportError,
    ReportExpired,
    ReportFailed,
    StorageError,
    UsageError,
)

REPORT = App(name="report", help="Ask for a report, wait for it, download it whole.", help_format="plaintext")

_COUNTED = 100_000_000
"""Bytes up to which a file is read once more to say how many rows it has."""

Picture = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=(0, 1),
        negative=(),
        help="Draw the first metric by the first dimension: here, or into a .png or .svg FILE.",
    ),
]


@REPORT.command
def run(
    ask: Ask,
    *,
    output: Output = None,
    chart: Picture = None,
    url: Url = None,
    deadline: Deadline = DEADLINE,
    quiet: Quiet = False,
) -> None:
    """Ask for a report, wait for it, download it.

    Example: reelport report run --metrics VIEWS --dimensions DAY,VIDEO_TITLE --start 7d --end yesterday -o views.csv

    The key comes from REELPORT_API_KEY and REELPORT_API_SECRET.
    """
    query = ask.query()
    picture = None if chart is None else chart_of(query, chart[0] if chart else None)
    with Client(url) as client, _destination(output) as target, _told(quiet, url, output) as tell:
        report = client.reports.submit(query, progress=tell).wait(deadline=deadline, progress=tell)
        _deliver(report, target, output, tell, picture)


@REPORT.command
def submit(ask: Ask, *, url: Url = None, quiet: Quiet = False) -> None:
    """Ask for a report and print its token, for `report wait` and `report download`.

    Example: reelport report submit --metrics VIEWS --dimensions DAY --start 7d --end yesterday
    """
    query = ask.query()
    with Client(url) as client, _told(quiet, url) as tell:
        print(client.reports.submit(query, progress=tell).token)


@REPORT.command
def wait(token: Token, /, *, url: Url = None, deadline: Deadline = DEADLINE, quiet: Quiet = False) -> None:
    """Wait until a report can be downloaded, and print its status.

    Example: reelport report wait TOKEN
    """
    with Client(url) as client, _told(quiet, url, token=token) as tell:
        print(client.reports.attach(token).wait(deadline=deadline, progress=tell).status)


@REPORT.command
def download(
    token: Token,
    /,
    *,
    output: Output = None,
    url: Url = None,
    deadline: Deadline = DEADLINE,
    quiet: Quiet = False,
) -> None:
    """Download a report; waits for it where need be.

    Example: reelport report download TOKEN -o views.csv
    """
    with Client(url) as client, _destination(output) as target, _told(quiet, url, output, token) as tell:
        report = client.reports.attach(token).wait(deadline=deadline, progress=tell)
        _deliver(report, target, output, tell)


def _deliver(report: Report, target: Path, output: str | None, tell: Narrator, picture: Chart | None = None) -> None:
    """Download to the target, and on to stdout when that was meant."""
    done = report.download(target, progress=tell)
    rows = f"{done.rows():,} rows, " if done.bytes <= _COUNTED else ""
    tell.rest()
    tell.say(f"{output or 'stdout'}: {rows}{size(done.bytes)}; {done.proof}")
    if output is None:
        _to_stdout(done.path)
    if picture is not None:
        picture.draw(done.path, stderr())
        if picture.file is not None:
            tell.say(f"chart: {picture.file}")


def _to_stdout(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # Whoever reads has enough; the command line knows what to do.
    except OSError as error:
        raise StorageError(f"stdout takes no more: {error.strerror or error}.") from error


@contextmanager
def _destination(output: str | None) -> Iterator[Path]:
    """The file to download to; one in a folder that goes away again when the CSV is for stdout."""
    if output is not None:
        yield checked_target(output)
        return
    with storage(Path(tempfile.gettempdir())):
        folder = tempfile.TemporaryDirectory(prefix="reelport-")
    with folder as name:
        yield Path(name) / "report.csv"


@contextmanager
def _told(quiet: bool, url: str | None, output: str | None = None, token: str | None = None) -> Iterator[Narrator]:
    """Tell what happens. When it ends too early, by an error or by Ctrl-C, say which command takes it up again."""
    narrator = Narrator(stderr(), quiet=quiet)
    narrator.token = token
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Who stops us kindly is answered as kindly as Ctrl-C.
    try:
        with narrator:
            yield narrator
    except KeyboardInterrupt:
        if narrator.token is None:
            raise ReelportError("Interrupted before a report was asked for.") from None
        resume = _resume(narrator.token, url, output)
        raise NotFinished(f"Interrupted; the report goes on. Take it up again: {resume}", narrator.token) from None
    except (AccessError, UsageError, ReportExpired, ReportFailed):
        raise
    except NotFinished as error:
        stopped = str(error).partition(" Take it up again")[0]
        resume = _resume(error.token, url, output)
        raise NotFinished(f"{stopped}\nTake it up again: {resume}", error.token) from error
    except ReelportError as error:
        if narrator.token is not None:
            error.args = (f"{error}\nTake the report up again: {_resume(narrator.token, url, output)}",)
        raise


def _resume(token: str, url: str | None, output: str | None) -> str:
    words = ["reelport", "report", "download", token]
    words += ["-o", output] if output else []
    words += ["--url", url] if url else []
    return shlex.join(words)
