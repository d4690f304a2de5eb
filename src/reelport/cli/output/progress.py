"""Report a command's progress to a person or program, and how it failed or was stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from reelport.cli import stop_signals
from reelport.cli.arguments.environment_variables import find_unknown_variables
from reelport.cli.arguments.query_problems import name_options
from reelport.cli.output.json_events import JsonEvents
from reelport.cli.output.progress_lines import ProgressLines, open_terminal
from reelport.errors import (
    AccessError,
    AskLost,
    Interrupted,
    NotFinished,
    QueryRefused,
    QueueFull,
    ReelportError,
    RepeatedRows,
    ReportExpired,
    ReportFailed,
    RequestError,
    SchemaDrift,
    WindowEmptied,
)

ProgressReporter = ProgressLines | JsonEvents
"""Prints a flow's events, for a person or a program, and remembers the command that resumes it."""


@contextmanager
def reporting(*, json: bool, quiet: bool, output: str | None = None) -> Iterator[ProgressReporter]:
    """Report progress during the block, and its success or failure.

    JSON goes to stdout where the data goes into a file, else to stderr, which then holds nothing else.
    """
    aside = output is None
    reporter = (
        JsonEvents(sys.stderr if aside else sys.stdout, quiet=quiet)
        if json
        else ProgressLines(open_terminal(), quiet=quiet)
    )
    try:
        stop_signals.install_handlers()
        with reporter:
            for unknown in find_unknown_variables():
                reporter.say(f"warning: {unknown}")
            yield reporter
    except KeyboardInterrupt as stop:
        _raise_reported(reporter, _interruption_error(reporter, stop), alone=json and aside)
    except ReelportError as error:
        _raise_reported(reporter, error, alone=json and aside)


def _raise_reported(reporter: ProgressReporter, error: ReelportError, *, alone: bool) -> None:
    """Report an error and raise it; with `alone` exit, as the result on stderr says it."""
    if isinstance(error, QueryRefused) and reporter.query is not None:
        error = name_options(error, reporter.query)
    error = reporter.report_failure(
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
    """Whether the command, run again, resumes instead of failing the same or starting anew."""
    match error:
        case QueueFull():
            return True
        case AccessError() | RequestError() | ReportExpired() | ReportFailed():
            return False
        case AskLost() | SchemaDrift() | RepeatedRows() | WindowEmptied():
            return False  # They say themselves which option changes that.
        case _:
            return reporter.token is not None or error.exit_status != ReelportError.exit_status
