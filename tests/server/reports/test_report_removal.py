"""Cancelling and deleting by an organization's people, on both databases."""

from __future__ import annotations

import pytest
from tests.server.conftest import State

from reelport.engine.report_format import Written
from reelport.report_details import FailureReason
from reelport.server.access import audit_log
from reelport.server.access.audit_log import COMMAND_LINE, Actor
from reelport.server.access.callers import Caller
from reelport.server.access.roles import Reach
from reelport.server.files import report_files
from reelport.server.queue import jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import report_access, report_list, report_removal
from reelport.server.reports.report_list import ListedReport
from reelport.server.reports.report_removal import Remover
from reelport.server.state import tallies

ANN = Actor("ann@demo.example", "192.0.2.1")


@pytest.fixture
def caller(state: State) -> Caller:
    """A key of the organization `demo`."""
    state.organization("demo", "c")
    return state.caller(state.key("demo"))


def claimed(state: State) -> Claim:
    """The next job, taken by a worker."""
    claim = jobs.claim(state.db, "worker", running=9, lease_seconds=30)
    assert claim is not None
    return claim


def finish(state: State, claim: Claim) -> bool:
    """Write the file of an attempt and publish it."""
    draft = report_files.prepare_draft(state.settings, claim.report_id, claim.attempt)
    draft.write_bytes(b"day,views\n")
    record = report_files.publish_draft(state.settings, draft, Written(0, 10, "ab"))
    return jobs.finish(state.db, claim, record, state.now)


def listed(state: State, caller: Caller, report_id: str) -> ListedReport | None:
    """The report as its people see it."""
    return report_list.find_listed_report(state.db, Reach(caller.organization_id), report_id, state.now)


def actions(state: State) -> list[tuple[str, str, str]]:
    """What the log tells of people, newest first."""
    found = audit_log.list_actions(state.db)
    return [(each.actor.name, each.action, each.subject) for each in found if each.actor.address != COMMAND_LINE]


def test_a_cancelled_report_has_failed_and_says_by_whom(state: State, caller: Caller) -> None:
    """Waiting or running, it ends at once; its worker can't publish any more; the log and the counters tell of it."""
    remover = Remover(caller.organization_id, ANN)
    runs, waits = state.ask(caller, 1), state.ask(caller, 2)
    taken = claimed(state)
    for asked in (runs, waits):
        assert report_removal.cancel_report(state.db, remover, asked.id, state.now)
        found = listed(state, caller, asked.id)
        assert found is not None
        assert (found.state, found.reason) == (
            "cancelled",
            f"It was cancelled by ann@demo.example. {FailureReason.CANCELLED.advice}",
        )
        assert not report_removal.cancel_report(state.db, remover, asked.id, state.now)
    assert not jobs.find_held(state.db, [taken])
    assert not finish(state, taken)
    assert actions(state) == [(ANN.name, "cancelled a report", asked.id) for asked in (waits, runs)]
    assert tallies.read_tallies(state.db).ended == {("cancelled", "user"): 2}


def test_nothing_is_left_of_a_deleted_report(state: State, caller: Caller) -> None:
    """Record, file and access are gone: its id, token and links are then unknown to everybody."""
    asked = state.ask(caller)
    claim = claimed(state)
    assert finish(state, claim)
    remover = Remover(caller.organization_id, ANN)
    assert report_removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert listed(state, caller, asked.id) is None
    assert report_access.find_report(state.db, caller, asked.token, state.now) is None
    assert report_access.find_linked_report(state.db, asked.id, caller.key_id, state.now) is None
    assert not list(state.settings.report_store.list_names())
    assert not report_removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert actions(state) == [(ANN.name, "deleted a report", asked.id)]


def test_an_unfinished_report_is_cancelled_before_it_is_deleted(state: State, caller: Caller) -> None:
    """A report that waits or runs stays as it is; once it was cancelled its record can go."""
    asked, remover = state.ask(caller), Remover(caller.organization_id, ANN)
    assert not report_removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert claimed(state).report_id == asked.id
    assert not report_removal.delete_report(state.db, state.settings, remover, asked.id, state.now)
    assert not actions(state)
    assert report_removal.cancel_report(state.db, remover, asked.id, state.now)
    assert report_removal.delete_report(state.db, state.settings, remover, asked.id, state.now)


def test_a_foreign_report_is_neither_cancelled_nor_deleted(state: State, caller: Caller) -> None:
    """People of another organization change nothing of it, and their log tells nothing."""
    asked, stranger = state.ask(caller), Remover(state.organization("rival"), ANN)
    assert not report_removal.cancel_report(state.db, stranger, asked.id, state.now)
    assert finish(state, claimed(state))
    assert not report_removal.delete_report(state.db, state.settings, stranger, asked.id, state.now)
    assert listed(state, caller, asked.id) is not None
    assert not actions(state)
