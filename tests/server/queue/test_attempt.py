"""An attempt records what it reads while it makes the report, and publishes nothing that wasn't recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.conftest import State
from tests.server.syncs import count_syncs

from reelport.engine.duckdb.engine import QueryEngine
from reelport.errors import StorageError
from reelport.server.files import report_files
from reelport.server.queue import attempt, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.state.own_tables import require_own_tables


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[QueryEngine]:
    """An engine that spills beside the data."""
    with QueryEngine("200MB", 1, tmp_path / "spill") as opened:
        yield opened


def take(state: State, owner: str = "one") -> Claim:
    """Claim the report that waits."""
    claim = jobs.claim(state.db, owner, running=2, lease_seconds=30)
    assert claim is not None
    return claim


def make(state: State, claim: Claim, engine: QueryEngine) -> None:
    """Make one attempt."""
    attempt.make_report(state.db, state.settings, claim, engine.session(), attempt.clock, threading.Event())


def ask(state: State) -> None:
    """Let a report wait."""
    state.organization("demo", "c1")
    state.ask(state.caller(state.key("demo")))


def test_an_attempt_that_lost_its_lease_publishes_nothing(state: State, engine: QueryEngine) -> None:
    """Its versions can't be recorded, so its report is thrown away, draft and all."""
    ask(state)
    claim = take(state)
    with pytest.raises(attempt.LeaseLost):
        make(state, replace(claim, owner="another"), engine)
    assert not list(state.settings.files_root.iterdir())


def test_an_attempt_whose_draft_is_gone_with_its_lease_says_that_it_lost_the_lease(
    state: State, engine: QueryEngine
) -> None:
    """What others removed of it meanwhile is no fault of the disk."""
    ask(state)
    claim = take(state)
    assert jobs.pin_versions(state.db, claim, {"plays": -1})
    claim = replace(claim, versions={"plays": -1})
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()  # it can't be written
    with pytest.raises(StorageError, match="can't be written"):
        make(state, claim, engine)
    assert jobs.give_back(state.db, claim)
    take(state, "another")
    with pytest.raises(attempt.LeaseLost) as lost:
        make(state, claim, engine)
    assert isinstance(lost.value.__cause__, StorageError)


def test_no_report_is_made_of_tables_that_are_gone(state: State, engine: QueryEngine) -> None:
    """It would be empty, and nobody would know."""
    require_own_tables(state.db, state.settings)
    ask(state)
    state.settings.facts_root.rename(state.settings.data / "away")
    with pytest.raises(StorageError, match="are not there"):
        make(state, take(state), engine)
    assert not list(state.settings.files_root.iterdir())


def test_an_attempt_that_fails_has_recorded_what_it_read(state: State, engine: QueryEngine) -> None:
    """The next attempt reads the same versions."""
    ask(state)
    claim = take(state)
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()  # it can't be written
    with pytest.raises(StorageError, match="can't be written"):
        make(state, claim, engine)
    assert jobs.retry(state.db, claim, "The disk was full.", pause_seconds=0)
    assert take(state, "two").versions == {"plays": -1}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_report_is_made_again_whose_claim_the_end_of_the_machine_undid(state: State, engine: QueryEngine) -> None:
    """A first claim need not be on the disk: the next one has its number, and what the first left is no hindrance."""
    ask(state)
    state.db.dispose()
    kept = state.settings.state_file.read_bytes()
    first = take(state)
    report_files.prepare_draft(state.settings, first.report_id, first.attempt).write_text("half a report")
    state.db.dispose()
    state.settings.state_file.write_bytes(kept)
    again = take(state, "two")
    assert (again.report_id, again.attempt) == (first.report_id, first.attempt)
    make(state, again, engine)
    assert [file.name for file in state.settings.files_root.iterdir()] == [f"{again.report_id}-{again.attempt}.csv"]
    assert not jobs.find_unfinished(state.db, [again.report_id])


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_later_claim_is_on_the_disk_before_it_is_worked_on(state: State, engine: QueryEngine) -> None:
    """No pin follows it that would be synced together with it, and no file of its number may be there twice."""
    ask(state)
    claim = take(state)
    report_files.prepare_draft(state.settings, claim.report_id, claim.attempt).mkdir()  # it can't be written
    with pytest.raises(StorageError, match="can't be written"):
        make(state, claim, engine)
    jobs.give_back(state.db, claim)
    assert count_syncs(lambda: take(state, "two")) == 1
