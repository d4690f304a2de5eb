"""The program `reelport` of `forked.command_folder`: what it is asked runs in a process that is forked for it."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType


def main() -> int:
    """Have the words run with this process's streams, folder and environment; its status, once it has ended."""
    heard, telling = os.pipe()
    words = ["-m", "reelport", *sys.argv[1:]]
    request = {"words": words, "env": dict(os.environ), "cwd": str(Path.cwd()), "terminal": False}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as source:
        source.connect(str(Path(__file__).with_name("socket")))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2, telling]))]
        source.sendmsg([json.dumps(request).encode()], rights)
    os.close(telling)
    with os.fdopen(heard) as told:
        pid = int(told.readline())

        def pass_on(number: int, _frame: FrameType | None) -> None:
            os.kill(pid, number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, pass_on)
        return os.waitstatus_to_exitcode(int(told.readline()))


if __name__ == "__main__":
    status = main()
    if status < 0:  # as it was ended, so does this one
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)
