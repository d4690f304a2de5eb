"""Freed pages of the engine stay with its process until they are given back, or the system needs them."""

from __future__ import annotations

import subprocess
import sys

LARGE = """
import ctypes, sys
from reelport.engine.duckdb.allocator import keep_pages, release_pages

assert not release_pages()  # nothing is loaded that had any
keep_pages()
import duckdb
from reelport.server.queue.worker_memory import read_own_memory

control = ctypes.CDLL(sys.modules["_duckdb"].__file__).duckdb_je_mallctl
decay, size = ctypes.c_ssize_t(0), ctypes.c_size_t(8)
assert control(b"opt.muzzy_decay_ms", ctypes.byref(decay), ctypes.byref(size), None, ctypes.c_size_t(0)) == 0
assert decay.value == -1, decay
session = duckdb.connect(config={"threads": 1})
session.execute("CREATE TABLE taken AS SELECT i * 7919 % 1000003 AS i FROM range(10000000) t(i)")
session.execute("DROP TABLE taken")
held = read_own_memory()
assert release_pages()
assert held - read_own_memory() > 50_000_000, (held, read_own_memory())
"""


def test_freed_pages_are_kept_until_they_are_given_back() -> None:
    """The allocator never gives them back by itself; told to, it does at once."""
    done = subprocess.run([sys.executable, "-c", LARGE], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
