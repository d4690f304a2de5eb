"""Hundreds of readers that take nothing and of bodies that don't end: the service stays small and answers others."""

from __future__ import annotations

import http.client
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests import warm_service
from tests.patience import free_port, until

from reelport.server.api_memory import BODIES_BYTES
from reelport.server.limits.download_slots import REPORT_DOWNLOADS
from reelport.testing import Service
from reelport.wire import LOOK

from .conftest import ASK, INPUT, Wire, finish, token_of

READERS, BODIES = 300, 200
KEPT = BODIES_BYTES // 4
BODY = 1_000_000
ROOM = 64 * 1_048_576
"""Bytes by which the service may grow. A megabyte a reader and half of one a body would be 400 million."""


@pytest.fixture
def beset() -> Iterator[tuple[Wire, Wire]]:
    """A service, an attacker and another partner."""
    with warm_service.Service(workers=0, log_level="warning") as service:
        service.organization("attacker")
        service.organization("other")
        yield Wire(service, service.key("attacker")), Wire(service, service.key("other"))


@pytest.mark.long
def test_readers_and_half_bodies_by_the_hundred_keep_nobody_waiting(beset: tuple[Wire, Wire]) -> None:
    """Those within the limits wait, the others are told to come again; memory is bounded, every other look answered."""
    attacker, other = beset
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * (READERS + BODIES):
        pytest.skip("this process may have too few open files")
    link = fetched(attacker)
    token = token_of(other.graphql(ASK, {"input": INPUT}))
    before = resident(other.service)
    reader = f"GET {link} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {attacker.token}\r\n"
    body = f"{head}Content-Length: {BODY}\r\n\r\n".encode() + b"{" * (BODY // 2)
    with ExitStack() as opened:
        readers = [opened.enter_context(sent(other.service, reader)) for _ in range(READERS)]
        found = Counter(status(each) for each in readers)
        bodies = []
        for number in range(BODIES):
            bodies.append(opened.enter_context(sent(other.service, body)))
            if number % 10 == 0:
                assert looked(other, token) == "IN_PROGRESS"
        assert found == {200: REPORT_DOWNLOADS, 429: READERS - REPORT_DOWNLOADS}
        refused = answered(bodies, BODIES - KEPT // (BODY // 2))
        assert {status(each) for each in refused} == {503}
        assert looked(other, token) == "IN_PROGRESS"
        assert attacker.graphql("{ partner { id } }")["data"]["partner"]
        assert resident(other.service) < before + ROOM


@pytest.mark.long
def test_slow_readers_of_a_link_that_is_over_make_room_for_a_fresh_one() -> None:
    """All places of a report are theirs, and its owner has the file all the same: whole, by a link of now."""
    with (
        warm_service.Service(workers=0, link_seconds=4, log_level="warning") as service,
        ExitStack() as opened,
    ):
        service.organization("owner")
        wire = Wire(service, service.key("owner"))
        token = token_of(wire.graphql(ASK, {"input": INPUT}))
        whole = b"day,views\n" + b"2026-01-01,3\n" * 2_000_000
        finish(service, whole)
        leaked = ""

        def begun() -> bool:
            """Whether as many readers as may be began before their link was over: a slow machine tries again."""
            nonlocal leaked
            opened.close()
            leaked = linked(wire, token)
            reader = f"GET {leaked} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
            readers = [opened.enter_context(sent(service, reader)) for _ in range(REPORT_DOWNLOADS)]
            return {status(each) for each in readers} == {200}

        assert until(begun)
        assert until(lambda: wire.send("GET", leaked).status == 403)
        replies = (wire.send("GET", linked(wire, token)) for _ in range(100))
        assert next(reply for reply in replies if reply.status != 403).body == whole
        assert "a slow download ends early" in service.log
        assert "Traceback" not in service.log


@pytest.mark.long
def test_more_connections_than_open_files_keep_nobody_out(tmp_path: Path) -> None:
    """The silent ones make room, and the log stays short: with 256 open files there are 78 connections."""
    port = free_port()
    command = (
        f"ulimit -n 256; exec {sys.executable} -m reelport serve --port {port} --workers 0 --data {tmp_path / 'data'}"
    )
    with (tmp_path / "log").open("wb") as log, ExitStack() as opened:
        process = opened.enter_context(subprocess.Popen(["/bin/sh", "-c", command], stderr=log))
        opened.callback(process.terminate)
        await_service(port, process)
        for _ in range(4):
            for _ in range(100):
                opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=300))
            assert alive(port)
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 256
    assert (tmp_path / "log").read_text().count("\n") < 20


def await_service(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once it answers."""
    until = time.monotonic() + 300
    while True:
        assert process.poll() is None
        assert time.monotonic() < until
        with suppress(OSError):
            assert alive(port)
            return
        time.sleep(0.05)


def alive(port: int) -> bool:
    """Whether a new caller is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def fetched(wire: Wire) -> str:
    """Path and query of a link to a large file."""
    token = token_of(wire.graphql(ASK, {"input": INPUT}))
    finish(wire.service, b"day,views\n" + b"2026-01-01,3\n" * 2_000_000)
    return linked(wire, token)


def linked(wire: Wire, token: str) -> str:
    """Path and query of a fresh link to a report."""
    report = wire.graphql(LOOK, {"reportToken": token})["data"]["partner"]["reportFile"]
    parts = urlsplit(report["downloadLinks"]["edges"][0]["node"]["link"])
    return f"{parts.path}?{parts.query}"


def looked(wire: Wire, token: str) -> str:
    """What the service says of a report."""
    status: str = wire.graphql(LOOK, {"reportToken": token})["data"]["partner"]["reportFile"]["status"]
    return status


def sent(service: Service, data: bytes) -> socket.socket:
    """A connection over which data was sent, and nothing is taken."""
    mine = socket.create_connection((service.settings.host, service.settings.port), timeout=300)
    mine.sendall(data)
    return mine


def answered(sockets: list[socket.socket], count: int) -> list[socket.socket]:
    """Those to which an answer has come, as soon as there are so many of them."""
    until = time.monotonic() + 300
    with selectors.DefaultSelector() as selector:
        for each in sockets:
            selector.register(each, selectors.EVENT_READ, each)
        while len(found := selector.select(0)) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} were answered"
            time.sleep(0.05)
    return [key.data for key, _ in found]


def status(mine: socket.socket) -> int:
    """The status of an answer of which no more is taken."""
    return int(mine.recv(12, socket.MSG_WAITALL)[9:])


def resident(service: Service) -> int:
    """Bytes of memory of the serving process."""
    for line in Path(f"/proc/{service.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such process")
