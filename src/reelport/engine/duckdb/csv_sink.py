"""The sink for DuckDB's CSV: reads a named pipe into a file while DuckDB writes.

It hashes and counts on the way. A short report fits into the pipe: the thread that made it reads it once it is
whole, for to wake another thread takes longer than that.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
"""Bytes per read from the pipe; also the size of the pipe's buffer, where the system allows it."""

_COUNTED = 8 << 20
"""Bytes whose lines are counted: all of a long report's would take a twentieth of its time."""

_NO_MARKS = bytes(set(range(256)) - set(b'"\n'))
"""All bytes but those that tell where a line of CSV ends."""

_HEAD_START = 0.03
"""Seconds in which nobody reads: a report that is written by then needs no other thread."""


@dataclass(frozen=True, slots=True)
class Written:
    """A finished CSV: rows without the header, bytes, and the SHA-256 in hex."""

    rows: int
    bytes: int
    sha256: str


class LineCounter:
    """Counts the lines of CSV as its bytes come; a quoted cell may hold line ends."""

    def __init__(self) -> None:
        self.lines = 0
        self._is_in_quotes = False

    def add(self, data: bytes) -> None:
        """Count the line ends outside quotes."""
        if not self._is_in_quotes and b'"' not in data:
            self.lines += data.count(b"\n")
            return
        marks = (b'"' if self._is_in_quotes else b"") + data.translate(None, _NO_MARKS)
        # Most quoted cells hold no line end, and leave two quotes side by side.
        outside = marks.replace(b'""', b"").split(b'"')[::2]
        self.lines += sum(part.count(b"\n") for part in outside)
        self._is_in_quotes = marks.count(b'"') % 2 == 1


class CsvSink:
    """Copies what is written into `pipe` into a new file until it is closed.

    One writer may come after another. The file is complete once `close` has returned and `check` raises nothing; then
    `bytes` and `sha256` are the file's. `lines`, the header's too, are only those that were read while more was being
    written, roughly: a short report has none.
    """

    def __init__(self, file: int, pipe: Path, on_full: Callable[[], object]) -> None:
        self.pipe = pipe
        self.bytes = 0
        self._counter = LineCounter()
        self._counted = 0
        self._file = file
        self._on_full = on_full
        self._failure: Exception | None = None
        self._digest = hashlib.sha256()
        self._buffer = bytearray(_CHUNK)
        self._taken = threading.Lock()  # by the thread that reads, once and for all
        self._open = threading.Lock()  # until it is being closed
        self._open.acquire()
        self._read = threading.Event()
        with ExitStack() as undone:
            # Open it without waiting for a writer, then open a writer of our own: the pipe must not end with DuckDB's.
            self._reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            undone.callback(os.close, self._reading)
            self._writing = os.open(pipe, os.O_WRONLY | os.O_CLOEXEC)
            undone.callback(os.close, self._writing)
            os.set_blocking(self._reading, True)
            # Another program that reads the pipe would take bytes away: from here on nobody but root can open it.
            pipe.chmod(0o200)
            # For fewer switches of threads. Outside Linux, and over the user's limit, it keeps its size.
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                with suppress(OSError):
                    fcntl.fcntl(self._reading, fcntl.F_SETPIPE_SZ, _CHUNK)
            threading.Thread(target=self.read_later, name="csv-sink", daemon=True).start()
            undone.pop_all()

    @property
    def lines(self) -> int:
        """About how many lines were read while more were written."""
        lines, counted = self._counter.lines, self._counted
        return lines if counted < _COUNTED else lines * self.bytes // counted

    @property
    def sha256(self) -> str:
        """The SHA-256, in hex, of the bytes written so far."""
        return self._digest.hexdigest()

    def check(self) -> None:
        """Raise the error, usually an OSError, that kept bytes from reaching the file."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Wait until the last byte is in the file. The file is not durable yet."""
        os.close(self._writing)
        self._open.release()
        try:
            if self._taken.acquire(blocking=False):
                self._read_pipe(counting=False)
            else:
                self._read.wait()
            self._check_pipe()
        except OSError as error:
            self._failure = self._failure or error
        finally:
            os.close(self._reading)

    def read_later(self) -> None:
        """Read what isn't written within a moment as it comes, until the sink is closed."""
        if self._open.acquire(timeout=_HEAD_START) or not self._taken.acquire(blocking=False):
            return
        try:
            self._read_pipe(counting=True)
        except Exception as error:  # noqa: BLE001 - raised by `check`, in the thread that waits for it
            self._give_up(error)
        finally:
            self._read.set()

    def _give_up(self, error: Exception) -> None:
        """Keep the error, and let no writer wait for a reader that has gone.

        What a writer has open breaks; who opens the name from now on writes a file, which is removed with it.
        """
        self._failure = self._failure or error
        with suppress(OSError):
            self.pipe.unlink()
        # Closes the pipe's reading end, and keeps its number: `close` must close no file of somebody else.
        os.dup2(self._file, self._reading, inheritable=False)
        self._on_full()

    def _check_pipe(self) -> None:
        """Raise FileExistsError if the pipe was replaced: DuckDB then wrote to a new file."""
        if not os.path.samestat(self.pipe.lstat(), os.fstat(self._reading)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.pipe))

    def _read_pipe(self, *, counting: bool) -> None:
        view = memoryview(self._buffer)
        while size := os.readv(self._reading, [self._buffer]):
            # Empty the pipe even after an error: a writer must never block in it.
            try:
                if self._failure is None:
                    self._store(view[:size])
                    if counting and self._counted < _COUNTED:
                        self._counter.add(bytes(view[:size]))
                        self._counted += size
            except Exception as error:  # noqa: BLE001 - raised by `check`, in the thread that waits for it
                self._failure = error
            if self._failure is not None:
                # Call it at every read: a writer that has just begun may have missed the last call.
                self._on_full()

    def _store(self, data: memoryview) -> None:
        left = data
        while left:
            left = left[os.write(self._file, left) :]
        self._digest.update(data)
        self.bytes += len(data)


@contextmanager
def open_sink(to: Path, folder: Path, on_full: Callable[[], object]) -> Iterator[CsvSink]:
    """Open a sink into a new file, through a pipe in `folder`.

    Both are closed and the pipe removed after the block. When the file can't be written, whoever reads the pipe, a
    thread of the sink's or `close`, calls `on_full` at every further read; it must not raise. The block then ends with
    the file's error.
    """
    file = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    pipe = folder / f"pipe-{secrets.token_hex(8)}"
    try:
        _make_pipe(pipe)
        try:
            opened = CsvSink(file, pipe, on_full)
            try:
                yield opened
            finally:
                opened.close()
                # Raise the file's error rather than the interruption that it caused in the writer.
                opened.check()
        finally:
            pipe.unlink(missing_ok=True)
    finally:
        os.close(file)


def _make_pipe(pipe: Path) -> None:
    try:
        os.mkfifo(pipe, 0o600)
    except OSError as error:
        error.filename = str(pipe)  # os.mkfifo leaves it out
        raise
