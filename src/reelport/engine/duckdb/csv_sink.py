"""Where the engine's bytes come out: through a pipe into a file, hashed, counted and synced while the engine works."""

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

from reelport.write_behind import BackgroundSync

_CHUNK = 1 << 20
"""Bytes taken from the pipe at once; the pipe holds as many, where the system lets it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A finished CSV: its rows, the header not counted, its bytes, and their SHA-256."""

    rows: int
    bytes: int
    sha256: str


class CsvSink:
    """A new file that takes what is written into `pipe`, by one writer after another, until it is closed.

    The file has all of it once `close` has returned and `check` says nothing; `bytes` and `sha256` are then the file's.
    """

    def __init__(self, file: int, pipe: Path, on_full: Callable[[], object]) -> None:
        self.pipe = pipe
        self.bytes = 0
        self._file = file
        self._on_full = on_full
        self._failure: Exception | None = None
        self._digest = hashlib.sha256()
        self._sync = BackgroundSync(file)
        self._buffer = bytearray(_CHUNK)
        self._thread = threading.Thread(target=self._read_pipe, name="outlet", daemon=True)
        with ExitStack() as undone:
            # Without waiting for a writer; then with one of our own, so that no writer's end is the pipe's.
            self._reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            undone.callback(os.close, self._reading)
            self._writing = os.open(pipe, os.O_WRONLY | os.O_CLOEXEC)
            undone.callback(os.close, self._writing)
            os.set_blocking(self._reading, True)
            # Another program that looked into it would take bytes away: from here on it can be read by none but root.
            pipe.chmod(0o200)
            _enlarge_pipe(self._reading)
            self._thread.start()
            undone.pop_all()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written."""
        return self._digest.hexdigest()

    def check(self) -> None:
        """Raise the error, an OSError as a rule, for which the file lacks what was written."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Wait for the last byte. What was written is not durable yet."""
        os.close(self._writing)
        self._thread.join()
        try:
            self._sync.wait()
            self._check_pipe()
        except OSError as error:  # which the system tells once: the sync at the end would not hear of it
            self._failure = self._failure or error
        finally:
            os.close(self._reading)

    def _check_pipe(self) -> None:
        """A writer that did not find the pipe has made a file of its name: what it wrote is not in ours."""
        if not os.path.samestat(self.pipe.lstat(), os.fstat(self._reading)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.pipe))

    def _read_pipe(self) -> None:
        view = memoryview(self._buffer)
        while size := os.readv(self._reading, [self._buffer]):
            # Whatever becomes of the file, the pipe is emptied: a writer must never be left hanging in it.
            try:
                if self._failure is None:
                    self._store(view[:size])
            except Exception as error:  # noqa: BLE001 - told by `check`, in the thread that waits for it
                self._failure = error
            if self._failure is not None:
                # As long as something comes: a writer that just began may not have heard it.
                self._on_full()

    def _store(self, data: memoryview) -> None:
        _write_all(self._file, data)
        self._sync.count_written(len(data))
        self._digest.update(data)
        self.bytes += len(data)


@contextmanager
def open_sink(to: Path, folder: Path, on_full: Callable[[], object]) -> Iterator[CsvSink]:
    """An outlet into a new file, by a pipe in the folder that goes away again; closed at the end of the block.

    When the file takes no more, `full` is called from another thread, again and again while something comes, and must
    not raise; the block ends with the file's error.
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
                # The disk's refusal comes before what the writer made of being stopped for it.
                opened.check()
        finally:
            pipe.unlink(missing_ok=True)
    finally:
        os.close(file)


def _make_pipe(pipe: Path) -> None:
    """A pipe for this user alone."""
    try:
        os.mkfifo(pipe, 0o600)
    except OSError as error:
        error.filename = str(pipe)  # which the system leaves out
        raise


def _write_all(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]


def _enlarge_pipe(pipe: int) -> None:
    """Fewer turns between two threads: elsewhere than on Linux, or for one with many pipes, it stays as it is."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _CHUNK)
