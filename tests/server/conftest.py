"""A state of its own for each test, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text
from tests.migrated import begin_state
from tests.patience import until
from tests.postgresql import PostgresServer
from tests.server.api import api, log

from reelport.query import ReportQuery
from reelport.server import credentials
from reelport.server.access import callers, grants, keys, organizations
from reelport.server.access.callers import REPORT_SCOPES, Caller
from reelport.server.access.grants import ClientCredentials, Grant, Refusal
from reelport.server.access.keys import NewKey
from reelport.server.credentials import ServiceSecret
from reelport.server.reports.ask import ask_report
from reelport.server.reports.report_access import FoundReport
from reelport.server.settings import Settings, read_settings, setting_names
from reelport.server.state.database import connect, reading

__all__ = ["api", "log"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL = REPORT_SCOPES


@dataclass
class State:
    """A state database with what a test puts into it."""

    settings: Settings
    db: Engine
    service_secret: ServiceSecret
    now: datetime = NOW
    keys: dict[str, NewKey] = field(default_factory=dict)

    def organization(self, name: str, *channels: str) -> int:
        """A new organization that may read these channels."""
        added = organizations.add_organization(self.db, name, self.now)
        organizations.allow_channels(self.db, added.id, channels)
        return added.id

    def key(self, organization: str, *permissions: str, channels: tuple[str, ...] | None = None) -> NewKey:
        """A new key; with every permission when none is named."""
        return keys.create_key(
            self.db, self.service_secret, organization, permissions or ALL, self.now, channels=channels
        )

    def grant(self, key: NewKey, *scopes: str, after: timedelta = timedelta()) -> Grant | Refusal:
        """What a key is granted after so long."""
        client = ClientCredentials(key.id, key.secret)
        return grants.grant_token(self.db, self.service_secret, client, scopes, self.now + after)

    def granted(self, key: NewKey, *scopes: str, after: timedelta = timedelta()) -> Grant:
        """The same, where a token is granted."""
        found = self.grant(key, *scopes, after=after)
        assert isinstance(found, Grant)
        return found

    def token(self, key: NewKey, *scopes: str) -> str:
        """A token of a key."""
        return self.granted(key, *scopes).token

    def identify(self, token: str, after: timedelta = timedelta()) -> Caller | None:
        """Who a token stands for after so long."""
        return callers.identify_caller(self.db, self.service_secret, token, self.now + after)

    def caller(self, key: NewKey, *scopes: str) -> Caller:
        """Who a new token of a key stands for."""
        caller = self.identify(self.token(key, *scopes))
        assert caller is not None
        return caller

    def ask(self, caller: Caller, day: int = 1, *, metrics: tuple[str, ...] = ("VIEWS",)) -> FoundReport:
        """Ask for a small report; another day is another report."""
        query = ReportQuery(metrics, ("DAY",), date(2026, 1, day), date(2026, 1, day))
        return ask_report(self.db, self.settings, caller, query, self.now)

    def again(self, **given: object) -> Settings:
        """The same settings with some set otherwise."""
        return read_settings(**{**{name: getattr(self.settings, name) for name in setting_names()}, **given})


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server that lives for this session, without a database name."""
    server = PostgresServer()
    try:
        server.create()
        server.start(max_connections="60")
        yield server.address
    finally:
        server.remove()


@pytest.fixture
def new_database(postgresql: str) -> Iterator[Callable[..., str]]:
    """Makes databases on that server, empty ones or copies of another, and gives their addresses.

    One of another encoding than the server's own is made of `template0`.
    """
    names: list[str] = []
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as connection:
        # Files are copied in half of the time that it takes to log each of their pages; before 15 they always are.
        how = " STRATEGY file_copy" if connection.info.server_version >= 150_000 else ""

        def make(of: str = "template1", encoding: str = "UTF8") -> str:
            names.append(f"t{credentials.short_id()}")
            held = "" if encoding == "UTF8" else f" ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
            connection.execute(f"CREATE DATABASE {names[-1]} TEMPLATE {of}{held}{how}")
            return f"{postgresql}/{names[-1]}"

        yield make
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_database(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of such a database on that server."""
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    connect(read_settings(data=tmp_path_factory.mktemp("migrated"), database_url=f"{postgresql}/migrated")).dispose()
    return "migrated"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave seven of eight tests on PostgreSQL, of those that run on SQLite too, to the night: a database is dear.

    A file keeps the first and every eighth after it, so that each room's statements are met by both.
    """
    names = {item.nodeid for item in items}
    twice = [item for item in items if "[postgresql" in item.nodeid and _of_sqlite(item) in names]
    for _, of_file in groupby(twice, key=lambda item: item.path):
        for place, item in enumerate(of_file):
            if place % 8:
                item.add_marker(pytest.mark.long)
                item.add_marker(pytest.mark.nightly)


def _of_sqlite(item: pytest.Item) -> str:
    """The name of the same test on SQLite."""
    return item.nodeid.replace("[postgresql", "[sqlite", 1)


def await_waiters(db: Engine, count: int) -> None:
    """Wait until so many statements wait for a lock of PostgreSQL; not on SQLite, whose writers take turns."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def are_waiting() -> bool:
        with reading(db) as connection:
            return bool(connection.execute(waiting).scalar_one() == count)

    assert db.dialect.name == "sqlite" or until(are_waiting)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """What keeps the state."""
    found: str = request.param
    return found


@pytest.fixture
def settings(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings over a data directory and an empty database of this test."""
    address = request.getfixturevalue("new_database")() if kind == "postgresql" else ""
    return read_settings(data=tmp_path / "data", database_url=address, workers=0)


@pytest.fixture
def state(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """A state database of this test, which was brought up to date before."""
    address, data = "", tmp_path / "data"
    if kind == "postgresql":
        address = request.getfixturevalue("new_database")(request.getfixturevalue("migrated_database"))
    settings = read_settings(data=data, database_url=address, workers=0)
    begin_state(settings)
    db = connect(settings)
    yield State(settings, db, credentials.load_service_secret(settings))
    db.dispose()
