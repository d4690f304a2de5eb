"""Opens the listening socket, starts API processes on it, and restarts those that die.

They stop with the service. Each process accepts connections by itself, so a process that dies loses only its own
connections. All of them keep their metrics in files of one folder, and each reports the sum.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from reelport.errors import UsageError
from reelport.server.process import Ended, keep_running, run_process, run_threads
from reelport.server.settings import Settings

BACKLOG = 2048


@contextmanager
def open_listener(settings: Settings) -> Iterator[socket.socket]:
    """Open a listening socket on the host and port of the settings; UsageError when that fails."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Name the protocol: only then asyncio sets TCP_NODELAY, without which each answer waits 40 ms.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"The host {settings.host!r} is none of this machine's: {error.strerror}.") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(BACKLOG)
        except OSError as error:
            raise UsageError(_explain_bind_error(settings, error)) from None
        yield listener


def _explain_bind_error(settings: Settings, error: OSError) -> str:
    place = f"{settings.host}:{settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"{place} is in use by another program: stop it, or take another port with --port (REELPORT_PORT), "
                "0 for a free one."
            )
        case errno.EACCES:
            return f"{place} may not be used by this user: take a port above 1023 with --port (REELPORT_PORT)."
        case _:
            return f"{place} can't be listened on: {error.strerror}."


def format_address(listener: socket.socket) -> str:
    """Format the address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that makes `prometheus_client` sum the metrics of several processes; read at its import."""
STOP_SECONDS = 15.0


@contextmanager
def run_api_processes(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Keep `settings.processes` processes serving this socket within the block."""
    number, stopping = listener.fileno(), threading.Event()

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "reelport.server.api_process", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[number],
            # A process group of its own: Ctrl-C reaches the service only, which then stops its processes.
            process_group=0,
            env={**os.environ, **settings.environment(), METRICS_FOLDER: folder},
        )

    def run_once() -> Ended:
        process = run_process(start, stopping, STOP_SECONDS)
        if isinstance(process, dict):
            return process
        # Its counters stay in the sum; its gauges of current activity must go.
        for file in Path(folder).glob(f"gauge_live*_{process.pid}.db"):
            file.unlink(missing_ok=True)
        return {"pid": process.pid, "status": process.returncode}

    keep_one_running = partial(keep_running, "API process", run_once, stopping)
    with (
        tempfile.TemporaryDirectory(prefix="reelport-metrics-") as folder,
        run_threads("api", [keep_one_running] * settings.processes, stopping),
    ):
        yield
