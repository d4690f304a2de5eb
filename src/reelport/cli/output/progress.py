"""Report a command's progress to a person or a program, and how it failed or was interrupted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reelport.cli import stop_signals
from reelport.cli.arguments.environment_variables import find_unknown_variables
from reelport.cli.arguments.query_problems import name_options
from reelport.cli.output.json_events import JsonEvents
from reelport.cli.output.progress_lines import ProgressLines, stderr
from reelport.cli.output.shell_quoting import quote_command
from reelport.client.events import Event
from reelport.client.flows.download import Downloaded
from reelport.errors import (
    AccessError,
    AskLost,
    Interrupted,
    NotFinished,
    QueryRefused,
    QueueFull,
    ReelportError,
    ReportExpired,
    ReportFailed,
    RequestError,
    SchemaDrift,
    WindowEmptied,
)
from reelport.query import ReportQuery


@dataclass(slots=True)
class ProgressReporter:
    """Passes events on to a person or a program, and remembers the query and the command that resumes it.

    `resume` holds the words after `reelport report`, or after another `group` of commands.
    """

    printer: ProgressLines | JsonEvents
    query: ReportQuery | None = None
    resume: list[str] = field(default_factory=list)
    group: str = "report"

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        self.printer(event)

    def remember_query(self, query: ReportQuery) -> ReportQuery:
        """Remember the query, and return it."""
        self.query = query
        return query

    @property
    def token(self) -> str | None:
        """The report's token; None until it is known."""
        return self.printer.token

    @token.setter
    def token(self, token: str) -> None:
        self.printer.token = token

    def stop_bars(self) -> None:
        """Remove the progress bars: nothing more takes time."""
        self.printer.stop_bars()

    def report_download(
        self, done: Downloaded, output: str | None, more: dict[str, object], *, drawn: bool = False
    ) -> None:
        """Report a finished download; `drawn` where stdout has only its chart and the data wasn't written."""
        self.printer.report_download(done, output, more, drawn=drawn)

    def report_success(self, **facts: object) -> None:
        """Report another success, with these facts."""
        self.printer.report_success(**facts)

    def resume_command(self) -> str:
        """Format the command that resumes the work."""
        return quote_command(["reelport", self.group, *self.resume])


@contextmanager
def reporting(*, json: bool, quiet: bool, output: str | None = None) -> Iterator[ProgressReporter]:
    """Report progress during the block, and its success or failure.

    JSON goes to stdout where the data goes into a file, else to stderr, which then holds nothing else.
    """
    aside = output is None
    printer = (
        JsonEvents(sys.stderr if aside else sys.stdout, quiet=quiet) if json else ProgressLines(stderr(), quiet=quiet)
    )
    reporter = ProgressReporter(printer)
    try:
        stop_signals.install_handlers()
        with printer:
            for unknown in find_unknown_variables():
                printer.say(f"warning: {unknown}")
            yield reporter
    except KeyboardInterrupt as stop:
        _raise_reported(reporter, _interruption_error(reporter, stop), alone=json and aside)
    except ReelportError as error:
        _raise_reported(reporter, error, alone=json and aside)


def _raise_reported(reporter: ProgressReporter, error: ReelportError, *, alone: bool) -> None:
    """Report an error and raise it; with `alone` only exit, as the JSON result on stderr says it already."""
    if isinstance(error, QueryRefused) and reporter.query is not None:
        error = name_options(error, reporter.query)
    error = reporter.printer.report_failure(
        error, reporter.resume_command() if reporter.resume and _can_resume(reporter, error) else None
    )
    if alone:
        sys.exit(error.exit_status)
    raise error


def _interruption_error(reporter: ProgressReporter, stop: KeyboardInterrupt) -> ReelportError:
    if not reporter.resume:
        return Interrupted("Interrupted before anything was asked for.", stop_signals.exit_status_of(stop))
    return NotFinished("Interrupted; nothing is lost.", reporter.token or "")


def _can_resume(reporter: ProgressReporter, error: ReelportError) -> bool:
    """Whether the same command, run again, resumes instead of failing the same way or starting anew."""
    match error:
        case QueueFull():
            return True
        case AccessError() | RequestError() | ReportExpired() | ReportFailed():
            return False
        case AskLost() | SchemaDrift() | WindowEmptied():
            return False  # They say themselves which option changes that.
        case _:
            return reporter.token is not None or error.exit_status != ReelportError.exit_status
