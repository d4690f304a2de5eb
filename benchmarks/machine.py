"""Where and of what a measurement was made: machine, load, versions, commit."""

from __future__ import annotations

import mmap
import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_LIBRARIES = ("duckdb", "pyarrow", "deltalake", "pandas", "sqlalchemy", "starlette", "uvicorn", "httpx2")
_RIVALS = ("polars", "chdb-core")
_ROOT = Path(__file__).parent.parent
IN_HAND = 6_000_000_000
"""Bytes of memory that are touched before each turn; at most half of what is free."""


def machine() -> dict[str, object]:
    """Processor, cores, memory and system."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": memory(),
        "system": f"{platform.system()} {platform.release()}",
    }


def memory() -> int:
    """Bytes of memory."""
    return int(psutil.virtual_memory().total)


def load() -> list[float]:
    """The load averages of the last 1, 5 and 15 minutes."""
    return [round(average, 2) for average in os.getloadavg()]


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that are measured."""
    known = {name: version(name) for name in _LIBRARIES}
    for name in _RIVALS:
        with suppress(PackageNotFoundError):
            known[name] = version(name)
    return {"python": platform.python_version(), **known}


def commit() -> dict[str, object]:
    """The commit that is measured, and whether the source was changed since."""
    return {"id": _git("rev-parse", "HEAD"), "changed": bool(_git("status", "--porcelain", "--", "src", "benchmarks"))}


def rest(in_hand: int = IN_HAND) -> None:
    """Let whoever comes next find the machine like everyone else: its disk synced, its free memory at hand.

    A virtual machine may give its free memory back to the host, and each first touch of a page then costs
    several times as much. What was touched and freed a moment ago is still there.
    """
    # Who syncs a file may have to wait for what others left unsynced.
    os.sync()
    if size := min(in_hand, psutil.virtual_memory().available // 2):
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S607 - git is where it is
    return done.stdout.strip()
