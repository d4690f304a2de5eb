"""The program of the process that `forked.py` has others forked from."""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import socket
import sys
import termios
import time
import types
from collections.abc import Sequence
from contextlib import suppress
from fcntl import ioctl
from typing import Any

_LIBRARIES = (
    "duckdb",
    "httpcore2",
    "httpx2",
    "rich.progress",
    "rich.table",
    "reelport.cli.main",
    "reelport.cli.arguments.usage_errors",
)
_ROOMS = (
    "reelport.client",
    "reelport.sync",
    "reelport.cli.arguments",
    "reelport.cli.output",
    "reelport.cli.client_commands",
)
_LEFT_OUT = {"reelport.sync.dlt", "reelport.client.results.arrow"}
"""They load much that few programs use: the less memory a process has, the sooner it is forked."""

_MOST = 1 << 20


def _client() -> list[str]:
    """What the programs of a client import."""
    rooms = [importlib.import_module(name) for name in _ROOMS]
    ours = {module.name for room in rooms for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")}
    return [*_LIBRARIES, *sorted(ours - _LEFT_OUT)]


def _serve(control: socket.socket, listener: socket.socket, loads: str) -> tuple[str, str]:
    """Import what programs import, and fork one for each request. In a forked one: what it is to run.

    Requests come from the process that started this one, and from whoever connects.
    """
    for name in loads.split() or _client():
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    running: dict[int, tuple[int, int]] = {}
    while True:
        ready = set(select.select([control.fileno(), listener.fileno(), *running], [], [])[0])
        for ended in ready & set(running):
            pid, telling = running.pop(ended)
            _tell(telling, os.waitpid(pid, 0)[1])
            os.close(telling)
            os.close(ended)
        for source in {control.fileno(), listener.fileno()} & ready:
            data, rights = _receive(control) if source == control.fileno() else _receive(listener.accept()[0])
            if not data and source == control.fileno():
                sys.exit()
            if not data:
                continue
            *streams, telling = rights
            if (pid := os.fork()) == 0:
                for number in (
                    control.detach(),
                    listener.detach(),
                    telling,
                    *running,
                    *(told for _, told in running.values()),
                ):
                    os.close(number)
                return _become(json.loads(data), streams)
            for number in streams:
                os.close(number)
            _tell(telling, pid)
            running[os.pidfd_open(pid)] = pid, telling


def _receive(source: socket.socket) -> tuple[bytes, list[int]]:
    """A request, and the numbers of what came with it; nothing from who has gone."""
    data, rights, _, _ = source.recvmsg(_MOST, socket.CMSG_SPACE(4 * array.array("i").itemsize))
    return data, list(array.array("i", rights[0][2])) if data else []


def _tell(telling: int, number: int) -> None:
    with suppress(BrokenPipeError):  # Nobody asks any more.
        os.write(telling, b"%d\n" % number)


def _become(request: dict[str, Any], streams: Sequence[int]) -> tuple[str, str]:
    """Be what a new process of these words is: its streams, folder, environment and words. What it is to run."""
    if request["terminal"]:
        os.setsid()
        ioctl(streams[0], termios.TIOCSCTTY, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]  # it is a stream of text
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.path[0] = ""
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    how, what, *words = request["words"]
    sys.argv = [how, *words]
    return how, what


def _run(how: str, what: str) -> None:
    """Run a module or a text of code as Python does by `-m` and `-c`."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), main.__dict__)  # noqa: S102 - as `python -c` does
    except SystemExit as end:
        if isinstance(end.code, int | None):
            _ended.append(end.code or 0)
        raise
    _ended.append(0)


_ended: list[int] = []
"""The status of a program that has ended by itself, and not by an error that Python is still to tell."""


def _leave() -> None:
    """End the process at once, when threads have ended and all else was called that is to be called at the end.

    Python would now take apart all modules, and with that copy the memory that this process shares with the one it was
    forked from: two thirds of what a short command costs.
    """
    if not _ended:
        return
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            return  # Python says so itself, by its own status
    os._exit(_ended[0])


if __name__ == "__main__":
    atexit.register(_leave)  # the first, so that it is called last
    this = sys.modules["__main__"]  # it stays, although another takes its name
    _asked, _connecting = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    _run(*_serve(_asked, _connecting, sys.argv[3]))
