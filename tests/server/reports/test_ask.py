"""Asking and looking, on both databases; the trace that is kept with a report is that of whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from tests.server.conftest import NOW, State
from tests.server.syncs import no_sync
from tests.server.traces.collector import collecting

from reelport.errors import QueryRefused, QueueFull, StorageError
from reelport.facts.log.snapshot import newest_versions
from reelport.query import ReportQuery
from reelport.server.access import keys, organizations
from reelport.server.access.callers import Caller
from reelport.server.credentials import ServiceSecret
from reelport.server.files import report_files, signed_urls
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import report_access
from reelport.server.reports.ask import ask_report
from reelport.server.state.database import reading
from reelport.server.state.tables import REPORTS
from reelport.server.traces import tracing
from reelport.wire import ReportStatus

FILE = FileRecord("x.csv", 1, 2, "ab")


def claimed(state: State) -> Claim:
    """The next job, taken by a worker."""
    claim = jobs.claim(state.db, "worker", running=2, lease_seconds=30)
    assert claim is not None
    return claim


@pytest.fixture
def caller(state: State) -> Caller:
    """A caller of `demo` that may do everything."""
    state.organization("demo", "c1", "c2")
    return state.caller(state.key("demo"))


def test_asking_twice_gives_one_report_while_it_waits(state: State, caller: Caller) -> None:
    """The same ask of the same key comes back with the same token; another question doesn't."""
    first = state.ask(caller)
    assert state.ask(caller) == first
    assert state.ask(caller, 2).token != first.token
    assert first.status is ReportStatus.IN_PROGRESS


def test_same_ask_of_another_key_or_over_other_channels_is_another_report(state: State, caller: Caller) -> None:
    """Only the same question of the same key is the same report."""
    first = state.ask(caller)
    assert state.ask(state.caller(state.key("demo"))).token != first.token
    organizations.allow_channels(state.db, caller.organization_id, ["c3"])
    wider = Caller(caller.key_id, caller.organization_id, "demo", caller.scopes, caller.channels | {"c3"})
    assert state.ask(wider).token != first.token


def test_a_report_that_expires_soon_answers_no_ask(state: State, caller: Caller) -> None:
    """Until half of its life is over it does: whoever gets it has the other half to fetch the file."""
    first = state.ask(caller)
    state.now += timedelta(hours=state.settings.retention_hours) / 2
    assert state.ask(caller) == first
    state.now += timedelta(milliseconds=1)
    assert state.ask(caller).token != first.token


def test_pinned_report_answers_only_for_the_current_tables(state: State, caller: Caller) -> None:
    """Running or finished at today's versions it is given again; at older ones, or without its file, it is not."""
    first = state.ask(caller)
    claim = claimed(state)
    assert jobs.pin_versions(state.db, claim, {"plays": -1, "channels": -1})
    assert state.ask(caller) == first
    assert jobs.finish(state.db, claim, FILE, state.now)
    file = state.settings.files_root / FILE.name
    file.parent.mkdir()
    file.write_bytes(b"12")
    assert state.ask(caller).token == first.token
    file.write_bytes(b"1")
    lost = state.ask(caller)
    assert lost.token != first.token
    assert jobs.cancel(state.db, lost.id, "x", state.now)
    file.write_bytes(b"12")
    assert state.ask(caller).token == first.token
    log = state.settings.facts_root / "plays" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").touch()
    assert newest_versions(state.settings.facts_root)["plays"] == 0
    assert state.ask(caller).token != first.token


def test_report_whose_tables_may_be_pinned_answers_only_once_that_is_recorded(state: State, caller: Caller) -> None:
    """What a worker has pinned may be older than a load that came before the second ask."""
    first = state.ask(caller)
    claim = claimed(state)
    pinned = newest_versions(state.settings.facts_root)
    loaded = state.settings.facts_root / "plays" / "_delta_log" / f"{0:020}.json"
    loaded.parent.mkdir(parents=True)
    loaded.touch()
    state.now += timedelta(seconds=1)
    second = state.ask(caller)
    assert second.token != first.token
    assert jobs.pin_versions(state.db, claim, pinned)
    assert state.ask(caller) == second


def test_ask_waits_for_versions_that_are_being_recorded(state: State, caller: Caller) -> None:
    """The same ask while a worker begins is the same report, if that reads the tables of now."""
    first = state.ask(caller)
    claim = claimed(state)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(state.ask, caller)
        assert jobs.pin_versions(state.db, claim, newest_versions(state.settings.facts_root))
        assert second.result() == first


def test_ask_waits_for_nothing_once_versions_are_recorded(state: State, caller: Caller) -> None:
    """A report that is being made from the tables of now answers the same ask after one look."""
    first = state.ask(caller)
    statements: list[str] = []
    event.listen(state.db, "after_cursor_execute", lambda *given: statements.append(given[2]))
    assert state.ask(caller) == first
    looks = len(statements)
    assert jobs.pin_versions(state.db, claimed(state), newest_versions(state.settings.facts_root))
    statements.clear()
    assert state.ask(caller) == first
    assert len(statements) == looks


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_the_same_ask_is_answered_once_the_first_is_on_the_disk(state: State, caller: Caller) -> None:
    """The first may be seen before: while the disk fails, nobody is told of it. A finished report needs no sync."""
    first = state.ask(caller)
    with no_sync(state.settings), pytest.raises(StorageError, match="wal"):
        state.ask(caller)
    assert state.ask(caller) == first
    claim = claimed(state)
    assert jobs.pin_versions(state.db, claim, newest_versions(state.settings.facts_root))
    assert jobs.finish(state.db, claim, FILE, state.now)
    file = state.settings.files_root / FILE.name
    file.parent.mkdir()
    file.write_bytes(b"12")
    with no_sync(state.settings):
        assert state.ask(caller).token == first.token


def test_ask_waits_for_no_versions_of_a_report_that_was_begun_long_ago(state: State, caller: Caller) -> None:
    """Its worker is frozen, or waits for a store: a document that asks for many such reports would add up the waits."""
    days = range(1, 7)
    asked: list[int] = []
    event.listen(state.db, "after_cursor_execute", lambda *_: asked.append(1))
    first = [state.ask(caller, day) for day in days]
    statements = len(asked)
    for _ in days:
        begun_before = state.settings.lease_seconds - 2
        assert jobs.claim(state.db, "frozen", running=len(days), lease_seconds=begun_before) is not None
    state.now += timedelta(seconds=1)
    asked.clear()
    second = [state.ask(caller, day) for day in days]
    assert len(asked) == statements, "each looks once, and not again and again"
    assert not {each.token for each in first} & {each.token for each in second}


def test_attempt_that_is_given_back_unpinned_answers_again(state: State, caller: Caller) -> None:
    """The next attempt pins the tables of then."""
    first = state.ask(caller)
    jobs.give_back(state.db, claimed(state))
    assert state.ask(caller) == first


def test_failed_and_expired_reports_are_made_anew(state: State, caller: Caller) -> None:
    """What ended badly, or is over, answers no later ask."""
    first = state.ask(caller)
    jobs.fail(state.db, claimed(state), "no luck", state.now)
    second = state.ask(caller)
    assert second.token != first.token
    state.now += timedelta(hours=48)
    assert state.ask(caller).token not in {first.token, second.token}


def test_same_ask_at_the_same_moment_makes_one_report(state: State, caller: Caller) -> None:
    """Eight threads that ask the same get one token."""
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda _: state.ask(caller).token, range(16)))
    assert len(set(asked)) == 1


def test_waiting_reports_are_limited_a_partner(state: State, caller: Caller) -> None:
    """Beyond the limit an ask is refused, also when many ask at once; another partner isn't touched."""
    state.settings = state.again(waiting_limit=5)

    def ask(day: int) -> bool:
        try:
            state.ask(caller, day)
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(1, 13))) == 5
    state.organization("rival")
    assert state.ask(state.caller(state.key("rival"))).status is ReportStatus.IN_PROGRESS


def test_refuse_policy_lets_two_be_unfinished(state: State, caller: Caller) -> None:
    """Where none may wait a third unfinished report is refused until one has ended."""
    state.settings = state.again(waiting_limit=0)
    state.ask(caller, 1)
    state.ask(caller, 2)
    with pytest.raises(QueueFull):
        state.ask(caller, 3)
    assert state.ask(caller, 1).status is ReportStatus.IN_PROGRESS
    jobs.finish(state.db, claimed(state), FILE, state.now)
    state.ask(caller, 3)


def test_every_problem_is_told_and_nothing_queued(state: State) -> None:
    """A refused ask says all that is wrong, the missing scopes too, and leaves no report."""
    state.organization("demo")
    caller = state.caller(state.key("demo", "read_reports"))
    query = ReportQuery(("ESTIMATED_EARNINGS_EUR", "VEWS"), ("DAY", "DAY"), date(2026, 1, 2), date(2026, 1, 1))
    with pytest.raises(QueryRefused) as refused:
        ask_report(state.db, state.settings, caller, query, state.now)
    codes = {problem.code for problem in refused.value.problems}
    assert codes >= {"scope_missing", "unknown_metric", "duplicate", "range_reversed"}
    assert {problem.nearest for problem in refused.value.problems} >= {"create_reports", "access_revenue", "VIEWS"}
    with state.db.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM reports")).scalar() == 0


def test_look_follows_a_report_to_its_end(state: State, caller: Caller) -> None:
    """In progress, finished with its file, expired without it."""
    token = state.ask(caller).token
    look_at = partial(report_access.find_report, state.db, caller, token)
    waiting = look_at(state.now)
    assert waiting is not None
    assert (waiting.status, waiting.file) == (ReportStatus.IN_PROGRESS, None)
    jobs.finish(state.db, claimed(state), FILE, state.now)
    finished = look_at(state.now)
    assert finished is not None
    assert (finished.status, finished.file) == (ReportStatus.FINISHED, FILE)
    assert finished.created_at == NOW
    assert report_access.find_linked_report(state.db, finished.id, caller.key_id, state.now) == finished
    over = look_at(state.now + timedelta(hours=48))
    assert over is not None
    assert (over.status, over.file) == (ReportStatus.EXPIRED, None)
    assert report_access.find_linked_report(state.db, finished.id, caller.key_id, NOW + timedelta(hours=48)) == over


def test_report_is_unknown_to_whoever_may_not_see_it(state: State, caller: Caller) -> None:
    """Another organization, fewer channels, fewer scopes or a forged token: there is no such report."""
    money = state.ask(caller, metrics=("ESTIMATED_EARNINGS_EUR",)).token
    plain = state.ask(caller).token
    state.organization("rival", "c1", "c2")
    rival = state.caller(state.key("rival"))
    narrow = state.caller(state.key("demo", channels=("c1",)))
    poor = state.caller(state.key("demo", "read_reports"))
    see = partial(report_access.find_report, state.db, now=state.now)
    assert see(caller, money) is not None
    assert see(poor, plain) is not None
    for stranger, token in [(rival, plain), (narrow, plain), (poor, money), (caller, plain[:-1] + "!"), (caller, "")]:
        assert see(stranger, token) is None
    assert see(caller, "x\0\ud800" * 1000) is None


def test_narrower_keys_reports_are_seen_by_wider_ones(state: State, caller: Caller) -> None:
    """A key sees a colleague's report when it may read all that is in it."""
    narrow = state.caller(state.key("demo", channels=("c1",)))
    token = state.ask(narrow).token
    assert report_access.find_report(state.db, caller, token, state.now) is not None


def test_a_link_ends_with_its_key(state: State, caller: Caller) -> None:
    """A revoked key's link opens nothing, another key's of the same report still does; a narrower key's never did."""
    report = state.ask(caller)
    jobs.finish(state.db, claimed(state), FILE, state.now)
    other, narrow = state.key("demo"), state.key("demo", channels=("c1",))
    linked = partial(report_access.find_linked_report, state.db, report.id, now=state.now)
    found = linked(caller.key_id)
    assert (found and found.file, linked(other.id), linked(narrow.id)) == (FILE, found, None)
    keys.revoke_key(state.db, caller.key_id, state.now)
    assert (linked(caller.key_id), linked(other.id), linked("")) == (None, found, None)


def test_looking_needs_a_scope_for_reports(state: State, caller: Caller) -> None:
    """A token for neither making nor reading reports is told which scope it lacks."""
    token = state.ask(caller).token
    with pytest.raises(QueryRefused, match="read_reports"):
        report_access.find_report(state.db, state.caller(state.key("demo", "access_ads")), token, state.now)


service_secret = ServiceSecret(b"x" * 32)
sign: Callable[[str], tuple[str, str]] = lambda report: (  # noqa: E731 - two words of a link
    signed_urls.sign_url(service_secret, report, "k", NOW).split("expires=")[1].split("&")[0],
    signed_urls.sign_url(service_secret, report, "k", NOW).split("signature=")[1],
)


def test_link_is_good_for_its_report_and_its_time() -> None:
    """A signed link opens its own report up to its end."""
    expires, signature = sign("abc")
    before = NOW - timedelta(seconds=1)
    assert signed_urls.is_signed(service_secret, "abc", "k", expires, signature, before)
    assert not signed_urls.is_signed(service_secret, "abd", "k", expires, signature, before)
    assert not signed_urls.is_signed(service_secret, "abc", "l", expires, signature, before)
    assert not signed_urls.is_signed(service_secret, "abc", "k", expires, signature, NOW)
    assert not signed_urls.is_signed(ServiceSecret(b"y" * 32), "abc", "k", expires, signature, before)


@given(st.text(max_size=20), st.text(max_size=80), st.text(max_size=12))
def test_forged_links_are_refused(expires: str, signature: str, report: str) -> None:
    """No made-up expiry, signature or name opens anything."""
    right_expires, right_signature = sign("abc")
    assert not signed_urls.is_signed(
        service_secret, "abc", "k", expires, right_signature, NOW - timedelta(days=1)
    ) or int(expires) == int(right_expires)
    assert not signed_urls.is_signed(service_secret, "abc", "k", right_expires, signature, NOW - timedelta(days=1))
    assert (
        not signed_urls.is_signed(service_secret, report, "k", right_expires, right_signature, NOW - timedelta(days=1))
        or report == "abc"
    )


def test_draft_names_belong_to_an_attempt(tmp_path: Path, state: State) -> None:
    """Two attempts at one report never write the same file."""
    assert report_files.prepare_draft(state.settings, "r", 1) != report_files.prepare_draft(state.settings, "r", 2)
    assert tmp_path in report_files.prepare_draft(state.settings, "r", 1).parents


ASKS = 24


def test_asks_at_once_keep_each_its_own_trace(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's writes of several threads share a transaction, which one of them runs for all."""
    state.organization("demo", "c1")
    caller = state.caller(state.key("demo"))
    together = Barrier(8)

    def ask(number: int) -> tuple[str, str]:
        together.wait()
        with tracing.span("request") as span:
            return state.ask(caller, number).id, span.trace_id

    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with tracing.traced("test"), ThreadPoolExecutor(8) as pool:
            asked = dict(pool.map(ask, range(1, ASKS + 1)))
    with reading(state.db) as connection:
        kept = connection.execute(select(REPORTS.c.id, REPORTS.c.traceparent)).all()
    assert {report: str(traceparent).split("-")[1] for report, traceparent in kept} == asked
    assert len(set(asked.values())) == ASKS
