"""An object store for tests: moto's S3, served on loopback, alone or behind a proxy that injects faults."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKET = "reelport-tests"
_SERVER = """
import contextlib, logging, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.getLogger("werkzeug").setLevel(logging.ERROR)
serve, one, any_number = DomainDispatcherApplication(create_backend_app), threading.Lock(), contextlib.nullcontext()
def answer(environ, start_response):
    # moto looks whether there is an object, and then puts it: two could both be told that theirs is new.
    with one if "HTTP_IF_NONE_MATCH" in environ else any_number:
        return serve(environ, start_response)
server = make_server("127.0.0.1", 0, answer, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
server.shutdown()
"""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests-only", "AWS_REGION": "us-east-1"}


@contextmanager
def serve_objects() -> Iterator[str]:
    """Serve an empty bucket in a process of its own; gives its endpoint.

    The Delta library holds Python's lock in some of its requests: a server in this process couldn't answer them.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        made = _send(("127.0.0.1", port), "PUT", f"/{BUCKET}", {"Host": f"127.0.0.1:{port}"}, b"")
        assert made.status == 200
        yield f"http://127.0.0.1:{port}"
        assert process.stdin is not None
        process.stdin.close()


class Fault(Enum):
    """What a proxy does to a request."""

    SLOW_DOWN = "answers 503 SlowDown, and forwards nothing"
    RESET = "resets the connection, and forwards nothing"
    LOST = "forwards it, and resets the connection instead of answering"
    HALF = "answers with half of the body, and ends the connection"
    HALF_SENT = "forwards half of the body that was sent, and resets both connections"
    NO_KEY = "answers 404 NoSuchKey, and forwards nothing"
    EXPIRED = "answers 400 ExpiredToken with the token, as AWS does, and forwards nothing"
    DENIED = "answers 403 AccessDenied, and forwards nothing"
    STALE = "answers a listing as it was when this fault was first met"


@dataclass
class Answer:
    """An answer of the object store."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Choose = Callable[[str, str], Fault | None]
"""Chooses the fault of a request by its method and path."""


@dataclass
class FaultyProxy:
    """A proxy in front of an object store; `choose` is asked for each request, and `seen` records it."""

    endpoint: str
    choose: Choose = lambda _method, _path: None
    seen: deque[tuple[str, str, Fault | None]] = field(default_factory=deque)
    listings: dict[str, Answer] = field(default_factory=dict)

    def fail(self, fault: Fault, *, times: int, method: str = "", part: str = "") -> None:
        """Meet the next requests of this method, whose path has this part, with the fault."""
        left = [times]
        lock = threading.Lock()

        def choose(asked: str, path: str) -> Fault | None:
            with lock:
                if left[0] and method in {"", asked} and part in path:
                    left[0] -= 1
                    return fault
            return None

        self.choose = choose

    def count(self, fault: Fault) -> int:
        """Count the requests that met this fault."""
        return sum(met is fault for _, _, met in self.seen)


@contextmanager
def serve_faults(upstream: str) -> Iterator[FaultyProxy]:
    """Serve a proxy in front of this endpoint."""
    host, _, port = upstream.removeprefix("http://").partition(":")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
    server.proxy, server.upstream = proxy, (host, int(port))  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy: FaultyProxy = self.server.proxy  # type: ignore[attr-defined]
        fault = proxy.choose(self.command, self.path)
        proxy.seen.append((self.command, self.path, fault))
        match fault:
            case Fault.SLOW_DOWN:
                self._answer(_refuse(503, "<Code>SlowDown</Code>"))
            case Fault.NO_KEY:
                self._answer(_refuse(404, "<Code>NoSuchKey</Code>"))
            case Fault.EXPIRED:
                self._answer(_refuse(400, "<Code>ExpiredToken</Code><Token-0>s3ss10n</Token-0>"))
            case Fault.DENIED:
                self._answer(_refuse(403, "<Code>AccessDenied</Code>"))
            case Fault.RESET:
                self._reset()
            case Fault.LOST:
                self._ask(body)
                self._reset()
            case Fault.HALF_SENT:
                self._ask(body[: len(body) // 2])
                self._reset()
            case Fault.STALE:
                self._answer(proxy.listings.setdefault(self.path, self._ask(body)))
            case Fault.HALF | None:
                self._answer(self._ask(body), half=fault is Fault.HALF)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 - the library's names

    def _ask(self, body: bytes) -> Answer:
        upstream: tuple[str, int] = self.server.upstream  # type: ignore[attr-defined]
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        return _send(upstream, self.command, self.path, headers, body)

    def _answer(self, answer: Answer, *, half: bool = False) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        length = next((value for name, value in answer.headers if name.lower() == "content-length"), None)
        self.send_header("Content-Length", str(length if self.command == "HEAD" and length else len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if half else answer.body)
        self.close_connection = self.close_connection or half

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the library's
        """Say nothing."""


def _refuse(status: int, error: str) -> Answer:
    return Answer(status, [("Content-Type", "application/xml")], f"<Error>{error}</Error>".encode())


def _send(upstream: tuple[str, int], method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    connection = http.client.HTTPConnection(*upstream, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()
