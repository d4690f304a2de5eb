"""Podman's commands: one is run, images are looked for, fetched and built."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deploy.fleet.part import FleetError

_PULL_SECONDS = 300.0
_SECONDS = 1200.0
_STOP_SECONDS = 10.0


def podman(*words: str, folder: Path | None = None, seconds: float = _SECONDS) -> str:
    """Run podman; what it printed. FleetError, with its own last words, when it fails or takes too long."""
    command = ["podman", *words]
    # It warns of an old kind of control groups at each call.
    environment = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    # In a session of its own, which ends as a whole: `compose` is a program that would go on without podman.
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
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
            raise FleetError(f"{_shorten(command)} took longer than {seconds:.0f} seconds") from error
        except BaseException:  # a Ctrl-C too must leave no program behind; it is raised again
            _end(running)
            raise
    if running.returncode:
        said = "\n".join((told or printed).strip().splitlines()[-12:])
        raise FleetError(f"{_shorten(command)} ended with status {running.returncode}:\n{said}")
    return printed.strip()


def has_image(name: str) -> bool:
    """Whether the image is on this machine, or its registry gives it."""
    for words in (("image", "exists", name), ("pull", "--quiet", name)):
        try:
            podman(*words, seconds=_PULL_SECONDS)
        except FleetError:
            continue
        return True
    return False


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
