"""Starts Python programs in processes forked from one that has imported the libraries: a start costs no import.

Each is a process of its own, with its own words, environment, folder and streams, and takes signals as any other. What
a start itself does (its imports, Python's options, a closed stream) is tried on processes that are not forked, and so
is how Python takes a process apart at its end.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.patience import PATIENCE, hear_ready

PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT

LOADING = "reelport.facts.loading.load"
"""What programs that load facts import, for `loads`."""

SERVING = "reelport.cli.main reelport.server.serve reelport.server.web_server"
"""What `reelport serve` imports in its own process, for `loads`."""

COMMANDS = (
    f"{SERVING} {LOADING} reelport.client.client reelport.server.backup.incremental_backup "
    "reelport.server.doctor.checks"
)
"""What the commands of operators and partners import, for `loads`."""

_PROGRAM = Path(__file__).with_name("forking.py")
_COMMAND = Path(__file__).with_name("forked_command.py")


class Popen:
    """A program that runs: like `subprocess.Popen` of `python` with these words, whose streams are text or bytes.

    It is forked from a process that has imported the modules that `loads` names, or the client.
    """

    def __init__(
        self,
        words: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        text: bool = True,
        terminal: bool = False,
        loads: str = "",
    ) -> None:
        self.returncode: int | None = None
        self.stdin, source = _stream(stdin, text, writes=True)
        self.stdout, out = _stream(stdout, text)
        self.stderr, err = (None, os.dup(out)) if stderr == STDOUT else _stream(stderr, text)
        self._told, telling = os.pipe()
        request = {
            "words": [str(word) for word in words],
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()),
            "terminal": terminal,
        }
        numbers = [source, out, err, telling]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))]
        _source(loads).sendmsg([json.dumps(request).encode()], rights)
        for number in numbers:
            os.close(number)
        self.pid = self._hear()

    def poll(self) -> int | None:
        """Its status, if it has ended: negative for the signal that ended it."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its status, once it has ended. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("python", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(self._hear())
            os.close(self._told)
        return self.returncode

    def communicate(self, timeout: float = PATIENCE) -> tuple[Any, Any]:
        """What it writes from now on to stdout and stderr, when it has ended. Raises TimeoutExpired, and kills it."""
        if self.stdin is not None:
            self.stdin.close()
        with ThreadPoolExecutor(2) as readers:
            parts = [readers.submit(stream.read) if stream else None for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            out, err = (part.result() if part else None for part in parts)
        self._close()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self.wait()

    def _close(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def _hear(self) -> int:
        """The next number that is told of it."""
        data = b""
        while not data.endswith(b"\n"):
            more = os.read(self._told, 1)
            assert more, "the process that others are forked from has ended"
            data += more
        return int(data)


def run(
    words: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | IO[Any] = PIPE,
    text: bool = True,
    loads: str = "",
) -> subprocess.CompletedProcess[Any]:
    """Such a program, ended: like `subprocess.run` that captures what it writes."""
    with Popen(words, env=env, cwd=cwd, stdout=stdout, stderr=PIPE, text=text, loads=loads) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess([str(word) for word in words], process.wait(), out, err)


@contextmanager
def child(program: str, *words: str | Path) -> Iterator[Popen]:
    """Run such a program once it has said `ready`, like `patience.child`: it is gone when the block ends."""
    with Popen(["-c", program, *words], stdout=PIPE, stderr=PIPE, loads=COMMANDS) as process:
        try:
            hear_ready(process.stdout, process.stderr)
            yield process
        finally:
            process.kill()


def run_child(program: str, *words: str | Path) -> str:
    """What such a program prints after it has said `ready`, when it comes to an end by itself with status 0."""
    with child(program, *words) as process:
        out, err = process.communicate()
        assert process.wait() == 0, err
    return str(out)


def _stream(wanted: int | IO[Any] | None, text: bool, *, writes: bool = False) -> tuple[IO[Any] | None, int]:
    """Our end of a program's stream, if it is a pipe, and the program's end."""
    if wanted == PIPE:
        source, target = os.pipe()
        mode = ("w" if writes else "r") + ("" if text else "b")
        ours = os.fdopen(target if writes else source, mode, encoding="utf-8" if text else None)
        return ours, source if writes else target
    if wanted is None or wanted == DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    return None, os.dup(wanted if isinstance(wanted, int) else wanted.fileno())


@cache
def command_folder(loads: str = COMMANDS) -> Path:
    """A folder with a program `reelport`, for the path of scripts: it runs as the installed one does, but forked."""
    folder = Path(tempfile.mkdtemp(prefix="reelport-command-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = folder / "reelport"
    program.write_text(f"#!{sys.executable} -SE\n{_COMMAND.read_text('utf-8')}", "utf-8")
    program.chmod(0o755)
    _source(loads, folder / "socket")
    return folder


@cache
def _source(loads: str, address: Path | None = None) -> socket.socket:
    """Where requests are sent: the process that programs are forked from, which lives as long as this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("" if address is None else str(address))  # without a name the system finds one
    listener.listen()
    with theirs, listener:
        process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), str(theirs.fileno()), str(listener.fileno()), loads],
            pass_fds=[theirs.fileno(), listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
