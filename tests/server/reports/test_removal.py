"""Access that is withdrawn, on both databases: nothing of it can be had a moment later, whatever happens beside it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import func, select
from tests.server.conftest import State

from reelport.engine.report_format import Written
from reelport.errors import AccessError, UsageError
from reelport.server.access import audit_log, grants, keys, organizations
from reelport.server.access.audit_log import Action
from reelport.server.access.callers import Caller
from reelport.server.access.grants import ClientCredentials, Refusal
from reelport.server.files import report_files, retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import deaths, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import removal, report_access
from reelport.server.reports.removal import Withdrawal
from reelport.server.reports.report_access import FoundReport
from reelport.server.state.tables import JOBS, KEY_CHANNELS, KEYS, ORGANIZATIONS, READABLE, REPORTS

HELD = (JOBS, KEY_CHANNELS, KEYS, ORGANIZATIONS, READABLE, REPORTS)


def claimed(state: State) -> Claim:
    """The next job, taken by a worker."""
    claim = jobs.claim(state.db, "worker", running=9, lease_seconds=30)
    assert claim is not None
    return claim


def settled(state: State, claim: Claim) -> FileRecord:
    """The file of an attempt, written and not published."""
    draft = report_files.prepare_draft(state.settings, claim.report_id, claim.attempt)
    draft.write_bytes(b"day,views\n")
    return report_files.publish_draft(state.settings, draft, Written(0, 10, "ab"))


def finished(state: State, caller: Caller, day: int = 1) -> FoundReport:
    """A report with its file."""
    asked = state.ask(caller, day)
    claim = claimed(state)
    assert jobs.finish(state.db, claim, settled(state, claim), state.now)
    return asked


def remove(state: State, *channels: str, organization: str = "demo") -> Withdrawal:
    """Withdraw channels from an organization."""
    return removal.remove_channels(state.db, state.settings, organization, channels, state.now)


def rows(state: State) -> dict[str, int]:
    """How many rows the tables of access and reports hold."""
    with state.db.connect() as connection:
        return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in HELD}


@pytest.fixture
def caller(state: State) -> Caller:
    """A caller of `demo` that may do everything."""
    state.organization("demo", "c1", "c2")
    return state.caller(state.key("demo"))


def test_nothing_of_a_removed_channel_can_be_had_a_moment_later(state: State, caller: Caller) -> None:
    """Its finished report is no report, the link opens nothing, its file is gone; the next token reads what is left."""
    report = finished(state, caller)
    ended = remove(state, "c2")
    assert (ended.finished, ended.keys, ended.narrowed) == (1, (), ())
    assert report_access.find_report(state.db, caller, report.token, state.now) is None
    assert report_access.find_linked_report(state.db, report.id, caller.key_id, state.now) is None
    assert list(state.settings.files_root.iterdir()) == []
    assert state.caller(state.key("demo")).channels == {"c1"}


def test_a_report_over_other_channels_stays(state: State, caller: Caller) -> None:
    """A report of a key that is limited to another channel is as it was, its file too; so are another partner's."""
    state.organization("rival", "c2")
    rival = state.caller(state.key("rival"))
    narrow = state.caller(state.key("demo", channels=("c1",)))
    kept, foreign = finished(state, narrow), finished(state, rival)
    waiting = state.ask(narrow, 2)
    assert caller.channels == {"c1", "c2"}
    remove(state, "c2")
    for who, report in ((narrow, kept), (rival, foreign)):
        linked = report_access.find_linked_report(state.db, report.id, who.key_id, state.now)
        assert linked is not None
        assert linked.file is not None
        assert (state.settings.files_root / linked.file.name).exists()
    assert report_access.find_report(state.db, narrow, waiting.token, state.now) is not None
    assert claimed(state).report_id == waiting.id


def test_a_waiting_and_a_running_report_are_cancelled_and_publish_nothing(state: State, caller: Caller) -> None:
    """The attempt finds its job gone, whatever it tries to write; what it wrote is deleted by the next sweep."""
    running, waiting = state.ask(caller, 1), state.ask(caller, 2)
    claim = claimed(state)
    record = settled(state, claim)
    ended = remove(state, "c1")
    assert (ended.waiting, ended.running, ended.finished) == (1, 1, 0)
    assert jobs.find_held(state.db, [claim]) == frozenset()
    assert not jobs.pin_versions(state.db, claim, {"plays": 1})
    assert not jobs.renew_lease(state.db, claim, 30)
    assert not jobs.retry(state.db, claim, "x", 1)
    assert not jobs.fail(state.db, claim, "x", state.now)
    assert not jobs.finish(state.db, claim, record, state.now)
    assert jobs.claim(state.db, "worker", running=9, lease_seconds=30) is None
    for report in (running, waiting):
        assert report_access.find_report(state.db, caller, report.token, state.now) is None
    assert (state.settings.files_root / record.name).exists()
    retention.sweep(state.db, state.settings, state.now)
    assert list(state.settings.files_root.iterdir()) == []


def test_a_channel_that_is_added_again_brings_no_old_report_back(state: State, caller: Caller) -> None:
    """What was withdrawn stays so: the same ask is a new report, and a key that lost the channel has lost it."""
    report = finished(state, caller)
    narrowed = state.key("demo", channels=("c1", "c2"))
    remove(state, "c2")
    organizations.allow_channels(state.db, caller.organization_id, ["c2"])
    again = state.caller(state.key("demo"))
    assert again.channels == caller.channels
    assert report_access.find_report(state.db, again, report.token, state.now) is None
    assert report_access.find_linked_report(state.db, report.id, caller.key_id, state.now) is None
    assert state.ask(caller).token != report.token
    assert state.caller(narrowed).channels == {"c1"}


def test_a_key_without_a_channel_left_is_revoked_and_others_are_narrowed(state: State, caller: Caller) -> None:
    """A limited key that could read nothing any more ends with its tokens; an unlimited one follows its partner."""
    alone, both = state.key("demo", channels=("c2",)), state.key("demo", channels=("c1", "c2"))
    token, other = state.token(alone), state.token(both)
    ended = remove(state, "c2")
    assert (ended.keys, ended.narrowed) == ((alone.id,), (both.id,))
    assert state.identify(token) is None
    assert (
        grants.grant_token(state.db, state.service_secret, ClientCredentials(alone.id, alone.secret), [], state.now)
        is Refusal.INVALID_CLIENT
    )
    seen = state.identify(other)
    assert seen is not None
    assert seen.channels == {"c1"}
    revoked = {key.id: key.revoked_at for key in keys.list_keys(state.db)}
    assert revoked == {alone.id: state.now, both.id: None, caller.key_id: None}


def test_every_channel_that_is_not_read_is_named_and_none_removed(state: State, caller: Caller) -> None:
    """All problems at once; nothing is half withdrawn."""
    report = finished(state, caller)
    with pytest.raises(UsageError) as refused:
        remove(state, "c1", "c3", "r1")
    assert ("'c3'" in str(refused.value), "'r1'" in str(refused.value)) == (True, True)
    with pytest.raises(UsageError, match="Did you mean demo"):
        remove(state, "c1", organization="dem")
    with pytest.raises(UsageError):
        remove(state)
    assert report_access.find_report(state.db, caller, report.token, state.now) is not None


def test_nothing_of_a_removed_organization_is_left(state: State) -> None:
    """Keys, tokens, reports and files are gone, another partner's stay, and the name is free for a new one."""
    state.organization("rival", "c1")
    theirs = finished(state, state.caller(state.key("rival")))
    before = rows(state)
    state.organization("demo", "c1", "c2")
    key = state.key("demo", channels=("c1", "c2"))
    token, caller = state.token(key), state.caller(key)
    report = finished(state, caller)
    state.ask(caller, 2), state.ask(caller, 3)
    claim = claimed(state)
    preview = removal.preview_removal(state.db, "demo")
    ended = removal.remove_organization(state.db, state.settings, "demo")
    assert ended == preview
    assert (ended.channels, ended.keys) == (2, (key.id,))
    assert (ended.waiting, ended.running, ended.finished) == (1, 1, 1)
    assert rows(state) == before
    assert state.identify(token) is None
    assert (
        grants.grant_token(state.db, state.service_secret, ClientCredentials(key.id, key.secret), [], state.now)
        is Refusal.INVALID_CLIENT
    )
    assert report_access.find_report(state.db, caller, report.token, state.now) is None
    assert report_access.find_linked_report(state.db, report.id, key.id, state.now) is None
    assert not jobs.finish(state.db, claim, FileRecord("x", 0, 0, ""), state.now)
    assert [path.name.partition("-")[0] for path in state.settings.files_root.iterdir()] == [theirs.id]
    with pytest.raises(UsageError, match="no organization"):
        removal.remove_organization(state.db, state.settings, "demo")
    state.organization("demo", "c1")
    assert keys.list_keys(state.db, "demo") == ()


def test_an_ask_of_a_caller_whose_access_ended_meanwhile_makes_no_report(state: State, caller: Caller) -> None:
    """Its caller was recognised before: it is told to ask again, and is then what it is by now."""
    other = state.caller(state.key("demo"))
    keys.revoke_key(state.db, other.key_id, state.now)
    remove(state, "c2")
    for gone in (caller, other, replace(other, key_id="rpk_none")):
        with pytest.raises(AccessError, match="ask again"):
            state.ask(gone)
    removal.remove_organization(state.db, state.settings, "demo")
    with pytest.raises(AccessError, match="ask again"):
        state.ask(caller)
    assert rows(state)["reports"] == 0


def test_the_audit_log_counts_every_report_that_a_removal_ended(state: State, caller: Caller) -> None:
    """Those that are finished, that run and that wait."""
    finished(state, caller)
    for day in (2, 3, 4):
        state.ask(caller, day)
    claimed(state)
    removal.remove_organization(state.db, state.settings, "demo")
    (recorded,) = audit_log.list_actions(state.db, action=Action.ORGANIZATION_REMOVED)
    assert recorded.details["reports"] == 4


def test_a_removal_during_asks_leaves_no_report_of_the_channel(state: State, caller: Caller) -> None:
    """Whichever comes first: what was asked before is gone with the channel, what comes after is refused."""

    def ask(day: int) -> bool:
        try:
            state.ask(caller, day)
        except AccessError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        asks = [pool.submit(ask, day) for day in range(1, 13)]
        removal = pool.submit(remove, state, "c1")
        later = [pool.submit(ask, day) for day in range(13, 29)]
        made = sum(each.result() for each in (*asks, *later))
    assert removal.result().waiting == made
    assert (rows(state)["reports"], rows(state)["jobs"]) == (0, 0)


@pytest.mark.parametrize("what", ["channel", "organization"])
def test_of_two_removals_at_once_one_does_it(state: State, caller: Caller, what: str) -> None:
    """The other is told that there is nothing of that name; neither fails half-way."""
    state.ask(caller)
    whole = partial(removal.remove_organization, state.db, state.settings, "demo")
    one = partial(remove, state, "c1")
    do: Callable[[], Withdrawal] = one if what == "channel" else whole

    def tried(_: int) -> Withdrawal | str:
        try:
            return do()
        except UsageError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(tried, range(4)))
    assert [each.waiting for each in done if isinstance(each, Withdrawal)] == [1]
    assert sum(isinstance(each, str) and "no " in each for each in done) == 3


def test_removals_beside_workers_and_grants_end_whole(state: State) -> None:
    """Claims, ends and grants of many partners go on while each is removed: none fails, none leaves a row."""
    keys = {}
    for number in range(6):
        state.organization(f"o{number}", "c1", "c2")
        keys[f"o{number}"] = key = state.key(f"o{number}")
        caller = state.caller(key)
        for day in range(1, 6):
            state.ask(caller, day)

    def work(_: int) -> None:
        while (claim := jobs.claim(state.db, "worker", running=9, lease_seconds=30)) is not None:
            jobs.pin_versions(state.db, claim, {"plays": 1})
            jobs.finish(state.db, claim, FileRecord(f"{claim.report_id}-1.csv", 0, 0, "ab"), state.now)

    def grant(name: str) -> None:
        for _ in range(5):
            grants.grant_token(
                state.db, state.service_secret, ClientCredentials(keys[name].id, keys[name].secret), [], state.now
            )

    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(work, number) for number in range(2)]
        granting = [pool.submit(grant, name) for name in keys]
        removing = [pool.submit(removal.remove_organization, state.db, state.settings, name) for name in keys]
        for each in removing:
            assert each.result().keys
        for every in (*working, *granting):
            every.result()
    assert set(rows(state).values()) == {0}


@pytest.mark.long
def test_a_removal_and_a_look_for_lost_jobs_never_wait_for_each_other(state: State) -> None:
    """Both write many jobs of a partner and their reports: each ends, and what isn't removed waits again."""
    channels = [f"c{number}" for number in range(8)]
    state.organization("demo", *channels)
    callers = [state.caller(state.key("demo", channels=(channel,))) for channel in channels]
    for day in range(1, 7):
        for caller in callers:
            state.ask(caller, day)
    while jobs.claim(state.db, "worker", running=99, lease_seconds=0.001) is not None:
        pass
    with ThreadPoolExecutor(4) as pool:
        lost = [pool.submit(deaths.requeue_overdue, state.db, 30) for _ in range(2)]
        removed = [pool.submit(remove, state, *channels[part:6:2]) for part in range(2)]
        for each in lost:
            each.result()
        assert [len(each.result().keys) for each in removed] == [3, 3]
    deaths.requeue_overdue(state.db, 30)
    with state.db.connect() as connection:
        owners = connection.execute(select(JOBS.c.owner)).scalars().all()
    assert owners == [None] * 12
