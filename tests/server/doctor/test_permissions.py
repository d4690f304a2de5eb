"""What the doctor says of the permissions of a data directory's files."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

from reelport.server.doctor import start_checks


def test_pipes_and_sockets_of_running_processes_are_no_files_that_are_closed(tmp_path: Path) -> None:
    """A worker writes a report into a pipe that it alone may write; a regular file with such a mode is told."""
    spill = tmp_path / "spill" / "vm-1"
    spill.mkdir(parents=True)
    os.mkfifo(spill / "pipe-1", 0o200)
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(spill / "socket"))
        (spill / "socket").chmod(0o200)
        assert start_checks.list_inaccessible(tmp_path) == ()
    (spill / "file").write_text("x")
    (spill / "file").chmod(0o200)
    assert start_checks.list_inaccessible(tmp_path) == (spill / "file",)
