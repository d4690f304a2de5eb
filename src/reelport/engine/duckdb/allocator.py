"""When DuckDB's own allocator, jemalloc, gives freed pages back to the system.

By default it does within two seconds. The next small report then has the system clear 1,500 pages anew, which takes as
long as a quarter of the report.
"""

from __future__ import annotations

import ctypes
import os
import sys

_VARIABLE = "DUCKDB_JE_MALLOC_CONF"
_ALL_ARENAS = b"arena.4096.purge"


def keep_pages() -> None:
    """Keep freed pages until `release_pages`, or until the system needs memory.

    Call it before DuckDB is loaded. An operator's own settings of the allocator stay.
    """
    os.environ.setdefault(_VARIABLE, "muzzy_decay_ms:-1")


def release_pages() -> bool:
    """Give freed pages back now; False without DuckDB, or where it has another allocator."""
    library = sys.modules.get("_duckdb")
    if library is None or library.__file__ is None:
        return False
    control = getattr(ctypes.CDLL(library.__file__), "duckdb_je_mallctl", None)
    return control is not None and control(_ALL_ARENAS, None, None, None, ctypes.c_size_t(0)) == 0
