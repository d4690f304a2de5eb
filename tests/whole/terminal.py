"""Commands as people and programs run them: in pipes, or on a terminal of 80 columns or as many as are wished."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import forked
from tests.patience import PATIENCE

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status, and what it wrote to stdout and stderr."""

    status: int
    out: bytes
    err: str


def surroundings(url: str, key: str, secret: str, **more: str) -> dict[str, str]:
    """The environment of a command that speaks to this service."""
    ours = {"REELPORT_URL": url, "REELPORT_API_KEY": key, "REELPORT_API_SECRET": secret}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    return kept | {"REELPORT_HOME": os.environ["REELPORT_HOME"]} | ours | more


def piped(environment: Mapping[str, str], *words: str) -> Ended:
    """A command whose stdout and stderr are pipes."""
    done = forked.run(["-m", "reelport", *words], env=environment, text=False)
    err = done.stderr.decode()
    assert "Traceback" not in err, err
    return Ended(done.returncode, done.stdout, err)


def on_terminal(
    environment: Mapping[str, str],
    *words: str,
    stdout: Path | None = None,
    keys: tuple[float, bytes] = (0, b""),
    at: str = "",
    columns: int = 80,
) -> tuple[int, str]:
    """A command on a terminal of so many columns: its status, and all that it drew.

    Its stdout goes elsewhere where a file is given. `keys` are pressed so many seconds after it said
    something, or drew what `at` says.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    out = theirs if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT, 0o600)
    names = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    outside = {name: value for name, value in environment.items() if name not in names} | {"TERM": "xterm-256color"}
    outside |= {name: environment[name] for name in ("NO_COLOR",) if name in environment}
    command = ["-m", "reelport", *words]
    with forked.Popen(command, env=outside, stdin=theirs, stdout=out, stderr=theirs, terminal=True) as process:
        os.close(theirs)
        drawn = bytearray()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:
                break  # The other end is closed: the command is over.
            if not data:
                break
            drawn += data
            if keys[1] and at.encode() in drawn:
                threading.Timer(keys[0], os.write, (ours, keys[1])).start()
                keys = (0, b"")
        status = process.wait(PATIENCE)
    os.close(ours)
    if stdout is not None:
        os.close(out)
    return status, drawn.decode()


def bare(drawn: str) -> list[str]:
    """The lines of what was drawn, without what steers a terminal."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", drawn)) if line.strip()]
