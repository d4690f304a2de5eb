"""Who tells what happens, a person or a program, and how a command ends that ends too early."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reelport.cli import stop_signals
from reelport.cli.arguments.environment_variables import find_unknown
from reelport.cli.arguments.query_problems import in_options
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
class Teller:
    """Passes on what happens to a person or a program, and knows what is asked for and which command goes on.

    `resume` are the words after `reelport report`, or after the `group` of commands that is named.
    """

    voice: ProgressLines | JsonEvents
    query: ReportQuery | None = None
    resume: list[str] = field(default_factory=list)
    group: str = "report"

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        self.voice(event)

    def about(self, query: ReportQuery) -> ReportQuery:
        """Remember what is asked for."""
        self.query = query
        return query

    @property
    def token(self) -> str | None:
        """The report's token, as far as it is known."""
        return self.voice.token

    @token.setter
    def token(self, token: str) -> None:
        self.voice.token = token

    def rest(self) -> None:
        """Nothing more will happen that takes time."""
        self.voice.rest()

    def delivered(self, done: Downloaded, output: str | None, more: dict[str, object], *, drawn: bool = False) -> None:
        """The good end of a download; `drawn` where the data itself was given nowhere, and stdout has a chart of it."""
        self.voice.delivered(done, output, more, drawn=drawn)

    def ended(self, **facts: object) -> None:
        """Another good end."""
        self.voice.ended(**facts)

    def command(self) -> str:
        """The command that goes on."""
        return quote_command(["reelport", self.group, *self.resume])


@contextmanager
def reporting(*, json: bool, quiet: bool, output: str | None = None) -> Iterator[Teller]:
    """Tell what happens until the end, good or bad.

    JSON goes to stdout where the data goes into a file, else to stderr, which then holds nothing else.
    """
    aside = output is None
    voice = (
        JsonEvents(sys.stderr if aside else sys.stdout, quiet=quiet) if json else ProgressLines(stderr(), quiet=quiet)
    )
    teller = Teller(voice)
    try:
        stop_signals.install_handlers()
        with voice:
            for unknown in find_unknown():
                voice.say(f"warning: {unknown}")
            yield teller
    except KeyboardInterrupt as stop:
        _raise(teller, _interrupted(teller, stop), alone=json and aside)
    except ReelportError as error:
        _raise(teller, error, alone=json and aside)


def _raise(teller: Teller, error: ReelportError, *, alone: bool) -> None:
    """Raise an error in its last words; `alone`: the result on stderr has said it all."""
    if isinstance(error, QueryRefused) and teller.query is not None:
        error = in_options(error, teller.query)
    error = teller.voice.failed(error, teller.command() if teller.resume and _goes_on(teller, error) else None)
    if alone:
        sys.exit(error.exit_status)
    raise error


def _interrupted(teller: Teller, stop: KeyboardInterrupt) -> ReelportError:
    if not teller.resume:
        return Interrupted("Interrupted before anything was asked for.", stop_signals.status_of(stop))
    return NotFinished("Interrupted; nothing is lost.", teller.token or "")


def _goes_on(teller: Teller, error: ReelportError) -> bool:
    """Whether the same command, run again, goes on rather than fail in the same way or begin anew."""
    match error:
        case QueueFull():
            return True
        case AccessError() | RequestError() | ReportExpired() | ReportFailed():
            return False
        case AskLost() | SchemaDrift() | WindowEmptied():
            return False  # They say themselves which option changes that.
        case _:
            return teller.token is not None or error.exit_status != ReelportError.exit_status
