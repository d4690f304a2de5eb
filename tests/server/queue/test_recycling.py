"""When a worker asks to be replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reelport.server.queue.recycling import Recycling, read_own_memory
from reelport.server.queue.worker_slot import READY, REPLACE
from reelport.server.settings import read_settings
from reelport.server.state.tallies import Recycled

UNLIMITED = {"worker_reports": 0, "worker_rest_memory": "0GB"}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe to a supervisor; nothing in it is no wait."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_it_asks_once_after_so_many_reports(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Busy or not: reports go on until another worker is ready."""
    recycling = Recycling(read_settings(data=tmp_path, worker_reports=2, worker_rest_memory="0GB"), pipe[1])
    recycling.tell_ready()
    for _ in range(2):
        recycling.check(at_rest=True, now=0)
        assert recycling.reason is None
        recycling.count_report()
    for _ in range(2):
        recycling.check(at_rest=False, now=0)
    assert recycling.reason is Recycled.REPORTS
    assert os.read(pipe[0], 9) == READY + REPLACE


def test_it_asks_when_it_rests_in_too_much_memory(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Memory is weighed after a report and five seconds of rest: the engine's threads give theirs back by then."""
    recycling = Recycling(read_settings(data=tmp_path, worker_reports=0, worker_rest_memory="1MB"), pipe[1])
    for second in (0, 9):  # a new worker isn't replaced at once
        recycling.check(at_rest=True, now=second)
    recycling.count_report()
    for second in (10, 14):
        recycling.check(at_rest=True, now=second)
    recycling.check(at_rest=False, now=16)
    for second in (20, 24):
        recycling.check(at_rest=True, now=second)
        assert recycling.reason is None
    recycling.check(at_rest=True, now=25)
    assert recycling.reason is Recycled.MEMORY
    assert os.read(pipe[0], 9) == REPLACE


def test_it_never_asks_where_nobody_could_replace_it_or_nothing_is_limited(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    """A worker without a pipe, as an isolated one, and one whose limits are off."""
    for recycling in (
        Recycling(read_settings(data=tmp_path, worker_reports=1, worker_rest_memory="1MB"), None),
        Recycling(read_settings(data=tmp_path, **UNLIMITED), pipe[1]),
    ):
        recycling.count_report()
        for second in (0, 9):
            recycling.check(at_rest=True, now=second)
        assert recycling.reason is None


def test_much_free_memory_is_given_back_after_a_rest(tmp_path: Path) -> None:
    """Nobody has to replace the worker for that, nor limit it; what it holds by then is what it needs."""
    recycling = Recycling(read_settings(data=tmp_path, **UNLIMITED), None)
    recycling.tell_ready()
    taken = [bytes(1000) for _ in range(150_000)]
    last = taken.pop()  # above all others, so that the system can't be given them back from the end
    held = read_own_memory()
    del taken
    recycling.count_report()
    for second in (0, 5):
        recycling.check(at_rest=True, now=second)
    assert held - read_own_memory() > 100_000_000
    assert len(last) == 1000


def test_own_memory_is_read_from_the_system() -> None:
    """Memory that is taken is seen."""
    before = read_own_memory()
    taken = bytearray(os.urandom(1) * 30_000_000)
    assert read_own_memory() - before > 20_000_000
    del taken
