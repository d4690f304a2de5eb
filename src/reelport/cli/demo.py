"""`make demo`: run a service on sample facts, make a key, fetch a report as a partner.

With `--studio` the service runs on until Ctrl-C, for its pages.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from reelport.catalog import Dimension, Metric
from reelport.cli import stop_signals
from reelport.cli.output.chart import plan_chart
from reelport.cli.output.table_view import print_table
from reelport.cli.service_commands.sandbox import (
    EMAIL,
    OPEN_PAGES,
    make_world,
    run_service,
    show_step,
)
from reelport.client.client import Client
from reelport.client.events import Progress
from reelport.client.flows.download import Downloaded
from reelport.client.listener import describe_event
from reelport.errors import ReelportError, UsageError
from reelport.query import ReportQuery
from reelport.storage.locked_folders import claim_folder
from reelport.wire import GRAPHQL_PATH
from reelport.wording import format_count, format_size

if TYPE_CHECKING:
    from reelport.testing import Key, Service

FOLDER = Path("demo-output")
ROWS, SAMPLE_DAYS = 150_000, 190
"""Facts of the sample, and the days that they are of: each range that Studio offers has days to be compared with."""
DAYS = 30
"""Days of the report."""
_SHOWN = 8
_DEADLINE = 600.0
_MARK = ".made-by-reelport-demo"

METRICS = (Metric.VIEWS, Metric.TIME_WATCHED_SECONDS, Metric.VIEW_THROUGH_RATE, Metric.ESTIMATED_EARNINGS_EUR)
DIMENSIONS = (Dimension.DAY, Dimension.VIDEO_TITLE)


def main() -> None:
    """Run the demo; exit with status 0 when all of it worked, and never with a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Titles hold more than every terminal can write.
    console = Console(highlight=False)
    stop_signals.install_handlers()
    try:
        try:
            with take_folder(FOLDER.resolve()) as folder:
                demonstrate(console, folder, studio="--studio" in sys.argv[1:])
        except Exception:
            stop_signals.raise_lost_stop()  # A library that is interrupted may raise an error of its own.
            raise
    except KeyboardInterrupt as stop:
        console.print("\nStopped; nothing is left running.")
        stop_signals.ignore_stops()
        sys.exit(stop_signals.exit_status_of(stop))
    except ReelportError as error:
        console.print(f"\n[red]The demo could not go on:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(error.exit_status)
    except Exception as error:  # noqa: BLE001 - whoever tries a demo is not shown our insides
        console.print(f"\n[red]The demo failed, and that is our fault:[/] {escape(repr(error))}", soft_wrap=True)
        sys.exit(1)
    stop_signals.ignore_stops()  # While Python ends, a stop would be a failure of what has worked.


def demonstrate(console: Console, folder: Path, *, studio: bool = False) -> None:
    """Show the main job from end to end; with `studio` the service then runs until Ctrl-C."""
    from reelport.testing import Service

    begun = time.perf_counter()
    service = Service(folder / "service", **OPEN_PAGES)
    console.print("[bold]Reelport[/]: both ends of a Reporting API, on sample facts\n")
    console.print("[bold]The platform[/]")
    world = make_world(console, service, rows=ROWS, days=SAMPLE_DAYS)
    query = ReportQuery.of(METRICS, DIMENSIONS, world.last - timedelta(days=DAYS - 1), world.last)
    with run_service(console, service):
        report = fetch(console, service.url, world.key, query, folder / "views.csv")
        show(console, report, query)
        console.print(f"\nThe CSV    {report.path}\nThe chart  {report.path.with_suffix('.png')}", soft_wrap=True)
        if studio:
            keep_studio_open(console, service, world.password)
    tell_of_studio(console, folder / "service", world.password)
    console.print(f"\nAll that was started is stopped. {time.perf_counter() - begun:.1f} s in all.")


@contextmanager
def take_folder(folder: Path) -> Iterator[Path]:
    """Make a demo's folder or empty it, and keep it from another demo.

    Deletes only where an empty mark was.
    """
    mark = folder / _MARK
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(claim_folder(folder))
            is_marked = mark.is_file() and not mark.stat().st_size
            if not is_marked and any(folder.iterdir()):
                raise UsageError(f"{folder} is not a demo's: move it away, or use another folder.")
            mark.touch()
            for found in folder.iterdir():
                if found.is_dir() and not found.is_symlink():
                    shutil.rmtree(found)
                elif found != mark:  # The mark stays all the time, or a command stopped here could not be run again.
                    found.unlink()
        except BlockingIOError:
            raise UsageError(f"Another demo runs in {folder}: stop it, or use another folder.") from None
        except OSError as error:
            raise UsageError(f"{folder} can't be used: {error.strerror or error}.") from error
        yield folder


def tell_of_studio(console: Console, data: Path, password: str) -> None:
    """Print how to open Studio over what the demo has left, and how to sign in."""
    console.print("Studio     opens on what this demo made (as `make demo STUDIO=1` does) with")
    console.print(f"           {Path(sys.executable).with_name('reelport')} serve --data {data}", soft_wrap=True)
    console.print(f"  page     http://127.0.0.1:8642/studio\n  e-mail   {EMAIL}\n  password {password}")


def keep_studio_open(console: Console, service: Service, password: str) -> None:
    """Print where to sign in, and wait for Ctrl-C. The service listens on loopback alone."""
    console.print(f"\n[bold]Studio[/]     {service.url}/studio", soft_wrap=True)
    console.print(f"  e-mail   {EMAIL}\n  password {password}")
    console.print(f"[bold]GraphiQL[/]   {service.url}{GRAPHQL_PATH}\n\nCtrl-C ends it.", soft_wrap=True)
    with suppress(KeyboardInterrupt):
        Event().wait()
    console.print()


def fetch(console: Console, url: str, key: Key, query: ReportQuery, to: Path) -> Downloaded:
    """Ask, wait and download as a partner, with a ledger beside the file, not the user's own."""
    console.print("\n[bold]The partner[/]")
    console.print(f"  wants {', '.join(query.metrics)}")
    with Client(url, key.id, key.secret, ledger=to.with_name("ledger.db")) as client:
        with show_step(console, "asks for a report") as tell:
            report = client.reports.submit(query, progress=_tell_events(tell))
        with show_step(console, "waits until the report is finished") as tell:
            report.wait(deadline=_DEADLINE, progress=_tell_events(tell))
        with show_step(console, "downloads it") as tell:
            done = report.download(to, progress=_tell_events(tell))
    console.print(f"    {format_count(done.rows, 'row')}, {format_size(done.bytes)}; {done.proof}\n")
    return done


def show(console: Console, report: Downloaded, query: ReportQuery) -> None:
    """Print the report's first rows and its chart; write the chart as a picture."""
    console.print(f"[bold]The first rows of {report.path.name}[/]")
    print_table(console, report.table(), _SHOWN, most=_SHOWN, wraps=True)
    console.print()
    plan_chart(query, None).draw(report.path, console)
    plan_chart(query, str(report.path.with_suffix(".png"))).draw(report.path, Console(quiet=True))


def _tell_events(tell: Callable[[str], None]) -> Progress:
    return lambda event: tell(describe_event(event, "the report"))


if __name__ == "__main__":
    main()
