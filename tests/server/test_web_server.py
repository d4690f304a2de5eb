"""Processes of the service: one that can't start says so, all end soon, and workers have a lower priority."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import func, select
from starlette.applications import Starlette
from tests.disks import remount, small_disk
from tests.patience import run_child, until
from tests.server.conftest import State

from reelport.errors import StorageError
from reelport.server.app import create_app
from reelport.server.files import retention
from reelport.server.settings import read_settings
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import REPORTS
from reelport.server.web_server import serve_app
from reelport.wire import ReportStatus


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


_REPORTS = 5_000
"""To expire so many takes many times as long as to see that it began."""


def count_expired(state: State) -> int:
    """How many reports the sweep has expired."""
    with reading(state.db) as connection:
        expired = REPORTS.c.status == ReportStatus.EXPIRED.value
        return connection.execute(select(func.count()).where(expired)).scalar_one()


def finish_long_ago(state: State) -> None:
    """Give the state finished reports whose time was over yesterday."""
    key = state.key("demo")
    now = datetime.now(UTC)
    row = {"organization_id": state.caller(key).organization_id, "key_id": key.id, "query": "{}", "channels": "[]"}
    row |= {"scopes": "", "status": ReportStatus.FINISHED.value, "attempts": 1, "rows": 1, "bytes": 2, "sha256": "ab"}
    row |= {"created_at": now - timedelta(days=3), "ended_at": now - timedelta(days=3)}
    row |= {"expires_at": now - timedelta(days=1)}
    each = [
        row | {"id": f"r{number}", "token": f"t{number}", "fingerprint": f"f{number}", "file": f"r{number}-1.csv"}
        for number in range(_REPORTS)
    ]
    with writing(state.db) as connection:
        connection.execute(REPORTS.insert(), each)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_life_that_is_cancelled_waits_for_no_long_sweep(state: State) -> None:
    """As that of a process that was told to end twice, or whose start fails: the next sweep does what is left."""
    state.organization("demo", "c1")
    finish_long_ago(state)

    async def live() -> None:
        app = create_app(state.settings)
        async with app.router.lifespan_context(app):
            await asyncio.Event().wait()

    async def begin_and_cancel() -> None:
        life = asyncio.create_task(live())
        assert await asyncio.to_thread(until, lambda: count_expired(state))
        life.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life

    asyncio.run(begin_and_cancel())
    assert 0 < count_expired(state) < _REPORTS


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_file_that_can_not_be_removed_is_told_and_ends_no_service(state: State) -> None:
    """What the disk refuses to a sweep is a StorageError, and the next sweep is made."""
    state.organization("demo")

    async def live(logs: list[MutableMapping[str, Any]]) -> None:
        app = create_app(state.again(sweep_seconds=0.01))
        async with app.router.lifespan_context(app):
            assert await asyncio.to_thread(until, lambda: len(logs) > 1)

    with small_disk(state.settings.files_root, "4k") as disk:
        (disk / "nobody00-1.csv").touch()
        remount(disk, "ro")
        with pytest.raises(StorageError, match="nobody00-1"):
            retention.remove_orphans(state.db, state.settings)
        with structlog.testing.capture_logs() as logs:
            asyncio.run(live(logs))
    assert {log["event"] for log in logs} == {"the sweep failed"}


LOWERED = """
import os, threading, duckdb
from pathlib import Path
from reelport.server.process import lower_priority
database = duckdb.connect(config={"threads": 4})
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
before = os.getpriority(os.PRIO_PROCESS, 0)
lower_priority(3)
threading.Thread(target=waiting.wait, daemon=True).start()
threads = [int(each.name) for each in Path("/proc/self/task").iterdir()]
print("ready", flush=True)
print(before, len(threads), *{os.getpriority(os.PRIO_PROCESS, each) for each in threads}, flush=True)
"""


IDLE = """
import os, threading, duckdb
from pathlib import Path
from reelport.server.process import idle_foreign_threads
database = duckdb.connect(config={"threads": 4})
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
idle_foreign_threads()
own = {each.native_id for each in threading.enumerate()}
threads = {int(each.name) for each in Path("/proc/self/task").iterdir()}
print("ready", flush=True)
for some in (own, threads - own):
    print(len(some), *{os.sched_getscheduler(each) for each in some}, flush=True)
"""


def test_the_threads_of_an_engine_may_run_on_idle_cores_alone() -> None:
    """Not those of Python, which may hold the lock of the state while others wait for it."""
    own, engine = run_child(IDLE).splitlines()
    assert own.split() == ["2", str(os.SCHED_OTHER)]
    assert int(engine.split()[0]) >= 3
    assert engine.split()[1:] == [str(os.SCHED_IDLE)]


def test_each_thread_of_a_process_is_lowered() -> None:
    """Those of an engine that runs already too, and one that starts later: on Linux each has a priority of its own."""
    before, threads, *found = map(int, run_child(LOWERED).split())
    assert threads >= 6
    assert found == [min(before + 3, 19)]
