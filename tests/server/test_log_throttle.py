"""The log of one cause: its first lines, and how many more there were."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
from collections.abc import Iterator
from contextlib import closing

import pytest
import structlog

from reelport.server import logs
from reelport.server.logs import LogThrottle
from reelport.server.settings import read_settings
from reelport.server.web_server import log_exhaustion


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


def test_after_a_minute_a_cause_is_logged_again_with_what_was_left_out() -> None:
    """The count begins anew with it."""
    now = 0.0
    throttle = LogThrottle(lambda: now)
    assert sum(throttle.admit("cause") is not None for _ in range(25)) == 10
    now = 60.0
    assert throttle.admit("cause") == "15 such lines were left out before"
    assert sum(throttle.admit("cause") is not None for _ in range(25)) == 9
    now = 200.0
    assert throttle.admit("another") == ""


def test_what_is_known_of_causes_is_bounded() -> None:
    """However many there are."""
    throttle = LogThrottle()
    assert all(throttle.admit(number) == "" for number in range(5000))
    assert throttle.admit(4999) == ""
    assert throttle.admit(0) == ""


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
