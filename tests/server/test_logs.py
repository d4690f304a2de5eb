"""What the log writes: it waits for nobody, and repeats are limited."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from tests.patience import PATIENCE, free_port, until

from reelport.server import logs
from reelport.server.logs import LogThrottle
from reelport.server.settings import read_settings
from reelport.server.web_server import log_exhaustion


@pytest.fixture
def as_before() -> Iterator[None]:
    """The log is set up as it was once the test ends."""
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


@pytest.mark.usefixtures("as_before")
def test_lines_that_nobody_takes_are_lost() -> None:
    """A pipe that is full is as a disk without room: what comes then is lost, and nobody waits."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    with closing(os.fdopen(reader, "rb")) as read, closing(os.fdopen(writer, "w")) as stream:
        logs.configure(read_settings(), stream)
        log = structlog.get_logger()
        while True:
            try:
                os.write(writer, b"\n" * 4096)
            except BlockingIOError:
                break
        log.info("first")
        log.info("second")
        assert not read.read().strip()
        log.info("third")
        log.info("fourth")
        lines = [json.loads(line) for line in read.read().splitlines()]
    assert [line["event"] for line in lines] == ["third", "fourth"]


def test_a_service_whose_log_has_no_room_runs_and_ends_as_ever(tmp_path: Path) -> None:
    port = free_port()
    words = ["serve", "--data", str(tmp_path / "data"), "--port", str(port), "--workers", "1"]
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen([sys.executable, "-m", "reelport", *words], stdout=subprocess.DEVNULL, stderr=full) as service,
    ):
        try:
            assert until(lambda: service.poll() is not None or is_well(port))
            assert is_well(port)
            service.send_signal(signal.SIGTERM)
            assert service.wait(PATIENCE) == 0
        finally:
            service.kill()


def is_well(port: int) -> bool:
    """Whether the service answers that all is well, its workers included."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except OSError:
        return False


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What this process logs, as the service would."""
    stream = io.StringIO()
    logs.configure(read_settings(), stream)
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


def lines(written: io.StringIO) -> list[dict[str, str]]:
    """Every line that was logged."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_one_cause_is_logged_ten_times_and_others_beside_it(written: io.StringIO) -> None:
    """Our own lines and those of libraries alike; what isn't a warning is never left out."""
    log = structlog.get_logger("test")
    for number in range(1000):
        log.error("no connection", reason="too many open files")
        log.info("request", number=number)
        logging.getLogger("asyncio").error(
            "socket.accept() out of system resource", exc_info=OSError(errno.EMFILE, "x")
        )
    log.error("no connection", reason="no memory")
    found = [line["event"] for line in lines(written)]
    assert found.count("no connection") == 11
    assert found.count("request") == 1000
    assert sum(each.startswith("socket.accept()") for each in found) == 10
    assert "left out" in [line for line in lines(written) if line["event"] == "no connection"][9]["throttled"]


def test_after_a_minute_a_cause_is_logged_again() -> None:
    """The count begins anew with it, and nothing is known of causes of earlier minutes."""
    now = 0.0
    throttle = LogThrottle(lambda: now)
    assert sum(throttle.admit("cause") is not None for _ in range(25)) == 10
    now = 60.0
    assert throttle.admit("cause") == ""
    assert sum(throttle.admit("cause") is not None for _ in range(25)) == 9


def test_an_accept_that_finds_no_open_file_is_a_sentence_and_no_traceback(written: io.StringIO) -> None:
    """Twenty a second, as asyncio tries: ten lines of them. Whatever else went wrong is logged whole."""
    with closing(asyncio.new_event_loop()) as loop:
        for _ in range(1000):
            error = OSError(errno.EMFILE, "Too many open files")
            log_exhaustion(loop, {"message": "socket.accept() out of system resource", "exception": error})
        log_exhaustion(loop, {"message": "a callback failed", "exception": ValueError("why")})
    found = lines(written)
    assert [line["event"] for line in found[:10]] == ["no further connection can be accepted now"] * 10
    assert "Traceback" not in json.dumps(found[:10])
    (whole,) = found[10:]
    assert "ValueError: why" in json.dumps(whole)
