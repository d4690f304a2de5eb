"""Report a command's progress to a person or program, and how it failed or was stopped.

For programs it is JSON lines: an object for each event, the last a `result`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import Enum
from typing import IO, Any, Self

from reelport.cli import stop_signals
from reelport.cli.arguments.environment_variables import find_unknown_variables
from reelport.cli.arguments.query_problems import name_options
from reelport.cli.output.progress_lines import ProgressLines, ResumableCommand, without_resume_advice
from reelport.client.events import Asked, Event, InWindow, Merged, Received, Reused, Saved
from reelport.client.flows.download import Downloaded
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
from reelport.wire import NO_DAY, format_complete_day

_EVERY = 1.0
"""Seconds between two lines about received bytes."""

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Matches where a word begins inside of a name like WindowDone."""


class JsonEvents(ResumableCommand):
    """Prints a flow's events for a program; with `quiet` only the result."""

    def __init__(self, stream: IO[str], *, quiet: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._quiet = quiet
        self._received_at: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Print an event. An event of a window carries its days."""
        if isinstance(event, InWindow):
            self.report_event({"window": {"start": event.start, "end": event.end}}, event.event)
            return
        if isinstance(event, Asked | Reused):
            self.token = event.token
        self.report_event({}, event)

    def report_event(self, report: Mapping[str, object], event: Event) -> None:
        """Print an event of one report among several; the facts in `report` identify it."""
        if isinstance(event, Saved | Merged):
            return  # The lines `window_done` and `result` hold the same facts.
        if not self._quiet and not self._is_throttled(event, str(report)):
            self._print_event(_WORD.sub("_", type(event).__name__).lower(), {**report, **_fields_of(event)})

    def _is_throttled(self, event: Event, window: str) -> bool:
        if not isinstance(event, Received) or event.bytes == event.total:
            return False
        now = time.monotonic()
        if now - self._received_at.get(window, -_EVERY) < _EVERY:
            return True
        self._received_at[window] = now
        return False

    def show_step(self, text: str) -> None:
        """Do nothing: a step is no event."""

    def stop_bars(self) -> None:
        """Do nothing: there are no bars."""

    def say(self, line: str) -> None:
        """Print a note, unless quiet."""
        if not self._quiet:
            self._print_event("note", {"text": line})

    def report_download(
        self, done: Downloaded, output: str | None, more: dict[str, object], *, drawn: bool = False
    ) -> None:
        """Print a download's result: bytes and SHA-256 of the CSV, whatever the output format."""
        complete = None if done.last_complete_day is None else format_complete_day(done.last_complete_day)
        facts = {"file": output, "bytes": done.bytes, "rows": done.rows, "sha256": done.sha256}
        more = {"last_complete_day": complete} | more | ({"chart": "stdout"} if drawn else {})
        self.report_success(**facts, proof=done.proof.name.lower(), **more)

    def report_success(self, **facts: object) -> None:
        """Print the result of a success."""
        known = {} if self.token is None else {"token": self.token}
        self._print_event("result", {"ok": True, "status": 0} | known | facts)

    def report_failure(self, error: ReelportError, resume: str | None) -> ReelportError:
        """Print the result of a failure; return the error to raise."""
        token = getattr(error, "token", None) or self.token
        facts: dict[str, object] = {"ok": False, "status": error.exit_status, "code": error.code}
        facts |= {"error": without_resume_advice(error)} | ({"token": token} if token else {})
        if isinstance(error, ReportFailed) and error.reason is not None:
            facts["reason"] = error.reason
        if isinstance(error, QueryRefused):
            facts["problems"] = [_fields_of(problem) for problem in error.problems]
        facts |= {"resume": resume} if resume else {}
        self._print_event("result", facts)
        return error

    def _print_event(self, event: str, facts: Mapping[str, object]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"event": event, "time": now} | dict(facts), default=_to_json_value)
        print(line, file=self._stream, flush=True)


def _fields_of(value: Any) -> dict[str, object]:  # noqa: ANN401 - any of the events, which are dataclasses
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: each for name, each in fields.items() if name != "details" or each is not None}


def _to_json_value(value: object) -> object:
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return format_complete_day(value) if value == NO_DAY else value.isoformat()
    if dataclasses.is_dataclass(value):
        return _fields_of(value)
    return str(value)


ProgressReporter = ProgressLines | JsonEvents
"""Prints a flow's events, for a person or a program, and remembers the command that resumes it."""


@contextmanager
def reporting(*, json: bool, quiet: bool, output: str | None = None) -> Iterator[ProgressReporter]:
    """Report progress during the block, and its success or failure.

    JSON goes to stdout where the data goes into a file, else to stderr, which then holds nothing else.
    """
    aside = output is None
    reporter = (
        JsonEvents(sys.stderr if aside else sys.stdout, quiet=quiet) if json else ProgressLines(sys.stderr, quiet=quiet)
    )
    try:
        stop_signals.install_handlers()
        with reporter:
            for unknown in find_unknown_variables():
                reporter.say(f"warning: {unknown}")
            yield reporter
    except KeyboardInterrupt as stop:
        if sys.stderr.isatty() and not json:
            print(file=sys.stderr)  # ends the line in which the terminal shows ^C
        early = Interrupted("Interrupted before anything was asked for.", stop_signals.exit_status_of(stop))
        late = NotFinished("Interrupted; nothing is lost.", reporter.token or "")
        _raise_reported(reporter, late if reporter.resume else early, alone=json and aside)
    except ReelportError as error:
        _raise_reported(reporter, error, alone=json and aside)


def _raise_reported(reporter: ProgressReporter, error: ReelportError, *, alone: bool) -> None:
    """Report an error and raise it; with `alone` exit, as the result on stderr says it."""
    if isinstance(error, QueryRefused) and reporter.query is not None:
        error = name_options(error, reporter.query)
    can_resume = reporter.resume and _can_resume(reporter, error)
    error = reporter.report_failure(error, reporter.resume_command() if can_resume else None)
    if alone:
        sys.exit(error.exit_status)
    raise error


def _can_resume(reporter: ProgressReporter, error: ReelportError) -> bool:
    match error:
        case QueueFull():
            return True
        case AccessError() | RequestError() | ReportExpired() | ReportFailed():
            return False
        case AskLost() | SchemaDrift() | RepeatedRows() | WindowEmptied():
            return False  # They say themselves which option changes that.
        case _:
            return reporter.token is not None or error.exit_status != ReelportError.exit_status
