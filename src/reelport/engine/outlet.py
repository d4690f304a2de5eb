"""Where the engine's bytes come out: through a pipe into a file, hashed, counted and synced while the engine works."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reelport.ahead import Ahead

_AT_ONCE = 1 << 20
"""Bytes taken from the pipe at once; the pipe holds as many, where the system lets it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A finished CSV: its rows, the header not counted, its bytes, and their SHA-256."""

    rows: int
    bytes: int
    sha256: str


class Outlet:
    """A new file that takes what is written into `pipe`, by one writer after another, until it is closed.

    The file has all of it once `close` has returned; `bytes` and `sha256` are then those of the file.
    """

    def __init__(self, file: int, pipe: Path, full: Callable[[], object]) -> None:
        self.pipe = pipe
        self.bytes = 0
        self._file = file
        self._full = full
        self._failure: OSError | None = None
        self._digest = hashlib.sha256()
        self._ahead = Ahead(file)
        # Without waiting for a writer; then with one of our own, so that no writer's end is the pipe's.
        self._reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._writing = os.open(pipe, os.O_WRONLY | os.O_CLOEXEC)
        os.set_blocking(self._reading, True)
        _widen(self._reading)
        self._thread = threading.Thread(target=self._take, name="outlet", daemon=True)
        self._thread.start()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written."""
        return self._digest.hexdigest()

    def check(self) -> None:
        """Raise the OSError for which the file takes no more: then `full` was called too."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Wait for the last byte. What was written is not durable yet."""
        os.close(self._writing)
        self._thread.join()
        os.close(self._reading)
        try:
            self._ahead.settle()
        except OSError as error:  # which the system tells once: the sync at the end would not hear of it
            self._failure = self._failure or error

    def _take(self) -> None:
        buffer = bytearray(_AT_ONCE)
        view = memoryview(buffer)
        while size := os.readv(self._reading, [buffer]):
            # Whatever becomes of the file, the pipe is emptied: a writer must never be left hanging in it.
            if self._failure is None:
                self._keep(view[:size])

    def _keep(self, data: memoryview) -> None:
        try:
            _write_all(self._file, data)
            self._ahead.wrote(len(data))
        except OSError as error:
            self._failure = error
            self._full()
            return
        self._digest.update(data)
        self.bytes += len(data)


@contextmanager
def outlet(to: Path, folder: Path, full: Callable[[], object]) -> Iterator[Outlet]:
    """An outlet into a new file, by a pipe in the folder that goes away again; closed at the end of the block.

    When the file takes no more, `full` is called from another thread, and the block ends with that OSError.
    """
    file = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    pipe = folder / f"pipe-{secrets.token_hex(8)}"
    try:
        os.mkfifo(pipe, 0o600)
        try:
            opened = Outlet(file, pipe, full)
            try:
                yield opened
            finally:
                opened.close()
                # The disk's refusal comes before what the writer made of being stopped for it.
                opened.check()
        finally:
            pipe.unlink(missing_ok=True)
    finally:
        os.close(file)


def _write_all(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]


def _widen(pipe: int) -> None:
    """Fewer turns between two threads: elsewhere than on Linux, or for one with many pipes, it stays as it is."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _AT_ONCE)
