"""Returns freed memory to the system; glibc keeps it after a busy moment."""

from __future__ import annotations

import ctypes
import sys


def release_memory() -> bool:
    """Return freed memory to the system; False if none, or without `malloc_trim`."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))
