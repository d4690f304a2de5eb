"""The command `reelport`: which commands there are, and how an error ends.

Each command's module is imported only when that command is called, so that the client's
commands start fast and work where the service's libraries are not installed.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import NoReturn

from cyclopts import App, CycloptsError

from reelport.cli import stop_signals
from reelport.errors import ReelportError, StorageError, UsageError

SERVER_EXTRA = "pip install 'reelport[server]'"
COMPLETE = "__complete"
"""The word by which a shell's script asks what may be typed next."""

Command = tuple[str, str]
"""Where a command is, and what it does."""

_CLIENT = "reelport.cli.client_commands"
_SERVICE = "reelport.cli.service_commands"

CLIENT_COMMANDS = {
    "report": (f"{_CLIENT}.report:REPORT", "Ask for a report, wait for it, download it."),
    "plan": (f"{_CLIENT}.plan:plan", "Show the windows that a report over any range takes; calls nothing."),
    "jobs": (f"{_CLIENT}.jobs:JOBS", "Reports that this machine asked for, and which of them hold a slot."),
    "sync": (f"{_CLIENT}.sync:SYNC", "Keep a local copy of reports right: a DuckDB file or a Parquet folder."),
    "fields": (f"{_CLIENT}.fields:FIELDS", "Metrics, dimensions, filters and products, and what goes together."),
    "check": (f"{_CLIENT}.check:check", "Check address, key and permissions; asks for no report."),
    "auth": (f"{_CLIENT}.auth:AUTH", "Keep a key for later, say which one is used, forget it."),
    "config": (f"{_CLIENT}.config:CONFIG", "The settings in force, and where each comes from."),
    "completion": ("reelport.cli.completion:completion", "Print the shell's completion script."),
}
SERVER_COMMANDS = {
    "serve": (f"{_SERVICE}.serving:serve", "Run the Reporting API and its workers."),
    "worker": (f"{_SERVICE}.serving:worker", "Run workers for a service that runs elsewhere."),
    "load": (f"{_SERVICE}.facts:LOAD", "Load facts and objects from files."),
    "tables": (f"{_SERVICE}.facts:tables", "Show what is loaded."),
    "payees": (f"{_SERVICE}.payees:payees", "Show whom the loaded earnings belong to."),
    "compact": (f"{_SERVICE}.facts:compact", "Merge settled days into month files."),
    "vacuum": (f"{_SERVICE}.facts:vacuum", "Delete files that no report can need any more."),
    "sample": (f"{_SERVICE}.sample:sample", "Fill the tables with believable facts to try things on."),
    "org": (f"{_SERVICE}.access:ORG", "Organizations: the partners."),
    "channel": (f"{_SERVICE}.access:CHANNEL", "Channels, and who may read them."),
    "key": (f"{_SERVICE}.access:KEY", "API keys of organizations."),
    "queue": (f"{_SERVICE}.service:QUEUE", "Reports that wait, run or ended."),
    "verify": (f"{_SERVICE}.service:verify", "Hold tables and files against their records."),
    "doctor": (f"{_SERVICE}.service:doctor", "Check this machine and this data directory."),
}


TELLING = {("report", "run"), ("report", "submit"), ("report", "wait"), ("report", "download"), ("sync", "run")}
"""Commands whose `--json` tells events, a `result` at the end."""

_OF_THEMSELVES = TELLING | {("sync", "verify"), ("serve",), ("worker",)}
"""Commands that tell of unknown variables by themselves, in the form that they tell everything in."""


def _version() -> str:
    from importlib.metadata import version

    return version("reelport")


def application(client: Mapping[str, Command], server: Mapping[str, Command]) -> App:
    """The command line of these commands."""
    app = App(
        name="reelport",
        help="The open reporting system for video: the service, and the client that fetches its reports.",
        version=_version,
        help_format="plaintext",
    )
    for group, commands in (("For a partner", client), ("For a platform", server)):
        for name, (path, help_) in commands.items():
            app.command(path, name=name, help=help_, group=group)
    return app


APP = application(CLIENT_COMMANDS, SERVER_COMMANDS)


def main(words: list[str] | None = None) -> NoReturn:
    """Run one command line and leave with its exit status: 0 done, else as the error says."""
    try:
        _run(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt as stop:
        print("reelport: interrupted", file=sys.stderr)
        sys.exit(stop_signals.status_of(stop))
    sys.exit(0)


def _run(words: list[str]) -> None:
    """Run one command line; leave with a status where it goes wrong."""
    try:
        _refuse_unknown(words)
        _refuse_bytes(words)
        _refuse_dash(words)
        _refuse_service(words)
        _show_all_help(words)
        _call(words)
        sys.stdout.flush()
    except CycloptsError as error:
        from reelport.cli.syntax_problems import describe, find_problems

        _explain_words(words, UsageError("\n".join(find_problems(APP, words) or [describe(error)])))
    except ReelportError as error:
        print_error(error)
        sys.exit(error.exit_status)
    except ImportError as error:
        _explain_missing(error)
    except BrokenPipeError:
        # Whoever read our output has gone away: nothing is left to say, not even at exit.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _explain_full(error)


def _call(words: list[str]) -> None:
    """Read the words, and do what they say. One that tells what happens hears of a stop where it begins to tell."""
    command, bound, _ = APP.parse_args(words, exit_on_error=False, print_error=False)
    if tuple(words[:2]) not in TELLING:
        stop_signals.install_handlers()
    if command.__module__.startswith("reelport") and not {tuple(words[:1]), tuple(words[:2])} & _OF_THEMSELVES:
        _warn_of_variables()
    command(*bound.args, **bound.kwargs)


def _warn_of_variables() -> None:
    """Tell on stderr of variables of the environment that begin like ours and that nothing reads."""
    from reelport.cli.arguments.environment_variables import find_unknown

    for unknown in find_unknown():
        print(f"reelport: warning: {unknown}", file=sys.stderr)


def _refuse_unknown(words: list[str]) -> None:
    """Refuse a word that is no command here: cyclopts would import every command's module to say so."""
    known = CLIENT_COMMANDS | SERVER_COMMANDS
    if words and not words[0].startswith("-") and words[0] not in {COMPLETE, *known}:
        from reelport.check import nearest

        near = nearest(words[0], known)
        advice = f"did you mean {near}?" if near else "see reelport --help."
        raise UsageError(f"there is no command {words[0]!r}: {advice}")


def _refuse_bytes(words: list[str]) -> None:
    """Refuse a word that is no text: neither the wire nor a ledger could hold it."""
    for word in words:
        if not word.isascii() and word != word.encode(errors="replace").decode():
            _explain_words(words, UsageError(f"{word[:80]!r} is no text: the command line is read as UTF-8."))


def _refuse_dash(words: list[str]) -> None:
    """Refuse a dash for stdout, which cyclopts takes for no value at all."""
    apart = any(word in {"-o", "--output"} and after == "-" for word, after in pairwise(words))
    if apart or {"-o-", "-o=-", "--output=-"} & set(words):
        _explain_words(words, UsageError("'-' is no file: without -o the data goes to stdout."))


def _refuse_service(words: list[str]) -> None:
    """Refuse a command of the service on a system that it doesn't run on, before any of its modules fails."""
    if not words or words[0] not in SERVER_COMMANDS:
        return
    from reelport.client.files.locks import POSIX

    if not POSIX:
        raise UsageError(
            f"'reelport {words[0]}' is the service's, which runs on Linux, and not here: on Windows use WSL or a "
            f"container. The client's commands run here: {', '.join(CLIENT_COMMANDS)}."
        )


def _show_all_help(words: list[str]) -> None:
    """Let the command that is called show its whole help: what stands in the list of commands is short."""
    if words and words[0] in CLIENT_COMMANDS | SERVER_COMMANDS:
        command = APP[words[0]]
        command.help = command.help if command.default_command is None else None


def _explain_words(words: list[str], error: UsageError) -> NoReturn:
    """Say that the words were off; to a program that wants to be told what happens, as its result."""
    if "--json" not in words or tuple(words[:2]) not in TELLING:
        print_error(error)
        sys.exit(error.exit_status)
    from reelport.cli.output.progress import reporting

    output = next((word for word in words if word.startswith(("-o", "--output"))), None)
    try:
        with reporting(json=True, quiet=True, output=output if words[0] == "report" else words[0]):
            raise error
    except UsageError:
        print_error(error)
    sys.exit(error.exit_status)


def print_error(error: ReelportError) -> None:
    """Print an error on stderr: one line for each thing that it says, and no password of an address in it."""
    from reelport.cli.output.terminal_text import plain

    text = str(error)
    if ":/" in text:
        from reelport.server.masking import hide_passwords

        text = hide_passwords(text)
    for line in text.splitlines() or [type(error).__name__]:
        print(f"reelport: {plain(line)}", file=sys.stderr)


def _explain_full(error: OSError) -> NoReturn:
    """Say that stdout takes no more; what goes wrong with a file is told where it happens, or is a defect."""
    if error.filename is not None or error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
        raise error
    # What is left to write would fail again when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print_error(StorageError(f"stdout takes no more: {error.strerror}."))
    sys.exit(StorageError.exit_status)


def _explain_missing(error: ImportError) -> NoReturn:
    """Name the extra that brings an absent library; an absent module of our own is a defect and stays one."""
    cause = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
    if cause.name is None or cause.name.startswith("reelport"):
        raise error
    print(f"reelport: {cause.name} is not installed; this command needs it: {SERVER_EXTRA}", file=sys.stderr)
    sys.exit(UsageError.exit_status)
