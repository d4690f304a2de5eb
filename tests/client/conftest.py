"""What tests of the client share: a server that answers the bytes it is told to, a still clock, a ledger, a vendor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.client.desk import Desk
from tests.client.ledgers import Calendar, requested, shown

from reelport import AsyncClient, Client, Downloaded
from reelport.client.events import Event
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Row, State
from reelport.client.session import Access, Clock, Session
from reelport.client.settings.config import PrivateKey, Settings
from reelport.query import ReportQuery
from reelport.testing import Vendor

SECRET = "secret-of-the-key-7c41"  # noqa: S105 - a test's
TOKEN = "bearer-token-of-the-test-93af"  # noqa: S105 - a test's
REPORT = "R-1234"


def answer(
    body: bytes | str | dict[str, Any],
    *,
    status: str = "200 OK",
    framed: bool = True,
    **headers: str,
) -> bytes:
    """The bytes of one HTTP answer. Without a frame only the end of the connection ends the body."""
    kind = "application/json" if isinstance(body, dict) else "text/csv"
    data = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    names = {"content_type": kind, "connection": "close"} | ({"content_length": str(len(data))} if framed else {})
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (names | headers).items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + data


@dataclass
class Server:
    """What the server was asked, and what it will answer: a list for each path, whose last answer stays."""

    url: str
    answers: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    def paths(self) -> list[str]:
        """The paths in the order of the requests."""
        return [path for path, _ in self.requests]

    def next_answer(self, path: str) -> bytes:
        """The answer to the next request of a path."""
        queue = self.answers[path]
        return (queue.pop(0) if len(queue) > 1 else queue[0]) if queue else answer("", status="404 Not Found")

    def serves_tokens(self) -> None:
        """Give a token to whoever asks."""
        grant = {"access_token": TOKEN, "expires_in": 3600, "scope": "create_reports", "token_type": "Bearer"}
        self.answers["/oauth/v1/token"] = [answer(grant)]

    def looks(self, *states: tuple[str, list[str]]) -> None:
        """Answer looks with these statuses and links."""
        self.answers["/graphql"] = [answer(looked(status, *links)) for status, links in states]


def looked(status: str, *links: str) -> dict[str, Any]:
    """The answer to a look."""
    edges = [{"node": {"link": link}} for link in links]
    return {"data": {"partner": {"reportFile": {"status": status, "downloadLinks": {"edges": edges}}}}}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that gives tokens and otherwise does as it is told."""
    listener = socket.create_server(("127.0.0.1", 0))
    served = Server(f"http://127.0.0.1:{listener.getsockname()[1]}")
    served.serves_tokens()
    thread = threading.Thread(target=_serve, args=(listener, served), daemon=True)
    thread.start()
    yield served
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(60)


def _serve(listener: socket.socket, served: Server) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        # A client that has had enough hangs up.
        with connection, contextlib.suppress(OSError):
            _answer(connection, served)


def _answer(connection: socket.socket, served: Server) -> None:
    connection.settimeout(60)
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    path = head.split(b" ")[1].decode()
    served.requests.append((path, head + b"\r\n\r\n" + body))
    connection.sendall(served.next_answer(path))


@dataclass
class Time:
    """A clock that a test moves."""

    seconds: float = 1000.0
    day: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def clock(self) -> Clock:
        """The same, as a session wants it."""
        return Clock(lambda: self.day, lambda: self.seconds)


@pytest.fixture
def time() -> Time:
    """A clock that stands still until it is moved."""
    return Time()


@pytest.fixture
def session(time: Time) -> Session:
    """A session with a Reelport service, without any luck in its pauses."""
    settings = Settings("https://reports.example.org", PrivateKey("key-1", SECRET))
    return Session(settings, time.clock(), lambda: 0.5, Access(reelport=True))


@pytest.fixture
def query() -> ReportQuery:
    """Views by day and title of three days."""
    return ReportQuery.of(["VIEWS"], ["DAY", "VIDEO_TITLE"], date(2026, 11, 1), date(2026, 11, 3))


Fetch = Callable[[Server, Path, ReportQuery], Downloaded]


def fetch(server: Server, to: Path, query: ReportQuery, told: Callable[[Event], None] | None = None) -> Downloaded:
    with Client(server.url, "key-1", SECRET, sleep=lambda _: None) as client:
        return client.reports.attach(REPORT, query).download(to, progress=told)


def afetch(server: Server, to: Path, query: ReportQuery) -> Downloaded:
    async def go() -> Downloaded:
        async def sleep(_: float) -> None:
            await asyncio.sleep(0)

        async with AsyncClient(server.url, "key-1", SECRET, sleep=sleep) as client:
            return await client.reports.attach(REPORT, query).download(to)

    return asyncio.run(go())


@pytest.fixture(params=[fetch, afetch], ids=["sync", "async"])
def fetcher(request: pytest.FixtureRequest) -> Fetch:
    """The download through either client."""
    found: Fetch = request.param
    return found


@pytest.fixture
def calendar() -> Calendar:
    """A time of day that stands still."""
    return Calendar()


@pytest.fixture
def ledger(tmp_path: Path, calendar: Calendar) -> Ledger:
    """A ledger that isn't there yet."""
    return Ledger(tmp_path / "home" / "ledger.db", calendar)


@pytest.fixture
def delivered(ledger: Ledger, tmp_path: Path) -> Row:
    """A row whose command ended well."""
    row = requested(ledger)
    ledger.record_status(row, State.FINISHED)
    ledger.record_download(row, tmp_path / "views.csv", 10, "ab", 1, "its SHA-256 is the service's", delivered=True)
    return shown(ledger, row)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A vendor of reports of 180 days, two at a time, that makes a report in no time."""
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def client(vendor: Vendor, tmp_path: Path) -> Iterator[Client]:
    """A client with windows of 30 days and a ledger of its own."""
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        yield client.with_options(windows=30)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """A target in an empty folder."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "views.csv"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
