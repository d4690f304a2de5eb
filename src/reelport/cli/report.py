"""`reelport report`: ask for a report, wait for it, download it whole."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reelport.cli.charts import Chart, chart_of
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
from reelport.query import DEFAULT_PRODUCT, ReportQuery, parse_day

REPORT = App(name="report", help="Ask for a report, wait for it, download it whole.", help_format="plaintext")

_COUNTED = 100_000_000
"""Bytes up to which a file is read once more to say how many rows it has."""

_DAYS_AGO = re.compile(r"(\d{1,4})d")
_RELATIVE = {"today": 0, "yesterday": 1}

_DAY = "YYYY-MM-DD, today, yesterday, or 30d for 30 days ago"
Token = Annotated[str, Parameter(help="What `report submit` printed.")]
Url = Annotated[str | None, Parameter(help="The service; otherwise REELPORT_URL, otherwise Dailymotion.")]
Output = Annotated[
    str | None, Parameter(["--output", "-o"], help="The file to write; without it the CSV goes to stdout.")
]
Quiet = Annotated[bool, Parameter(["--quiet", "-q"], negative=(), help="Say nothing but errors.")]
Deadline = Annotated[float, Parameter(help="Seconds to wait at most; the report can be taken up again afterwards.")]
Picture = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=(0, 1),
        negative=(),
        help="Draw the first metric by the first dimension: here, or into a .png or .svg FILE.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a command line asks for."""

    metrics: Annotated[
        list[str], Parameter(negative=(), help="What to count: VIEWS,TIME_WATCHED_SECONDS or the option repeated.")
    ]
    dimensions: Annotated[
        list[str] | None, Parameter(negative=(), help="What to split it by, in the order of the columns.")
    ] = None
    start: Annotated[str, Parameter(help=f"The first day (UTC): {_DAY}.")]
    end: Annotated[str, Parameter(help="The last day, which is included.")]
    product: Annotated[str, Parameter(help="Whose data: CONTENT (what you own), EMBED, CLAIM or ALL.")] = (
        DEFAULT_PRODUCT
    )
    filters: Annotated[
        list[str] | None,
        Parameter("--filter", negative=(), help="Keep only some rows: NAME=VALUE; repeat it for more filters."),
    ] = None

    def query(self, today: date) -> ReportQuery:
        """The query. Raises UsageError with every day and filter that is none."""
        wrong: list[str] = []
        start, end = _day("--start", self.start, today, wrong), _day("--end", self.end, today, wrong)
        filters = _pairs(self.filters or [], wrong)
        if wrong:
            raise UsageError("\n".join(wrong))
        product = self.product.strip().upper()
        return ReportQuery.of(_names(self.metrics), _names(self.dimensions or []), start, end, filters, product)


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
    query = ask.query(_today())
    picture = None if chart is None else chart_of(query, chart[0] if chart else None)
    with Client(url) as client, _destination(output) as target, _told(quiet, url, output) as tell:
        report = client.reports.submit(query, progress=tell).wait(deadline=deadline, progress=tell)
        _deliver(report, target, output, tell, picture)


@REPORT.command
def submit(ask: Ask, *, url: Url = None, quiet: Quiet = False) -> None:
    """Ask for a report and print its token, for `report wait` and `report download`.

    Example: reelport report submit --metrics VIEWS --dimensions DAY --start 7d --end yesterday
    """
    query = ask.query(_today())
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


def _today() -> date:
    return datetime.now(UTC).date()


def _day(option: str, text: str, today: date, wrong: list[str]) -> date:
    """The day that a word means; what is wrong with it goes to the list."""
    word = text.strip().lower()
    ago = _DAYS_AGO.fullmatch(word)
    try:
        back = int(ago[1]) if ago else _RELATIVE.get(word)
        return parse_day(text.strip()) if back is None else today - timedelta(days=back)
    except ValueError:
        wrong.append(f"{option}: {text[:80]!r} is no day: give {_DAY}.")
        return today


def _names(words: list[str]) -> list[str]:
    """Names given by commas, by repeating the option, or both; in the upper case of the wire."""
    return [name.strip().upper() for word in words for name in word.split(",") if name.strip()]


def _pairs(words: list[str], wrong: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            wrong.append(f"--filter: {word[:80]!r} is no filter: give NAME=VALUE.")
        elif name.strip() in pairs:
            wrong.append(f"--filter: {name.strip()} is given twice, but a filter takes a single value.")
        else:
            pairs[name.strip()] = value
    return pairs
