"""`--on-failure COMMAND`: a command of the user's that hears of a failure, and changes nothing about it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from reelport.errors import ReelportError
from reelport.wording import format_count

_PATIENCE = 60.0
"""Seconds that the command may take. Then it is ended, with all that it has started."""

_STDERR = 2


@contextmanager
def run_on_failure(command: str | None, facts: Mapping[str, object], *, patience: float = _PATIENCE) -> Iterator[None]:
    """Run a shell command where the block fails, with the failure and the facts as one line of JSON on its stdin.

    The block's error goes on unchanged, whatever the command does. What the command prints goes to stderr. A stop by
    Ctrl-C or SIGTERM is no failure.
    """
    try:
        yield
    except ReelportError as error:
        if command and not isinstance(error.__context__, KeyboardInterrupt):
            failure = {"status": error.exit_status, "code": error.code, "error": str(error)}
            now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            _run(command, json.dumps({"time": now, **facts, **failure}), patience)
        raise


def _run(command: str, line: str, patience: float) -> None:
    """Run the command; tell on stderr where it fails itself."""
    sys.stderr.flush()
    try:
        process = subprocess.Popen(  # noqa: S602 - the user's own command line, as in a crontab; no fact is put into it
            command, shell=True, stdin=subprocess.PIPE, stdout=_STDERR, start_new_session=True
        )
    except OSError as error:
        _warn(f"can't be run: {error}")
        return
    try:
        process.communicate(f"{line}\n".encode(), timeout=patience)
    except subprocess.TimeoutExpired:
        _kill(process)
        _warn(f"took longer than {format_count(round(patience), 'second')} and was ended.")
        return
    if process.returncode:
        _warn(f"ended with status {process.returncode}.")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _warn(what: str) -> None:
    print(f"reelport: warning: the command of --on-failure {what}", file=sys.stderr)
