"""An attempt records what it reads while it makes the report, and publishes nothing that wasn't recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.conftest import State

from reelport.engine.duckdb.engine import Engine
from reelport.errors import StorageError
from reelport.server.files import report_files
from reelport.server.queue import attempt, jobs
from reelport.server.queue.jobs import Claim


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that spills beside the data."""
    with Engine("200MB", 1, tmp_path / "spill") as opened:
        yield opened


def take(state: State, owner: str = "one") -> Claim:
    """Claim the report that waits."""
    claim = jobs.claim(state.db, owner, running=2, lease_seconds=30)
    assert claim is not None
    return claim


def make(state: State, claim: Claim, engine: Engine) -> None:
    """Make one attempt."""
    attempt.make_report(
        state.db, state.settings, claim, engine.session(), attempt.clock, threading.Event(), ExitStack()
    )


def ask(state: State) -> None:
    """Let a report wait."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))


def test_an_attempt_that_lost_its_lease_publishes_nothing(state: State, engine: Engine) -> None:
    """Its versions can't be recorded, so its report is thrown away, draft and all."""
    ask(state)
    claim = take(state)
    with pytest.raises(attempt.LeaseLost):
        make(state, replace(claim, owner="another"), engine)
    assert not list(state.settings.files_root.iterdir())


def test_an_attempt_that_fails_has_recorded_what_it_read(state: State, engine: Engine) -> None:
    """The next attempt reads the same versions."""
    ask(state)
    claim = take(state)
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()  # it can't be written
    with pytest.raises(StorageError, match="can't be written"):
        make(state, claim, engine)
    assert jobs.retry(state.db, claim, "The disk was full.", pause_seconds=0)
    assert take(state, "two").versions == {"plays": -1}
