"""A PostgreSQL that can't hold every text is refused in a sentence; one that stands still holds nobody for ever."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from tests.cases import thin_out
from tests.patience import until
from tests.postgresql import PostgresServer, find_program
from tests.server.api import open_api

from reelport.cli.main import main
from reelport.errors import UsageError
from reelport.facts.layout import check_layout
from reelport.server.access.organizations import add_organization
from reelport.server.access.unread_rows import describe_unread_rows
from reelport.server.backup.incremental_backup import create_backup
from reelport.server.backup.kept_backups import Archive
from reelport.server.database_address import set_parameter
from reelport.server.doctor.checks import run_checks
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import StateUnavailable, connect, connected, open_database, reading, writing
from reelport.server.state.patient_connection import PatientConnection
from reelport.server.state.postgresql_engine import unhurried

pytestmark = pytest.mark.long

ADVICE = "createdb --template template0 --encoding UTF8 --locale C"
WORDS = {
    "serve": ("serve", "--port", "0", "--data", "{data}"),
    "worker": ("worker", "--data", "{data}"),
    "command": ("org", "add", "demo", "--data", "{data}"),
    "copy to it": ("state", "copy", "{sqlite}", "{address}"),
    "copy of it": ("state", "copy", "{address}", "{sqlite}"),
    "restore": ("restore", "{backup}", "--data", "{new}"),
}


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def unfit(request: pytest.FixtureRequest, new_database: Callable[..., str], tmp_path: Path) -> Settings:
    """Settings with a database of such an encoding."""
    address = new_database("template0", request.param)
    return read_settings(data=tmp_path / "data", database_url=address, secret="s" * 32, workers=0)


def test_an_unfit_encoding_is_refused_before_anything_is_made(unfit: Settings) -> None:
    """By name, with what to do; the doctor says the same, and a load says why it can't look up who reads its rows."""
    with pytest.raises(UsageError) as refused:
        connect(unfit)
    sentence = str(refused.value)
    assert ADVICE in sentence
    assert unfit.database_url.rpartition("@")[2] in sentence
    check_layout(unfit.data)
    assert (False, sentence) in [(found.well, found.sentence) for found in run_checks(unfit)]
    assert ADVICE in (describe_unread_rows(unfit, {"c1": 1}) or "")
    with psycopg.connect(set_parameter(unfit.database_url, "client_encoding", "utf8").replace("+psycopg", "")) as found:
        assert found.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall() == [(0,)]
        others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert until(lambda: found.execute(others).rowcount == 0)  # though the error with its frames is still held


@pytest.fixture
def western(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A server whose locale has another encoding, which makes no database of UTF8 by itself."""
    server = PostgresServer()
    with TemporaryDirectory(prefix="reelport-locale-") as folder:
        try:
            Path(folder).chmod(0o755)  # its server runs as another user
            words = ("-f", "ISO-8859-1", "-i", "en_US", f"{folder}/western")
            program = shutil.which("localedef")
            if program is None or subprocess.run([program, *words], check=False).returncode:
                pytest.skip("the sources of the system's locales are not installed")
            monkeypatch.setenv("LOCPATH", folder)
            server.create("LATIN1", "western")
            server.start()
            yield server
        finally:
            server.remove()


def test_the_advice_makes_a_database_on_a_server_of_any_encoding(western: PostgresServer, tmp_path: Path) -> None:
    """The command that the sentence tells, as it stands there."""
    settings = read_settings(data=tmp_path / "data", database_url=f"{western.address}/postgres", secret="s" * 32)
    with pytest.raises(UsageError, match="has the encoding LATIN1") as refused:
        connect(settings)
    _, told, _ = re.split(r"[(](?=createdb)|[)]", str(refused.value), maxsplit=2)
    program, *words = told.split()
    where = ("-h", "127.0.0.1", "-p", str(western.port), "-U", "postgres")
    subprocess.run([find_program(program) or program, *where, *words, "fitting"], check=True)
    connect(replace(settings, database_url=f"{western.address}/fitting")).dispose()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_session_is_of_utf8_whatever_its_database_sets(
    encoding: str, new_database: Callable[..., str], tmp_path: Path
) -> None:
    """A role or a database may set another encoding for its sessions, in which not every name can be sent."""
    address = new_database()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET client_encoding = {encoding}".encode())
    with connected(read_settings(data=tmp_path / "data", database_url=address, secret="s" * 32)) as db:
        assert add_organization(db, "日本テレビ", datetime.now(UTC)).name == "日本テレビ"


@pytest.mark.parametrize("case", thin_out(WORDS, 3))
def test_every_command_refuses_an_unfit_encoding(
    case: str,
    new_database: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one sentence, with the status of a wrong usage."""
    sqlite, kept = (read_settings(data=tmp_path / name, secret="s" * 32, workers=0) for name in ("sqlite", "data"))
    kept = replace(kept, database_url=new_database())  # a worker and a command want a directory with a state
    for settings in (sqlite, kept):
        connect(settings).dispose()
    backup, address = tmp_path / "backup", new_database("template0", "SQL_ASCII")
    with connected(kept) as db:
        create_backup(db, kept, Archive(backup), datetime.now(UTC))
    monkeypatch.setenv("REELPORT_SECRET", "s" * 32)
    monkeypatch.setenv("REELPORT_DATABASE_URL", address)
    places = {"sqlite": sqlite.data, "address": address, "data": kept.data, "backup": backup}
    words = [word.format(**places, new=tmp_path / "new") for word in WORDS[case]]
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr().err
    assert (ended.value.code, told.count(ADVICE), "Traceback" in told) == (UsageError.exit_status, 1, False), told


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
