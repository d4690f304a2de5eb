"""The command `reelport`: its table of commands, and how errors end the process.

A command's module is imported only when that command is called, so that the client's
commands start fast and work where the service's libraries are not installed.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import NoReturn, cast

from cyclopts import App, CycloptsError, Parameter

from reelport.cli import stop_signals
from reelport.errors import ReelportError, StorageError, UsageError

Command = tuple[str, str]  # a command's import path, and what it does

_CLIENT = "reelport.cli.client_commands"
_SERVICE = "reelport.cli.service_commands"

CLIENT_COMMANDS = {
    "report": (f"{_CLIENT}.report:REPORT", "Ask for a report, wait for it, download it."),
    "plan": (f"{_CLIENT}.plan:plan", "Show the windows that a report over any range takes; calls nothing."),
    "jobs": (f"{_CLIENT}.jobs:JOBS", "Reports that this machine requested, and which of them hold a slot."),
    "sync": (f"{_CLIENT}.sync:SYNC", "Keep a local copy of reports up to date: a DuckDB file or a Parquet folder."),
    "fields": (
        f"{_CLIENT}.fields:FIELDS",
        "List and explain metrics, dimensions, filters and products, and what goes together.",
    ),
    "check": (f"{_CLIENT}.check:check", "Check address, key and permissions; asks for no report."),
    "mcp": ("reelport.cli.assistant.command:mcp", "Serve assistants by the Model Context Protocol, over stdio."),
    "auth": (f"{_CLIENT}.auth:AUTH", "Save a key, show which key is used, delete it."),
    "completion": ("reelport.cli.completion:completion", "Print the shell's completion script."),
}
SERVER_COMMANDS = {
    "serve": (f"{_SERVICE}.serving:serve", "Run the Reporting API and its workers."),
    "worker": (f"{_SERVICE}.serving:worker", "Run workers for a service that runs elsewhere."),
    "load": (f"{_SERVICE}.facts:LOAD", "Load facts and objects from files."),
    "tables": (f"{_SERVICE}.facts:tables", "Show what is loaded."),
    "payees": (f"{_SERVICE}.facts:payees", "Show whom the loaded earnings belong to."),
    "compact": (f"{_SERVICE}.facts:compact", "Merge settled days into month files."),
    "vacuum": (f"{_SERVICE}.facts:vacuum", "Delete files that no report can need any more."),
    "rollups": (f"{_SERVICE}.rollups:ROLLUPS", "Sums of facts by day or hour, from which reports are made faster."),
    "explain": (f"{_SERVICE}.rollups:explain", "Say which rollups a report uses, and why not the others."),
    "sandbox": (f"{_SERVICE}.sandbox:sandbox", "Run a service on sample facts, with keys, to try a program on."),
    "sample": (f"{_SERVICE}.facts:sample", "Fill the tables with believable facts to try things on."),
    "org": (f"{_SERVICE}.access:ORG", "Organizations: the partners."),
    "channel": (f"{_SERVICE}.access:CHANNEL", "Channels, and who may read them."),
    "key": (f"{_SERVICE}.keys:KEY", "API keys of organizations."),
    "user": (f"{_SERVICE}.users:USER", "Users: the people of organizations."),
    "audit": (f"{_SERVICE}.access:audit", "Show who did what, when and from where."),
    "queue": (f"{_SERVICE}.maintenance:QUEUE", "Reports that wait, run or ended."),
    "verify": (f"{_SERVICE}.maintenance:verify", "Check tables, rollups and reports against records."),
    "backup": (f"{_SERVICE}.backup:backup", "Back up state, tables and finished reports, while the service runs."),
    "restore": (f"{_SERVICE}.backup:restore", "Restore a backup into an empty data directory."),
    "verify-backup": (f"{_SERVICE}.backup:verify_backup", "Restore a backup to a scratch place, and try it."),
    "state": (f"{_SERVICE}.maintenance:STATE", "The database of organizations, keys and reports."),
    "upgrade": (f"{_SERVICE}.maintenance:upgrade", "Bring a data directory to this version, or try what that does."),
    "doctor": (f"{_SERVICE}.maintenance:doctor", "Check this machine and this data directory."),
}


# Commands whose `--json` prints events, and a `result` at the end.
EVENT_COMMANDS = {("report", "run"), ("report", "submit"), ("report", "wait"), ("report", "download"), ("sync", "run")}

# Exit status after the reader of stdout has gone, as shells have it: 128 plus SIGPIPE, which Windows lacks.
_CLOSED_PIPE = 141
_PROCESSES = (["serve"], ["worker"])  # commands that run until they are stopped

# Commands that warn of unknown variables themselves, in their own output format.
_WARN_THEMSELVES = EVENT_COMMANDS | {("sync", "verify"), *map(tuple, _PROCESSES)}

# Commands that write a few rows by pyarrow. It imports numpy where that is installed, and so takes twice as long to
# import; these never use it. Only a process that runs the command alone goes without.
_WITHOUT_NUMPY = {("channel", "add")}

# Commands whose process ends without taking Python apart, which is a quarter of the time of a small report. They have
# closed what they opened; a sync may have loaded libraries with an end of their own.
ENDED_AT_ONCE = frozenset(CLIENT_COMMANDS) - {"sync"}

# New objects after which Python looks for garbage: after 700, its default, a command spends a twentieth of its time on
# it, and finds none, for what it imports stays.
_COLLECT_AFTER = 100_000


def build_application(client: Mapping[str, Command], server: Mapping[str, Command]) -> App:
    """Build the command line of these commands."""
    app = App(
        name="reelport",
        help="The open reporting system for video: the service, and the client that fetches its reports.",
        version=lambda: import_module("importlib.metadata").version("reelport"),
        help_format="plaintext",
        default_parameter=Parameter(negative=()),  # no option has a --no- or an --empty- beside it
    )
    for group, commands in (("For a partner", client), ("For a platform", server)):
        for name, (path, help_) in commands.items():
            app.command(path, name=name, help=help_, group=group)
    return app


APP = build_application(CLIENT_COMMANDS, SERVER_COMMANDS)


def main(words: list[str] | None = None) -> NoReturn:
    """Run one command line and exit with its status: 0 for success, else the error's."""
    given = sys.argv[1:] if words is None else words
    if words is None and tuple(given[:2]) in _WITHOUT_NUMPY:
        cast("dict[str, object]", sys.modules).setdefault("numpy", None)  # Python's own sign for what isn't there
    if given[:1] not in _PROCESSES:
        gc.set_threshold(_COLLECT_AFTER)
    try:
        _run_command_line(given)
    except KeyboardInterrupt as stop:
        print("reelport: interrupted", file=sys.stderr)
        sys.exit(stop_signals.exit_status_of(stop))
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
    sys.exit(0)


def _run_command_line(words: list[str]) -> None:
    try:
        _refuse_unknown(words)
        _refuse_service(words)
        _show_all_help(words)
        _call_command(words)
        sys.stdout.flush()
    except CycloptsError as error:
        from reelport.cli.arguments.usage_errors import describe_syntax_error

        _explain_words(words, UsageError(describe_syntax_error(error)))
    except ReelportError as error:
        print_error(error)
        sys.exit(error.exit_status)
    except ImportError as error:
        _explain_missing_library(error)
    except BrokenPipeError:
        _discard_output()  # The reader has what it wanted, as `head` has: no word, and the status of a pipe's writer.
        sys.exit(_CLOSED_PIPE)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Rich, which prints help and tables, makes it a plain 1.
            sys.exit(_CLOSED_PIPE)
        raise
    except OSError as error:
        _explain_full_disk(error)
    except Exception:
        stop_signals.raise_lost_stop()  # A library that is interrupted may raise an error of its own.
        raise


def _call_command(words: list[str]) -> None:
    """Parse the words and call their command; those that print events install own handlers."""
    # What isn't UTF-8 neither a request nor the ledger could hold.
    if not_text := next((word for word in words if word != word.encode(errors="replace").decode()), None):
        _explain_words(words, UsageError(f"{not_text[:80]!r} is no text: the command line is read as UTF-8."))
    command, bound, _ = APP.parse_args(words, exit_on_error=False, print_error=False)
    is_ours = command.__module__.startswith("reelport")  # and not a help of cyclopts
    if is_ours:
        from reelport.cli.arguments.usage_errors import refuse_addresses

        try:
            refuse_addresses(words[0], bound.arguments)
        except UsageError as error:
            _explain_words(words, error)
    if tuple(words[:2]) not in EVENT_COMMANDS:
        stop_signals.install_handlers()
    if is_ours and not {tuple(words[:1]), tuple(words[:2])} & _WARN_THEMSELVES:
        from reelport.cli.arguments.environment_variables import find_unknown_variables

        for unknown in find_unknown_variables():
            print(f"reelport: warning: {unknown}", file=sys.stderr)
    command(*bound.args, **bound.kwargs)


def _refuse_unknown(words: list[str]) -> None:
    """Refuse a word that is no command; cyclopts would import every module to find out."""
    known = CLIENT_COMMANDS | SERVER_COMMANDS
    if words and not words[0].startswith("-") and words[0] not in known:
        from reelport.similar_names import nearest

        near = nearest(words[0], known)
        advice = f"did you mean {near}?" if near else "see reelport --help."
        raise UsageError(f"there is no command {words[0]!r}: {advice}")


def _refuse_service(words: list[str]) -> None:
    if words and words[0] in SERVER_COMMANDS:
        from reelport.client.files.locks import POSIX

        if not POSIX:
            raise UsageError(
                f"'reelport {words[0]}' is the service's, which runs on Linux, and not here: on Windows use WSL or a "
                f"container. The client's commands run here: {', '.join(CLIENT_COMMANDS)}."
            )


def _show_all_help(words: list[str]) -> None:
    """Make the called command show its full help, not its one line in the list."""
    if words and words[0] in CLIENT_COMMANDS | SERVER_COMMANDS:
        command = APP[words[0]]
        command.help = command.help if command.default_command is None else None


def _explain_words(words: list[str], error: UsageError) -> NoReturn:
    """Print a usage error and exit. Where `--json` prints events, it is the `result` too."""
    if "--json" not in words or tuple(words[:2]) not in EVENT_COMMANDS:
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
    """Print an error on stderr, line by line, without passwords of addresses in it."""
    from reelport.wording import clean_line

    text = str(error)
    if ":/" in text:
        from reelport.server.masking import hide_passwords

        text = hide_passwords(text)
    for line in text.splitlines() or [type(error).__name__]:
        print(f"reelport: {clean_line(line)}", file=sys.stderr)


def _discard_output() -> None:
    """Send what stdout still holds nowhere: Python flushes it at exit, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain_full_disk(error: OSError) -> NoReturn:
    if error.filename is not None or error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}:
        raise error
    _discard_output()
    print_error(StorageError(f"stdout takes no more: {error.strerror}."))
    sys.exit(StorageError.exit_status)


def _explain_missing_library(error: ImportError) -> NoReturn:
    """Name the extra that installs a missing library. A missing module of ours is a defect."""
    cause = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error
    if cause.name is None or cause.name.startswith("reelport"):
        raise error
    from reelport.wording import advise_extra

    print(f"reelport: {cause.name} is not installed; this command needs it: {advise_extra('server')}", file=sys.stderr)
    sys.exit(UsageError.exit_status)
