"""Which bytes of a file are in memory (the page cache): to send those waits for no disk."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import Any

_NO_ACCESS, _SHARED = 0, 1
_FAILED = ctypes.c_void_p(-1).value
_IN_MEMORY = b"\1"


class CachedPages:
    """Tells which pages of an open file are in memory. Close it to free its addresses."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._size = size
        self._address = _map(descriptor, size) if size and _is_told(descriptor) else None

    def count(self, position: int, count: int) -> int:
        """Count the bytes that are in memory from this position on, up to so many.

        0 where that isn't known.
        """
        end = min(position + count, self._size)
        if self._address is None or end <= position:
            return 0
        first = position - position % mmap.PAGESIZE
        pages = ctypes.create_string_buffer(-(-(end - first) // mmap.PAGESIZE))
        if _LIBRARY.mincore(self._address + first, end - first, pages) != 0:
            return 0
        resident = len(pages.raw) - len(pages.raw.lstrip(_IN_MEMORY))
        return max(min(first + resident * mmap.PAGESIZE, end) - position, 0)

    def close(self) -> None:
        """Give the address space back."""
        if self._address is not None:
            _LIBRARY.munmap(self._address, self._size)
            self._address = None


def _is_told(descriptor: int) -> bool:
    """Whether the system tells the truth about a file.

    It calls all pages of another user's file cached (Linux 5.2 and later).
    """
    return _LIBRARY is not None and os.fstat(descriptor).st_uid == os.geteuid()


def _map(descriptor: int, size: int) -> int | None:
    """Map a file without any access: no address faults when its end is cut off."""
    address: int | None = _LIBRARY.mmap(None, size, _NO_ACCESS, _SHARED, descriptor, 0)
    return None if address == _FAILED else address


def _load() -> Any:  # noqa: ANN401 - functions of C
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    return library


_LIBRARY = _load()
