"""Files over a real socket: whole, in part, while they are deleted, and by readers who go away."""

from __future__ import annotations

import hashlib
import socket
import time
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.patience import PATIENCE, until

from reelport.server.access import keys
from reelport.server.http.downloads import RECHECK_SECONDS
from reelport.server.limits.download_slots import REPORT_DOWNLOADS
from reelport.server.state.database import connect

from .conftest import ASK, INPUT, Wire, finish, token_of

LOOK = '{ partner { reportFile(reportToken: "$token") { downloadLinks { edges { node { link } } } } } }'


def link_of(wire: Wire, token: str) -> str:
    """The path and query of a fresh link, once the report is finished."""
    look = (
        f'{{ partner {{ reportFile(reportToken: "{token}") {{ downloadLinks {{ edges {{ node {{ link }} }} }} }} }} }}'
    )
    edges: list[dict[str, dict[str, str]]] = []

    def looked() -> bool:
        edges[:] = wire.graphql(look)["data"]["partner"]["reportFile"]["downloadLinks"]["edges"]
        return bool(edges)

    assert until(looked), wire.service.log
    link = edges[0]["node"]["link"]
    return link.removeprefix(wire.service.url)


@pytest.fixture(scope="module")
def large(wire: Wire) -> str:
    """The link of the largest report that the sample has."""
    given = {
        "metrics": ["VIEWS", "TIME_WATCHED_SECONDS"],
        "dimensions": ["HOUR", "VIDEO_ID", "VIDEO_TITLE", "VISITOR_PAGE_URL", "VISITOR_COUNTRY", "PLAYER_ID"],
        "startDate": "2026-01-01",
        "endDate": "2026-01-07",
        "product": "ALL",
    }
    return link_of(wire, token_of(wire.graphql(ASK, {"input": given})))


def test_the_whole_is_the_sum_of_its_parts(wire: Wire, large: str) -> None:
    """Length and ETag are those of the bytes, and the parts put together are the whole."""
    whole = wire.send("GET", large)
    assert whole.headers["content-length"] == str(len(whole.body))
    assert whole.headers["etag"] == f'"{hashlib.sha256(whole.body).hexdigest()}"'
    assert "transfer-encoding" not in whole.headers
    step = len(whole.body) // 3 + 1
    parts = [
        wire.send("GET", large, headers={"Range": f"bytes={at}-{at + step - 1}", "If-Range": whole.headers["etag"]})
        for at in range(0, len(whole.body), step)
    ]
    assert [part.status for part in parts] == [206] * 3
    assert b"".join(part.body for part in parts) == whole.body


def test_a_file_and_a_part_of_one_say_who_serves_them(wire: Wire, large: str) -> None:
    """By the header of every other answer."""
    for headers in ({}, {"Range": "bytes=0-9"}):
        assert wire.send("GET", large, headers=headers).headers["reelport-version"] == version("reelport")


def test_each_look_signs_anew_and_old_links_stay_good(wire: Wire) -> None:
    """A link is good for its time, however many were given since."""
    token = token_of(wire.graphql(ASK, {"input": INPUT}))
    first = link_of(wire, token)
    time.sleep(1.1)
    second = link_of(wire, token)
    assert first != second
    assert wire.send("GET", first).body == wire.send("GET", second).body


SIZE = 40_000_000
"""More than any buffer of a socket holds."""


@dataclass
class Huge:
    """A service without workers, and a report that the test itself has finished with a huge file."""

    wire: Wire
    link: str
    path: Path

    def request(self, version: str = "1.1") -> socket.socket:
        """A connection over which the file has been asked for and nothing read yet."""
        place = urllib.parse.urlsplit(self.wire.service.url)
        connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=PATIENCE)
        connection.sendall(f"GET {self.link} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return connection


@pytest.fixture(scope="module")
def huge(idle: Wire) -> Huge:
    token = token_of(idle.graphql(ASK, {"input": INPUT}))
    record = finish(idle.service, b"0123456789abcde\n" * (SIZE // 16))
    return Huge(idle, link_of(idle, token), idle.service.settings.files_root / record.name)


def test_a_file_that_is_deleted_meanwhile_arrives_whole(huge: Huge) -> None:
    """A download that has begun ends whole, whatever becomes of the file's name."""
    digest = hashlib.sha256(huge.path.read_bytes()).hexdigest()
    aside = huge.path.with_suffix(".aside")
    with huge.request() as connection:
        got = bytearray(connection.recv(1024))
        aside.write_bytes(huge.path.read_bytes())
        huge.path.unlink()
        assert huge.wire.send("GET", huge.link).status == 410
        while piece := connection.recv(1_000_000):
            got += piece
    aside.rename(huge.path)
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert hashlib.sha256(body).hexdigest() == digest


def test_readers_who_go_away_leave_nothing_behind(huge: Huge) -> None:
    """Fifty of them in mid-file, and every file is closed again, without a trace in the log."""
    descriptors = Path(f"/proc/{huge.wire.service.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(50):
        with huge.request() as connection:
            connection.recv(10)
    assert until(lambda: len(list(descriptors.iterdir())) <= before + 2)
    assert huge.wire.send("HEAD", huge.link).status == 200
    assert "Traceback" not in huge.wire.service.log


def test_slow_readers_hold_up_nobody(huge: Huge) -> None:
    """Beside as many that don't read on as may be but one, looks are answered and another download ends."""
    slow = [huge.request() for _ in range(REPORT_DOWNLOADS - 1)]
    assert "errors" not in huge.wire.graphql("{ partner { id } }")
    assert len(huge.wire.send("GET", huge.link).body) == SIZE
    for connection in slow:
        connection.close()


def test_a_download_ends_early_with_its_key(huge: Huge) -> None:
    """A reader that had begun sees its file cut once the key of its link is revoked; another key's goes on."""
    other = Wire(huge.wire.service, huge.wire.service.key("demo"))
    token = token_of(other.graphql(ASK, {"input": INPUT}))
    finish(other.service, b"0123456789abcde\n" * (SIZE // 16))
    mine, theirs = Huge(other, link_of(other, token), huge.path), huge
    with mine.request() as cut, theirs.request() as whole:
        assert cut.recv(100).startswith(b"HTTP/1.1 200")
        db = connect(other.service.settings)
        assert keys.revoke_key(db, other.key.id, datetime.now(UTC))
        db.dispose()
        time.sleep(1.1 * RECHECK_SECONDS)  # so that the next piece is one to look before
        assert received(cut) < SIZE < received(whole)
    assert other.send("GET", mine.link).status == 403


def received(connection: socket.socket) -> int:
    """How many bytes come until the connection ends."""
    count = 0
    while piece := connection.recv(1_000_000):
        count += len(piece)
    return count
