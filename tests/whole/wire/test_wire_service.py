"""The process behind the socket: a port that is taken, bodies that lie, and a good end."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from reelport.errors import InternalError
from reelport.server.http.api_processes import open_listener
from reelport.server.settings import read_settings
from reelport.testing import Service
from reelport.wire import LOOK

from .conftest import ASK, GRAPHQL, INPUT, TOKEN, Wire, finish, token_of


def serve(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reelport", "serve", *words], capture_output=True, text=True, timeout=300, check=False
    )


def test_a_port_in_use_is_one_clear_line(service: Service, tmp_path: Path) -> None:
    """Exit status 2, the port in its words, no traceback, nothing started and nothing made."""
    port = str(service.settings.port)
    ended = serve("--port", port, "--data", str(tmp_path / "data"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert f"{port} is in use by another program" in ended.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.long
def test_a_host_that_isnt_ours_is_one_clear_line(tmp_path: Path) -> None:
    """Exit status 2, and the host is named."""
    ended = serve("--host", "192.0.2.1", "--port", "0", "--data", str(tmp_path / "data"))
    assert ended.returncode == 2
    assert ended.stderr.startswith("reelport: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.long
def test_a_data_directory_that_cant_be_is_one_clear_line(tmp_path: Path) -> None:
    """A file where the directory should be: no traceback."""
    (tmp_path / "file").write_text("")
    ended = serve("--port", "0", "--data", str(tmp_path / "file"))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("reelport: ")
    assert "Traceback" not in ended.stderr


def test_a_connection_that_idles_between_two_polls_stays(service: Service) -> None:
    """A program that polls every five seconds over one connection loses no request."""
    connection = http.client.HTTPConnection("127.0.0.1", service.settings.port, timeout=300)
    for pause in (5.2, 0):
        connection.request("GET", "/health/live")
        assert connection.getresponse().read()
        time.sleep(pause)
    connection.close()


@pytest.mark.long
def test_it_says_where_it_listens_and_ends_in_good_order(tmp_path: Path) -> None:
    """Port 0 takes a free one and says which; SIGTERM ends with status 0, and no process stays."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reelport", "serve", "--port", "0", "--data", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    place = urllib.parse.urlsplit(address_of_ready(process))
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=300) as connection:
        connection.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert "Fatal" not in rest
    assert "worker stopped" in rest
    assert not list((tmp_path / "workers").glob("*.lock"))


def address_of_ready(process: subprocess.Popen[str]) -> str:
    """Where a service listens, once it has said so, and that its worker has started: in either order."""
    said: dict[str, str] = {}
    assert process.stderr is not None
    while not {"listening", "worker started"} <= said.keys():
        line = json.loads(next(line for line in process.stderr if line.startswith("{")))
        said[line["event"]] = line.get("address", "")
    return said["listening"]


def raw(wire: Wire, *sent: bytes) -> bytes:
    """What comes back for bytes as they are; the last of them closes our side."""
    place = urllib.parse.urlsplit(wire.service.url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=300) as connection:
        for each in sent:
            connection.sendall(each)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while piece := connection.recv(65536):
            got += piece
    return got


def test_a_body_without_a_length_is_counted_as_it_comes(wire: Wire) -> None:
    """Two megabytes in pieces are 413, and the caller reads it."""
    head = f"POST {TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    got = raw(wire, head, *[b"10000\r\n" + b"a" * 65536 + b"\r\n"] * 32, b"0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 413")
    assert b"invalid_request" in got


@pytest.mark.parametrize("size", [2_000_000, 8_000_000])
def test_a_large_body_is_413_in_the_form_of_its_path(wire: Wire, size: int) -> None:
    """A caller who sends it all still reads why."""
    reply = wire.post(b" " * size)
    assert reply.status == 413
    assert reply.json["errors"][0]["extensions"]["code"] == "too_large"


def test_a_caller_who_goes_away_in_mid_body_hurts_nobody(wire: Wire) -> None:
    """No traceback, and the next one is served."""
    place = urllib.parse.urlsplit(wire.service.url)
    for _ in range(20):
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=300) as connection:
            connection.sendall(f"POST {TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc".encode())
    assert wire.grant().status == 200
    assert "Traceback" not in wire.service.log


def test_what_isnt_http_is_400(wire: Wire) -> None:
    """And no line of it is logged."""
    assert raw(wire, b"\x16\x03\x01 secret nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert "secret nonsense" not in wire.service.log


def test_a_path_with_a_line_feed_at_its_end_is_another_path(wire: Wire) -> None:
    """A proxy that keeps `/metrics` within lets `/metrics%0A` pass."""
    for path in ("/metrics", "/health", "/health/ready", "/health/live", "/studio/sign-in", "/files/none.csv"):
        assert (path, wire.send("GET", f"{path}%0A").status) == (path, 404)
    for path in (GRAPHQL, TOKEN):
        assert (path, wire.send("POST", f"{path}%0A", b"{}").status) == (path, 404)


def test_every_answer_says_that_it_is_reelports_and_which(wire: Wire) -> None:
    """Tokens, GraphQL, files, health and numbers; what is refused, and where there is nothing."""
    answers = [
        (200, wire.grant()),
        (400, wire.grant(client_secret="wrong")),  # noqa: S106 - no secret
        (200, wire.post({"query": "{ __typename }"})),
        (413, wire.post(b" " * 2_000_000)),
        (401, wire.send("POST", GRAPHQL, b"{}")),
        (405, wire.send("GET", TOKEN)),
        (403, wire.send("GET", "/files/none.csv")),
        (200, wire.send("GET", "/health")),
        (200, wire.send("GET", "/health/live")),
        (200, wire.send("GET", "/metrics")),
        (404, wire.send("GET", "/nothing")),
    ]
    for status, reply in answers:
        assert (reply.status, reply.headers.get("reelport-version")) == (status, version("reelport"))


def test_no_environment_of_the_tests_is_told(wire: Wire) -> None:
    """Nothing that a caller can read names a path of this machine."""
    for path in ("/health", "/metrics", "/nothing", "/files/x.csv"):
        assert os.fsencode(wire.service.data) not in wire.send("GET", path).body


def test_an_answer_waits_for_no_acknowledgement(tmp_path: Path) -> None:
    """Connections to the socket that it listens on have TCP_NODELAY: without it each answer waits some 40 ms."""

    async def accepted(listener: socket.socket) -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(serve, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return await told

    with open_listener(read_settings(data=tmp_path, port=0)) as listener:
        assert asyncio.run(accepted(listener)) != 0


@pytest.mark.long
def test_a_service_in_a_box_takes_another_port_when_its_own_is_taken_meanwhile() -> None:
    """One that it chose itself; a port that was named is told to be in use."""
    with socket.create_server(("127.0.0.1", 0)) as rival:
        port = rival.getsockname()[1]
        boxed = Service(workers=0)
        boxed.settings = replace(boxed.settings, port=port)
        with boxed:
            assert boxed.settings.port != port
        with pytest.raises(InternalError, match="is in use"), Service(port=port, workers=0):
            pass


def test_links_begin_with_http_or_https_alone(idle: Wire) -> None:
    """A proxy that says so is believed, and not one that says anything else."""
    token = token_of(idle.graphql(ASK, {"input": {**INPUT, "dimensions": []}}))
    finish(idle.service, b"views\n")
    begin = {}
    for said in ("https", "http", "wss", "ws", "ftp", "javascript"):
        reply = idle.post({"query": LOOK, "variables": {"reportToken": token}}, **{"X-Forwarded-Proto": said})
        (edge,) = reply.json["data"]["partner"]["reportFile"]["downloadLinks"]["edges"]
        begin[said] = edge["node"]["link"].partition(":")[0]
    assert begin == {"https": "https", "http": "http", "wss": "http", "ws": "http", "ftp": "http", "javascript": "http"}


@pytest.mark.long
def test_too_few_open_files_are_one_clear_line(tmp_path: Path) -> None:
    """It doesn't begin where it could serve nobody; nothing is made."""
    command = f"ulimit -n 64; exec {sys.executable} -m reelport serve --port 0 --data {tmp_path / 'data'}"
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("reelport: This process may have 64 open files")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.long
def test_a_public_address_that_leads_nowhere_is_told_at_the_start() -> None:
    """A warning in the log: its links would lead partners to their own machines."""
    with Service(workers=0, host="0.0.0.0", public_url="http://localhost:8642") as running:  # noqa: S104 - what it is about
        assert "REELPORT_PUBLIC_URL" in running.log
