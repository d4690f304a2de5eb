"""API processes that share one listening socket: started, replaced when they die, and stopped with the service.

Each accepts connections by itself, so one that died takes only its own with it. Their counts are kept in files of one
folder, and whichever of them is asked for its metrics tells those of all.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from reelport.facts.durable import reason_of
from reelport.server.settings import Settings

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which the library learns, before it is imported, that several processes count together."""
STOP_SECONDS = 15.0
_LEAST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 10.0, 1.5
_SOUND_SECONDS = 30.0
"""A process that lived so long was sound: its death is no reason to wait."""
_LOOK_SECONDS = 0.05
_LOG = structlog.get_logger(__name__)


@contextmanager
def api_processes(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Keep `settings.processes` processes answering on this socket within the block."""
    with tempfile.TemporaryDirectory(prefix="reelport-metrics-") as folder:
        kept = _Kept(settings, listener, Path(folder))
        threads = [
            threading.Thread(target=kept.keep_one, name=f"api-{number}", daemon=True)
            for number in range(settings.processes)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            kept.ending.set()
            for thread in threads:
                thread.join()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the keepers of all processes share."""

    settings: Settings
    listener: socket.socket
    metrics: Path
    ending: threading.Event = field(default_factory=threading.Event)

    def keep_one(self) -> None:
        """Keep one process running; each death soon after its start is followed by a longer pause."""
        pause = _LEAST_PAUSE / _GROWTH
        while not self.ending.is_set():
            started = time.monotonic()
            ended = self._run()
            if self.ending.is_set():
                return
            sound = time.monotonic() - started > _SOUND_SECONDS
            pause = _LEAST_PAUSE if sound else min(pause * _GROWTH, _LONGEST_PAUSE)
            _LOG.warning("API process ended", **ended, restart_in=round(pause, 2))
            self.ending.wait(pause)

    def _run(self) -> dict[str, int | str]:
        """One process, from its start to its end or to the service's; what became of it."""
        try:
            process = self._start()
        except OSError as error:  # too many processes or open files, too little memory: all of that passes
            return {"reason": f"it could not be started: {reason_of(error)}"}
        while process.poll() is None and not self.ending.wait(_LOOK_SECONDS):
            pass
        if process.poll() is None:
            _stop(process)
        if process.stdin is not None:
            process.stdin.close()
        # What it did stays counted; what it was doing is over.
        for file in self.metrics.glob(f"gauge_live*_{process.pid}.db"):
            file.unlink(missing_ok=True)
        return {"pid": process.pid, "status": process.returncode}

    def _start(self) -> subprocess.Popen[bytes]:
        """A process whose standard input ends when this one does, however it does."""
        number = self.listener.fileno()
        return subprocess.Popen(
            [sys.executable, "-m", "reelport.server.api_process", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
            # A Ctrl-C in the terminal is for the service, which then stops its processes.
            process_group=0,
            env={**os.environ, **self.settings.environment(), METRICS_FOLDER: str(self.metrics)},
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
