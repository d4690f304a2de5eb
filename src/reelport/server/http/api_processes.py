"""Starts API processes on one listening socket, and restarts those that die.

They stop with the service. Each process accepts connections by itself, so a process that dies loses only its own
connections. All of them keep their metrics in files of one folder, and each reports the sum.
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

from reelport.server.settings import Settings
from reelport.storage.durable import describe_os_error

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that makes `prometheus_client` sum the metrics of several processes; read at its import."""
STOP_SECONDS = 15.0
_LEAST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 10.0, 1.5
_HEALTHY_SECONDS = 30.0
"""A process that lived longer than this is restarted after the shortest pause."""
_POLL_SECONDS = 0.05
_LOG = structlog.get_logger(__name__)


@contextmanager
def run_api_processes(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Keep `settings.processes` processes serving this socket within the block."""
    with tempfile.TemporaryDirectory(prefix="reelport-metrics-") as folder:
        supervisor = _ProcessSupervisor(settings, listener, Path(folder))
        threads = [
            threading.Thread(target=supervisor.keep_one_running, name=f"api-{number}", daemon=True)
            for number in range(settings.processes)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            supervisor.stopping.set()
            for thread in threads:
                thread.join()


@dataclass(frozen=True, slots=True)
class _ProcessSupervisor:
    """Keeps API processes running, one thread for each; the threads share this object."""

    settings: Settings
    listener: socket.socket
    metrics_folder: Path
    stopping: threading.Event = field(default_factory=threading.Event)

    def keep_one_running(self) -> None:
        """Restart a process until the service stops, with backoff after early deaths."""
        pause = _LEAST_PAUSE / _GROWTH
        while not self.stopping.is_set():
            started = time.monotonic()
            ended = self._run_once()
            if self.stopping.is_set():
                return
            was_healthy = time.monotonic() - started > _HEALTHY_SECONDS
            pause = _LEAST_PAUSE if was_healthy else min(pause * _GROWTH, _LONGEST_PAUSE)
            _LOG.warning("API process ended", **ended, restart_in=round(pause, 2))
            self.stopping.wait(pause)

    def _run_once(self) -> dict[str, int | str]:
        """Run a process to its end or the service's; return pid and status, or why it didn't start."""
        try:
            process = self._start()
        except OSError as error:  # too many processes or open files, too little memory: all of that passes
            return {"reason": f"it could not be started: {describe_os_error(error)}"}
        while process.poll() is None and not self.stopping.wait(_POLL_SECONDS):
            pass
        if process.poll() is None:
            _stop(process)
        if process.stdin is not None:
            process.stdin.close()
        # Its counters stay in the sum; its gauges of current activity must go.
        for file in self.metrics_folder.glob(f"gauge_live*_{process.pid}.db"):
            file.unlink(missing_ok=True)
        return {"pid": process.pid, "status": process.returncode}

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a process that exits with this one: its standard input is a pipe from here."""
        number = self.listener.fileno()
        return subprocess.Popen(
            [sys.executable, "-m", "reelport.server.api_process", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
            # A process group of its own: Ctrl-C reaches the service only, which then stops its processes.
            process_group=0,
            env={**os.environ, **self.settings.environment(), METRICS_FOLDER: str(self.metrics_folder)},
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
