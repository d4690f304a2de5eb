"""The command `reelport`: which commands there are, and how an error ends.

Each command's module is imported only when that command is called, so that the client's
commands start fast and work where the service's libraries are not installed.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from cyclopts import App, CycloptsError

from reelport.errors import ReelportError, UsageError

SERVER_EXTRA = "pip install 'reelport[server]'"

CLIENT_COMMANDS = {
    "report": ("reelport.cli.report:REPORT", "Ask for a report, wait for it, download it."),
}
SERVER_COMMANDS = {
    "serve": ("reelport.cli.service:serve", "Run the Reporting API and its workers."),
    "worker": ("reelport.cli.service:worker", "Run workers for a service that runs elsewhere."),
    "load": ("reelport.cli.facts:LOAD", "Load facts and objects from files."),
    "tables": ("reelport.cli.facts:tables", "Show what is loaded."),
    "compact": ("reelport.cli.facts:compact", "Merge settled days into month files."),
    "vacuum": ("reelport.cli.facts:vacuum", "Delete files that no report can need any more."),
    "sample": ("reelport.cli.sample:sample", "Fill the tables with believable facts to try things on."),
    "org": ("reelport.cli.access:ORG", "Organizations: the partners."),
    "channel": ("reelport.cli.access:CHANNEL", "Channels, and who may read them."),
    "key": ("reelport.cli.access:KEY", "API keys of organizations."),
    "queue": ("reelport.cli.service:QUEUE", "Reports that wait, run or ended."),
    "verify": ("reelport.cli.service:verify", "Hold tables and files against their records."),
    "doctor": ("reelport.cli.service:doctor", "Check this machine and this data directory."),
}


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - only --version pays for it

    return version("reelport")


APP = App(
    name="reelport",
    help="The open reporting system for video: the service, and the client that fetches its reports.",
    version=_version,
    help_format="plaintext",
)
for _group, _commands in (("For a partner", CLIENT_COMMANDS), ("For a platform", SERVER_COMMANDS)):
    for _name, (_path, _help) in _commands.items():
        APP.command(_path, name=_name, help=_help, group=_group)


def main(words: list[str] | None = None) -> NoReturn:
    """Run one command line and leave with its exit status: 0 done, else as the error says."""
    try:
        APP(words, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        sys.exit(UsageError.exit_status)
    except ReelportError as error:
        print_error(error)
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        _explain_missing(error)
    except BrokenPipeError:
        # Whoever read our output has gone away: nothing is left to say, not even at exit.
        sys.stderr.close()
        sys.exit(1)
    sys.exit(0)


def print_error(error: ReelportError) -> None:
    """Print an error on stderr: one line for each thing that it says."""
    for line in str(error).splitlines() or [type(error).__name__]:
        print(f"reelport: {line}", file=sys.stderr)


def _explain_missing(error: ModuleNotFoundError) -> NoReturn:
    if error.name is None or error.name.startswith("reelport"):
        raise error
    print(f"reelport: {error.name} is not installed; this command needs it: {SERVER_EXTRA}", file=sys.stderr)
    sys.exit(UsageError.exit_status)
