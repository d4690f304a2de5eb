"""A PostgreSQL that has stopped answering, and whose connections stay: requests are refused instead of hanging."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from tests.patience import until
from tests.server.api import open_api

from reelport.server.settings import read_settings
from reelport.server.state.database import StateUnavailable, open_database, reading, writing
from reelport.server.state.patient_connection import PatientConnection
from reelport.server.state.postgresql_engine import unhurried

_LOOK = b'{"query": "{ partner { __typename } }"}'
_SLEEP = text("SELECT pg_sleep(:seconds)")


@contextmanager
def frozen(server: str) -> Iterator[None]:
    """Stop the processes of a server within the block: its system goes on to acknowledge what is sent."""
    with psycopg.connect(f"{server}/postgres") as connection:
        clients = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        processes = [int(pid) for (pid,) in connection.execute(clients)]
        (found,) = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchall()
        processes.append(int(found[0].splitlines()[0]))
    try:
        _signal(processes, signal.SIGSTOP)
        yield
    finally:
        _signal(processes, signal.SIGCONT)


def _signal(processes: list[int], number: int) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.long
def test_requests_to_a_frozen_server_are_refused_and_it_is_used_again(
    postgresql: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    """Three times `tcp_user_timeout` after it fell silent, with a hint when to try again; nothing is started anew."""
    address = f"{new_database()}?tcp_user_timeout=3000&connect_timeout=2"
    with open_api(read_settings(data=tmp_path / "data", database_url=address, workers=0)) as api:
        assert api.post(_LOOK).status_code == 200
        with frozen(postgresql):
            for _ in range(2):
                reply = api.post(_LOOK)
                assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
        assert until(lambda: api.post(_LOOK).status_code == 200)


def test_an_answer_that_takes_too_long_is_given_up(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Its connection is closed, and the state unavailable; a migration takes as long as it does."""
    db = open_database(read_settings(data=tmp_path / "data", database_url=new_database()))
    with pytest.raises(StateUnavailable, match=r"the server gave no answer within 0\.2 s"):
        _run_out_of_patience(db)
    with reading(db) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    db.dispose()


def test_what_is_given_up_ends_in_the_server_too(new_database: Callable[[], str], tmp_path: Path) -> None:
    """A statement that waits for a lock would else keep its connection, and each that is tried again one more."""
    db = open_database(read_settings(data=tmp_path / "data", database_url=new_database()))
    with writing(db) as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(1)"))
        with pytest.raises(StateUnavailable, match="gave no answer"):
            _lock_impatiently(db)
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
        assert until(lambda: holder.execute(waits).scalar_one() == 0)
    db.dispose()


def _lock_impatiently(db: Engine) -> None:
    with writing(db) as connection:
        _set_patience(connection, 0.2)
        connection.execute(text("SELECT pg_advisory_xact_lock(1)"))


def _set_patience(connection: Connection, seconds: float) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, PatientConnection)
    assert driver.patience == 30
    driver.patience = seconds


def _run_out_of_patience(db: Engine) -> None:
    with reading(db) as connection:
        _set_patience(connection, 0.2)
        with unhurried(connection):
            connection.execute(_SLEEP, {"seconds": 0.5})
        connection.execute(_SLEEP, {"seconds": 600})
