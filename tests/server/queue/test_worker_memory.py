"""Memory that a resting worker gives back."""

from __future__ import annotations

import os

from reelport.server.queue.worker_memory import RestMemory, read_own_memory


def test_much_free_memory_is_given_back_after_a_rest() -> None:
    """Not while it makes reports, nor before it has rested for five seconds after the last one."""
    memory = RestMemory()
    taken = [bytes(1000) for _ in range(150_000)]
    last = taken.pop()  # above all others, so that the system can't be given them back from the end
    held = read_own_memory()
    del taken
    memory.check(1, at_rest=False, now=0)
    memory.check(1, at_rest=True, now=10)
    memory.check(1, at_rest=True, now=14)
    assert held - read_own_memory() < 50_000_000
    memory.check(1, at_rest=True, now=15)
    assert held - read_own_memory() > 100_000_000
    assert len(last) == 1000


def test_own_memory_is_read_from_the_system() -> None:
    """Memory that is taken is seen."""
    before = read_own_memory()
    taken = bytearray(os.urandom(1) * 30_000_000)
    assert read_own_memory() - before > 20_000_000
    del taken
