"""Gives memory back to the system that a busy moment took: the C library keeps what was freed between other things."""

from __future__ import annotations

import ctypes
import sys


def release_memory() -> bool:
    """Give freed memory back; False where the C library can't be told to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))
