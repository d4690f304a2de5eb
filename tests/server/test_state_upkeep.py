"""What keeps reports going beside the queue, when something unforeseen happens: keepers, workers, their supervisor."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text

from reelport.engine.run import Engine
from reelport.errors import StorageError
from reelport.server import retention
from reelport.server.bell import Bell
from reelport.server.keeper import Keeper, Running
from reelport.server.settings import read
from reelport.server.supervisor import supervised
from reelport.server.worker import Worker

from .conftest import State


def test_file_that_can_not_be_removed_is_told_and_ends_no_keeper(state: State) -> None:
    """What the disk refuses to a sweep is a StorageError, and the next tick is made."""
    (state.settings.files_root / "nobody00-1.csv").mkdir(parents=True)  # which no unlink removes
    with pytest.raises(StorageError, match="nobody00-1"):
        retention.clean(state.db, state.settings)
    Keeper(state.settings, state.db, running=tuple, clock=lambda: state.now, freed=lambda: None).tick()


def test_keeper_outlives_what_nobody_foresaw(state: State) -> None:
    """Without its ticks the leases of all running reports would run out."""

    def unforeseen() -> tuple[Running, ...]:
        raise ZeroDivisionError

    keeper = Keeper(state.settings, state.db, running=unforeseen, clock=lambda: state.now, freed=lambda: None)
    with structlog.testing.capture_logs() as logs:
        keeper.tick()
        keeper.tick()
    assert [log["event"] for log in logs] == ["upkeep failed"] * 2


def test_worker_that_fails_ends_whole(state: State, tmp_path: Path) -> None:
    """After an error that nobody foresaw no thread holds the process, so that another one is started."""
    state.organization("demo")
    state.ask(state.caller(state.key("demo")))
    with state.db.begin() as connection:
        connection.execute(text("UPDATE reports SET query = 'no JSON'"))
    state.settings.workers_root.mkdir()
    with Engine("200MB", 1, tmp_path / "spill") as engine, Bell(state.settings, "one") as bell:
        worker = Worker(state.settings, state.db, engine, "one", bell)
        with pytest.raises(ValueError, match="Expecting value"):
            worker.run()
    assert "keeper" not in {thread.name for thread in threading.enumerate()}


def test_worker_that_can_not_be_started_is_tried_again(tmp_path: Path) -> None:
    """A machine that takes no new process for a while is only logged: the supervisor goes on."""
    settings = read(data=tmp_path, public_url="x" * 1_000_000)  # more than an environment holds
    with structlog.testing.capture_logs() as logs, supervised(settings):
        until = time.monotonic() + 10
        while len(logs) < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert [log["event"] for log in logs[:2]] == ["worker ended"] * 2
    assert "could not be started" in logs[0]["reason"]
