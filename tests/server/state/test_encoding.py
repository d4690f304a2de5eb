"""A PostgreSQL that can't hold every text is refused in a sentence, wherever one is opened."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from tests.cases import thin_out
from tests.postgresql import PostgresServer, find_program

from reelport.cli.main import main
from reelport.errors import UsageError
from reelport.facts.layout import check_layout
from reelport.server.access.organizations import add_organization
from reelport.server.access.unread_rows import describe_unread_rows
from reelport.server.backup.archive import Archive
from reelport.server.backup.create import create_backup
from reelport.server.database_address import set_parameter
from reelport.server.doctor.checks import run_checks
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect, connected

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
