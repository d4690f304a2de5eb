"""Keeps worker processes alive beside the API: started again when they die, stopped with it, gone when it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from reelport.facts.durable import reason_of
from reelport.server.settings import Settings

_LEAST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_GROWTH = 1.5
_SOUND_SECONDS = 30.0
"""A worker that lived so long was sound: its death is no reason to wait."""

_LOOK_SECONDS = 0.05
_log = structlog.get_logger()


@contextmanager
def supervised(settings: Settings) -> Iterator[None]:
    """Keep `settings.workers` worker processes running within the block."""
    ending = threading.Event()
    threads = [
        threading.Thread(target=_keep, args=(settings, ending), name=f"supervisor-{number}", daemon=True)
        for number in range(settings.workers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def _keep(settings: Settings, ending: threading.Event) -> None:
    pause = _LEAST_PAUSE / _GROWTH
    while not ending.is_set():
        started = time.monotonic()
        ended = _run(settings, ending)
        if ending.is_set():
            return
        pause = _LEAST_PAUSE if time.monotonic() - started > _SOUND_SECONDS else min(pause * _GROWTH, _LONGEST_PAUSE)
        _log.warning("worker ended", **ended, restart_in=round(pause, 2))
        ending.wait(pause)


def _run(settings: Settings, ending: threading.Event) -> dict[str, int | str]:
    """One worker, from its start to its end or to the service's; what became of it."""
    try:
        process = _start(settings)
    except OSError as error:  # too many processes or open files, too little memory: all of that passes
        return {"reason": f"it could not be started: {reason_of(error)}"}
    while process.poll() is None and not ending.wait(_LOOK_SECONDS):
        pass
    if ending.is_set():
        _stop(process, settings)
    _close(process)
    return {"pid": process.pid, "status": process.returncode}


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    """A worker whose standard input ends when this process does, however it does."""
    return subprocess.Popen(
        [sys.executable, "-m", "reelport", "worker", "--attached"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **settings.environment()},
    )


def _stop(process: subprocess.Popen[bytes], settings: Settings) -> None:
    process.terminate()
    try:
        process.wait(settings.drain_seconds + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
