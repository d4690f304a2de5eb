"""The step runners: an answer is read to its end, or given up."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TypeVar

import pytest

from reelport import AsyncClient, Client
from reelport.client.drivers.http import AsyncHttp, Http
from reelport.client.drivers.step_runners import AsyncStepRunner, ExclusiveLock, StepRunner
from reelport.client.steps import Flow, Lost, Reply, Request, Send

T = TypeVar("T")


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n"


def _trickle(listener: socket.socket) -> None:
    """Answer each request with some bytes now and then, for as long as somebody reads."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(_HEAD + b"\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.01)


@pytest.fixture
def url() -> Iterator[str]:
    """A server whose answers never end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_trickle, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _drive(_flow: Flow[object], /, halt: object) -> None:
    """Run no flow: a lone step has none."""


async def _run(_flow: Flow[T]) -> T:
    """Run no flow, either."""
    raise AssertionError


def _send(url: str, pace: float) -> object:
    with closing(Http()) as transport:
        runner = StepRunner(transport, time.sleep, threading.Lock(), _drive, None)
        return runner.execute(Send(Request("POST", url, pace=pace)))


async def _send_async(url: str, pace: float) -> object:
    transport = AsyncHttp()
    try:
        runner = AsyncStepRunner(transport, asyncio.sleep, ExclusiveLock(), _run)
        return await runner.execute(Send(Request("POST", url, pace=pace)))
    finally:
        await transport.close()


def test_an_answer_that_trickles_is_lost(url: str) -> None:
    """A byte now and then is never silence: a look at a report would hang for as long as the other side likes."""
    lost = Lost("its answer only trickles")
    assert _send(url, 0.1) == lost
    assert asyncio.run(_send_async(url, 0.1)) == lost


def test_a_head_that_is_waited_for_is_no_trickle() -> None:
    """A service takes its time until it answers, as a look that waits: only what comes after the first bytes counts."""
    with _answer_once(b"HTTP/1.1 200 OK\r\n", b"content-length: 4\r\n\r\nlate") as url:
        reply = _send(url, 0.001)
        assert isinstance(reply, Reply)
        assert reply.body == b"late"
    with _answer_once(b"HTTP/1.1 200 OK\r\n", b"content-length: 4\r\n\r\nlate") as url:
        reply = asyncio.run(_send_async(url, 0.001))
        assert isinstance(reply, Reply)
        assert reply.body == b"late"


def test_an_answer_whose_last_bytes_come_late_is_whole() -> None:
    """What came after the time may be the end: it is taken, and nothing is asked for anew."""
    with _answer_once(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"late") as url:
        reply = _send(url, 0.001)
        assert isinstance(reply, Reply)
        assert reply.body == b"late"


@contextmanager
def _answer_once(*parts: bytes) -> Iterator[str]:
    """Answer one request, and pause before each part."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for part in parts:
                    time.sleep(0.05)
                    connection.sendall(part)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


class _Broken:
    """A transport with a defect: it raises what no flow expects."""

    def open(self, _: Request) -> Lost:
        """Fail."""
        raise ValueError("defect")

    def close(self) -> None:
        """Do nothing."""


class _AsyncBroken(_Broken):
    """The same on asyncio."""

    async def open(self, _: Request) -> Lost:  # type: ignore[override]  # awaited
        """Fail."""
        raise ValueError("defect")

    async def close(self) -> None:  # type: ignore[override]  # awaited
        """Do nothing."""


@pytest.mark.parametrize("blocking", [True, False])
def test_an_unexpected_error_names_who_asked_for_the_step(blocking: bool) -> None:
    """A driver's error passes by the frames of its flow: a note on it has them, from the outermost to the step."""
    url, key = "http://127.0.0.1:9", "k"
    if blocking:
        probe = Client(url, key, key, ledger=False, transport=_Broken()).probe
    else:
        twin = AsyncClient(url, key, key, ledger=False, transport=_AsyncBroken())
        probe = lambda: asyncio.run(twin.probe())  # noqa: E731 - the same call
    with pytest.raises(ValueError, match="defect") as caught:
        probe()
    notes = "\n".join(caught.value.__notes__)
    assert notes.startswith("The step was asked for by:\n")
    assert "in probe" in notes
    assert notes.index("in probe") < notes.rindex("auth.py")
