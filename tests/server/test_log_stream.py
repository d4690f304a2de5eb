"""A log that can't be written stops nothing."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import structlog
from tests.patience import PATIENCE, free_port, until

from reelport.server import logs
from reelport.server.settings import read_settings


@pytest.fixture
def as_before() -> Iterator[None]:
    """The log is set up as it was once the test ends."""
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


@pytest.mark.usefixtures("as_before")
def test_lines_that_nobody_takes_are_counted_in_the_next_one() -> None:
    """A pipe that is full is as a disk without room: what comes then is lost, and told once there is room again."""
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
    assert [(line["event"], line.get("lines_lost")) for line in lines] == [("third", 2), ("fourth", None)]


@pytest.mark.usefixtures("as_before")
def test_a_line_of_which_a_part_was_taken_ends_before_the_next_one(tmp_path: Path) -> None:
    """So that the line which tells of the loss can be read, by a program too."""
    path = tmp_path / "log"
    with path.open("w") as stream:
        logs.configure(read_settings(), stream)
        log = structlog.get_logger()
        log.info("whole")
        with file_size(path.stat().st_size + 5):
            log.info("cut")
            log.info("lost")
        log.info("told")
        log.info("after")
    whole, cut, told, after = path.read_text().splitlines()
    assert len(cut) == 5
    assert json.loads(whole)["event"] == "whole"
    lines = [json.loads(line) for line in (told, after)]
    assert [(line["event"], line.get("lines_lost")) for line in lines] == [("told", 2), ("after", None)]


@contextmanager
def file_size(most: int) -> Iterator[None]:
    """No file of this process can grow beyond this, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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
