"""Writes the lines of the log, and loses those that nobody takes.

The log may be a file on a full disk, or a pipe whose reader is gone: no request, report or start fails by that.
"""

from __future__ import annotations

import io
import os
from typing import TextIO

from structlog.typing import EventDict


class LogStream(io.TextIOBase):
    """A text stream over another one, whose writes raise no OSError."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._descriptor = _find_descriptor(out)
        self._lost = 0
        self._is_cut = False

    def tell_lost(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Say in the next line how many were lost before it; a structlog processor."""
        return {**event, "lines_lost": self._lost} if self._lost else event

    def write(self, text: str) -> int:
        """Write a line, or lose it; returns the number of its letters either way."""
        try:
            self._write(text)
        except OSError:
            self._lost += 1
        else:
            self._lost = 0
        return len(text)

    def _write(self, text: str) -> None:
        if self._descriptor is None:
            self._out.write(text)
            self._out.flush()
            return
        # Not by the stream: its buffer would keep what can't be written, and fail the process's exit.
        line = text.encode(self._out.encoding or "utf-8", "backslashreplace")
        if self._is_cut:  # else this line would be the rest of one that a full disk took a part of
            line = b"\n" + line
        left = line
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        finally:
            self._is_cut = bool(left) and (self._is_cut or len(left) < len(line))


def _find_descriptor(out: TextIO) -> int | None:
    """Find the file that a stream writes to; None where it has none."""
    try:
        return out.fileno()
    except OSError:
        return None
