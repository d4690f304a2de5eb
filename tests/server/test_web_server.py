"""A service that can't start says so, and never that it listens."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from starlette.applications import Starlette
from tests.patience import run_child

from reelport.errors import StorageError
from reelport.server.settings import read_settings
from reelport.server.web_server import serve_app


def test_what_keeps_an_app_from_starting_is_raised(tmp_path: Path) -> None:
    """Nobody is told that it listens, and no traceback is logged: whoever serves says what went wrong."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        raise StorageError("the disk went away just now")
        yield  # what makes a generator of it

    settings = read_settings(data=tmp_path / "data", workers=0)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        structlog.testing.capture_logs() as logs,
        pytest.raises(StorageError, match="the disk went away just now"),
    ):
        serve_app(Starlette(lifespan=lifespan), settings, listener)
    assert logs == []


_SERVED = """
import gc, os, signal, socket, sys, threading, urllib.request
from reelport.server.settings import read_settings
from reelport.server.web_server import serve_on

def look(port):
    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live").read()
    sys.stdout.write(f"\\n{gc.get_freeze_count() > len(gc.get_objects())}\\n")  # alone on its line beside a log's line
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGTERM)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
settings = read_settings(data=sys.argv[1], workers=0)
print("ready", flush=True)
with socket.create_server(("127.0.0.1", 0)) as listener:
    threading.Thread(target=look, args=listener.getsockname()[1:]).start()
    serve_on(settings, listener)
"""


_TOLD_BEFORE = """
import os, signal, socket, sys, weakref
from reelport.server.process import exit_process
from reelport.server.settings import read_settings
from reelport.server.web_server import serve_on

class Gone:
    pass

signal.signal(signal.SIGTERM, exit_process)
settings = read_settings(data=sys.argv[1], workers=0)
print("ready", flush=True)
gone = Gone()
seen = weakref.ref(gone, lambda _: os.kill(os.getpid(), signal.SIGTERM))
del gone
print("still here", flush=True)
with socket.create_server(("127.0.0.1", 0)) as listener:
    serve_on(settings, listener)
print("ended", flush=True)
"""


def test_a_signal_whose_exception_python_dropped_still_ends_the_service(tmp_path: Path) -> None:
    """As where it comes while a module is imported: its lock goes by the callback of a weak reference."""
    said = run_child(_TOLD_BEFORE, str(tmp_path / "data")).splitlines()
    assert [line for line in said if line in ("still here", "ended")] == ["still here", "ended"]


def test_the_garbage_collector_passes_over_what_a_process_keeps_for_good(tmp_path: Path) -> None:
    """Of all that a serving process has, less than half is visited while requests wait."""
    assert "True" in run_child(_SERVED, str(tmp_path / "data")).splitlines()


_CROWDED = """
import json, pathlib, resource, signal, socket, sys, threading, urllib.request
from reelport.server.settings import read_settings
from reelport.server.web_server import serve_on

def read(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return [line for line in text.splitlines() if line.startswith("reelport_connections_crowded_out_total")]

def crowd(port):
    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live").read()
    said = read(port)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(79)]
    first = silent[0].recv(1)
    pathlib.Path(sys.argv[2]).write_text(json.dumps([said, first.decode(), read(port)]))
    signal.raise_signal(signal.SIGTERM)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))  # 78 connections
with socket.create_server(("127.0.0.1", 0)) as listener:
    threading.Thread(target=crowd, args=listener.getsockname()[1:]).start()
    serve_on(read_settings(data=sys.argv[1], workers=0), listener)
"""


def test_connections_that_make_room_are_counted(tmp_path: Path) -> None:
    """Nobody is told of them otherwise: an alert asks for the number."""
    found = tmp_path / "found.json"  # what it prints is its log's
    run_child(_CROWDED, str(tmp_path / "data"), str(found))
    before, first, after = json.loads(found.read_text())
    assert (before, first) == (["reelport_connections_crowded_out_total 0.0"], "")
    assert after == ["reelport_connections_crowded_out_total 2.0"]  # the last made room for who read this
