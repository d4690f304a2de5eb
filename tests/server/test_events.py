"""Events over both databases: delivered with the commit, to whoever wants their kind, and again after a disturbance."""

from __future__ import annotations

import itertools
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

import anyio
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, make_url
from tests.patience import PATIENCE, free_port, until
from tests.postgresql import guarded_address
from tests.server.conftest import State

from reelport.server import events as server_events
from reelport.server.credentials import short_id
from reelport.server.events import Event, Kind, Subscription, publish, subscribe
from reelport.server.files import retention
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import deaths, jobs
from reelport.server.queue.jobs import Claim
from reelport.server.reports import removal
from reelport.server.state.database import opened, writing

FILE = FileRecord("x.csv", 1, 2, "ab")


def tell(db: Engine, kind: Kind, subject: str) -> None:
    """Publish an event in a transaction of its own."""
    with writing(db) as connection:
        publish(connection, Event(kind, subject))


def publish_and_fail(db: Engine) -> float:
    """Publish an event, and fail before the transaction is committed."""
    with writing(db) as connection:
        publish(connection, Event(Kind.REPORT_ENDED, "undone"))
        return 1 / 0


def hear(events: Subscription) -> tuple[Event, ...]:
    """The events that come next, however long that takes."""
    return next(heard for _ in itertools.count() if (heard := events.wait()))


def listen(db: Engine, kind: Kind, *subscribers: Subscription) -> None:
    """Return when all hear events, and have heard every one so far: PostgreSQL's begin some time after `subscribe`."""

    def is_heard(events: Subscription) -> bool:
        tell(db, kind, "first")
        return bool(events.wait())

    def has_heard_last(events: Subscription) -> bool:
        return Event(kind, "last") in events.wait()

    assert all(until(partial(is_heard, events)) for events in subscribers)
    tell(db, kind, "last")
    assert all(until(partial(has_heard_last, events)) for events in subscribers)


def test_an_event_is_heard_by_every_subscriber_of_its_kind_once_it_is_committed(state: State) -> None:
    """Not before, and not after a rollback; other kinds wake nobody."""
    ended = Kind.REPORT_ENDED
    with subscribe(state.db, ended) as one, subscribe(state.db, Kind.FORM_QUEUED, ended) as two:
        listen(state.db, ended, one, two)
        with pytest.raises(ZeroDivisionError):
            publish_and_fail(state.db)
        with writing(state.db) as connection:
            publish(connection, Event(Kind.REPORT_QUEUED, "unwanted"))
            publish(connection, Event(ended, "r1"))
            assert one.wait() == ()
        assert hear(one) == hear(two) == (Event(ended, "r1"),)
        tell(state.db, ended, "r2")
        assert hear(one) == hear(two) == (Event(ended, "r2"),)


def test_a_wait_ends_with_nothing_heard_when_it_is_woken_or_over(state: State) -> None:
    """What one waits for may have happened then, whatever else was heard; on the event loop as on a thread."""
    with subscribe(state.db, Kind.REPORT_ENDED) as events:
        assert until(lambda: not events.wait())
        assert anyio.run(events.wait_on_event_loop) == ()
        listen(state.db, Kind.REPORT_ENDED, events)
        events.put(Event(Kind.REPORT_ENDED, "r").encode())
        events.wake()
        assert events.wait() == ()


@pytest.mark.parametrize("line", [b"boom y", b"report_ended\xff x", b"\xff", b"x"])
def test_a_line_that_is_no_event_ends_the_wait_as_a_lost_event_does(state: State, line: bytes) -> None:
    """Whoever waits reads the state then, and hears what comes later."""
    with subscribe(state.db, Kind.REPORT_ENDED) as events:
        listen(state.db, Kind.REPORT_ENDED, events)
        events.put(Event(Kind.REPORT_ENDED, "r").encode())
        events.put(line + b"\n")
        assert events.wait() == ()
        events.put(line + b"\n")
        assert anyio.run(events.wait_on_event_loop) == ()
        tell(state.db, Kind.REPORT_ENDED, "r")
        assert hear(events) == (Event(Kind.REPORT_ENDED, "r"),)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_notification_that_is_no_event_is_dropped(state: State) -> None:
    """Every role that may connect may notify; what isn't one line, written at once and whole, never comes in."""
    with subscribe(state.db, Kind.REPORT_ENDED) as events:
        listen(state.db, Kind.REPORT_ENDED, events)
        with psycopg.connect(state.settings.database_url, autocommit=True) as stranger:
            for payload in ("x\nboom y", "x\nreport_ended y", "x\r", "x\x85y", "x" * 4096, "é" * 2048):
                stranger.execute("SELECT pg_notify(%s, %s)", (f"reelport_{Kind.REPORT_ENDED}", payload))
                tell(state.db, Kind.REPORT_ENDED, "r")
                assert hear(events) == (Event(Kind.REPORT_ENDED, "r"),)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_notification_that_is_no_text_disturbs_like_a_lost_connection(state: State) -> None:
    """A database without an encoding delivers any bytes; the subscriber listens again."""
    address = make_url(state.settings.database_url).set(database=f"ascii_{short_id()}")
    with psycopg.connect(state.settings.database_url, autocommit=True) as owner:
        name = sql.Identifier(str(address.database))
        owner.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'").format(name))
        try:
            url = address.render_as_string(hide_password=False)

            def is_heard(events: Subscription) -> bool:
                stranger.execute("SELECT pg_notify('reelport_report_ended', 'r')")
                return bool(events.wait())

            with (
                opened(state.again(database_url=url)) as db,
                subscribe(db, Kind.REPORT_ENDED) as events,
                psycopg.connect(url, autocommit=True) as stranger,
            ):
                assert until(partial(is_heard, events))
                stranger.execute("SELECT pg_notify('reelport_report_ended', convert_from('\\xff', 'SQL_ASCII'))")
                assert until(lambda: not events.wait())
                assert until(partial(is_heard, events))
        finally:
            owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_a_subscriber_that_reads_nothing_holds_nobody_up(state: State) -> None:
    """A full pipe takes no more, and is enough to end the wait."""
    with subscribe(state.db, Kind.REPORT_ENDED) as events:
        for _ in range(70_000):
            events.wake()
        assert events.wait() == ()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_pipes_that_killed_processes_left_are_removed(state: State) -> None:
    """By the next subscriber, and by the next event that they were for; those of the living stay."""
    folder = state.settings.workers_root
    folder.mkdir()
    left = folder / f"1-dead.{Kind.REPORT_ENDED}.pipe"
    os.mkfifo(left)
    with subscribe(state.db, Kind.REPORT_ENDED) as events:
        (own,) = folder.iterdir()
        os.mkfifo(left)
        tell(state.db, Kind.REPORT_ENDED, "r")
        assert hear(events) == (Event(Kind.REPORT_ENDED, "r"),)
        assert list(folder.iterdir()) == [own]
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_what_cant_be_delivered_fails_no_change(state: State) -> None:
    """A pipe that is full, and one that is none, keep neither the commit nor the other subscribers from it."""
    with subscribe(state.db, Kind.REPORT_ENDED) as full, subscribe(state.db, Kind.REPORT_ENDED) as events:
        for _ in range(70_000):
            full.wake()
        (state.settings.workers_root / f"0-none.{Kind.REPORT_ENDED}.pipe").mkdir()
        tell(state.db, Kind.REPORT_ENDED, "r")
        assert hear(events) == (Event(Kind.REPORT_ENDED, "r"),)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_subscriber_whose_connection_ends_listens_again(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is woken to read the state, for what it may have missed, and hears of what comes then."""
    with ThreadPoolExecutor(1) as threads, subscribe(state.db, Kind.REPORT_ENDED) as events:
        listen(state.db, Kind.REPORT_ENDED, events)
        with (
            monkeypatch.context() as patch,
            psycopg.connect(state.settings.database_url, autocommit=True) as connection,
        ):
            patch.setattr(server_events, "POLL_SECONDS", 2 * PATIENCE)
            woken = threads.submit(events.wait)
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN %'"
            ).fetchall()
            assert ended == [(True,)]
            assert woken.result(PATIENCE) == ()
        listen(state.db, Kind.REPORT_ENDED, events)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_subscriber_logs_in_as_the_address_says(state: State) -> None:
    """At the one of its hosts that answers, by its password, whatever letters that has."""
    with guarded_address(state.settings.database_url, "%p:@/?#&=+é' ***") as url:
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{url.port}"
        login, options = f"{url.username}:{quote(str(url.password), safe='')}", "-c%20lock_timeout%3D9s"
        address = f"postgresql://{login}@{hosts}/{url.database}?options={options}"
        with opened(state.again(database_url=address)) as db, subscribe(db, Kind.REPORT_ENDED) as events:
            listen(state.db, Kind.REPORT_ENDED, events)


def test_a_subscription_that_ends_leaves_nothing(state: State) -> None:
    """No thread, file or pipe: also where what is done within it fails."""

    def subscribe_and_fail() -> float:
        with subscribe(state.db, Kind.REPORT_ENDED) as events:
            events.wait()
            return 1 / 0

    held = list_open_pipes()
    with pytest.raises(ZeroDivisionError):
        subscribe_and_fail()
    assert "listener" not in {thread.name for thread in threading.enumerate()}
    assert list_open_pipes() <= held
    assert not list(state.settings.data.rglob("*.pipe"))


def list_open_pipes() -> set[int]:
    """The pipes that this process holds, by inode; other files come and go beside a test."""
    found = set()
    for descriptor in Path("/dev/fd").iterdir():
        with suppress(OSError):  # that of the folder which is listed
            status = os.fstat(int(descriptor.name))
            found |= {status.st_ino} if stat.S_ISFIFO(status.st_mode) else set()
    return found


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_no_data_directory_is_shared_to_hear_of_events(state: State, tmp_path: Path) -> None:
    """A process elsewhere, that has the database alone in common, hears of what happens here; no pipe is made."""
    elsewhere = state.again(data=tmp_path / "elsewhere")
    with opened(elsewhere) as db, subscribe(db, Kind.REPORT_QUEUED) as events:
        listen(state.db, Kind.REPORT_QUEUED, events)
    assert not list(tmp_path.rglob("*.pipe"))


def claim(state: State) -> Claim:
    """The next job, taken by a worker."""
    found = jobs.claim(state.db, "worker", running=9, lease_seconds=60)
    assert found is not None
    return found


def withdraw(state: State) -> None:
    """Remove the organization that asked."""
    removal.remove_organization(state.db, state.settings, "demo")


QUEUED, ENDED = Kind.REPORT_QUEUED, Kind.REPORT_ENDED
CHANGES: dict[str, tuple[Kind, Callable[[State, str], object]]] = {
    "finished": (ENDED, lambda state, _: jobs.finish(state.db, claim(state), FILE, state.now)),
    "failed": (ENDED, lambda state, _: jobs.fail(state.db, claim(state), "x", state.now)),
    "cancelled": (ENDED, lambda state, report: jobs.cancel(state.db, report, "x", state.now)),
    "withdrawn": (ENDED, lambda state, _: withdraw(state)),
    "expired": (ENDED, lambda state, _: retention.sweep(state.db, state.settings, state.now + timedelta(days=9))),
    "blamed": (
        ENDED,
        lambda state, _: deaths.record_death(state.db, claim(state).owner, "x", limit=1, now=state.now),
    ),
    "given back": (QUEUED, lambda state, _: jobs.give_back(state.db, claim(state))),
    "lost": (QUEUED, lambda state, _: deaths.requeue_jobs(state.db, claim(state).owner)),
}


@pytest.mark.parametrize(("heard", "change"), CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_report_that_somebody_waits_for_is_published(
    state: State, heard: Kind, change: Callable[[State, str], object]
) -> None:
    """Its ask, each way to end it, and each way by which it is due again at once."""
    state.organization("demo", "c")
    caller = state.caller(state.key("demo"))
    with subscribe(state.db, QUEUED, ENDED) as events:
        listen(state.db, ENDED, events)
        report = state.ask(caller).id
        assert hear(events) == (Event(QUEUED, report),)
        change(state, report)
        assert hear(events) == (Event(heard, report),)
