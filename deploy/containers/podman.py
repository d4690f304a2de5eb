"""Podman's commands: one is run, images are looked for, fetched and built."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from deploy.fleet.part import FleetError

_PULL_SECONDS = 300.0
_ASK_SECONDS = 8.0
"""Less than the 10 seconds after which podman itself gives up a handshake, only to begin anew, three times."""
_SECONDS = 1200.0
_STOP_SECONDS = 10.0


class TookTooLong(FleetError):
    """Podman was stopped, since it took too long."""


def podman(
    *words: str, folder: Path | None = None, seconds: float = _SECONDS, environment: Mapping[str, str] | None = None
) -> str:
    """Run podman; what it printed. FleetError, with its own last words, when it fails or takes too long."""
    command = ["podman", *words]
    # It warns of an old kind of control groups at each call.
    whole = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1", **(environment or {})}
    # In a session of its own, which ends as a whole: `compose` is a program that would go on without podman.
    with subprocess.Popen(
        command,
        cwd=folder,
        env=whole,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            printed, told = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            _end(running)
            raise TookTooLong(f"{_shorten(command)} took longer than {seconds:.0f} seconds") from error
        except BaseException:  # a Ctrl-C too must leave no program behind; it is raised again
            _end(running)
            raise
    if running.returncode:
        said = "\n".join((told or printed).strip().splitlines()[-12:])
        raise FleetError(f"{_shorten(command)} ended with status {running.returncode}:\n{said}")
    return printed.strip()


def has_image(name: str, ask_seconds: float = _ASK_SECONDS) -> bool:
    """Whether the image is on this machine, or its registry gives it.

    A registry that is silent for `ask_seconds` is not waited for any longer: to fetch an image may take minutes.
    """
    if succeeds("image", "exists", name):
        return True
    try:
        podman("manifest", "inspect", name, seconds=ask_seconds)
    except TookTooLong:
        return False
    except FleetError:  # a registry may refuse that, and give the image all the same
        pass
    return succeeds("pull", "--quiet", name, seconds=_PULL_SECONDS)


def succeeds(*words: str, seconds: float = _SECONDS) -> bool:
    """Whether podman runs and finds what it is asked for."""
    try:
        podman(*words, seconds=seconds)
    except FleetError:
        return False
    return True


def build_image(name: str, file: Path, folder: Path, arguments: Sequence[str] = ()) -> None:
    """Build an image of a Containerfile; in Docker's form, since the other one has no checks of health."""
    given = [word for argument in arguments for word in ("--build-arg", argument)]
    podman("build", "--pull=never", "--format=docker", "--file", str(file), "--tag", name, *given, str(folder))


def _end(running: subprocess.Popen[str]) -> None:
    """Stop a program with all that it started; what doesn't end is killed."""
    for by in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(running.pid, by)
        with suppress(subprocess.TimeoutExpired):
            running.wait(_STOP_SECONDS)


def _shorten(command: Sequence[str]) -> str:
    return " ".join(command[:6])
