"""What a start warns of: permissions of a data directory's files, and links that lead nowhere."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from reelport.server.doctor import data_directory
from reelport.server.doctor.start_checks import find_link_fault
from reelport.server.settings import read_settings


def test_pipes_and_sockets_of_running_processes_are_no_files_that_are_closed(tmp_path: Path) -> None:
    """A worker writes a report into a pipe that it alone may write; a regular file with such a mode is told."""
    spill = tmp_path / "spill" / "vm-1"
    spill.mkdir(parents=True)
    os.mkfifo(spill / "pipe-1", 0o200)
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(spill / "socket"))
        (spill / "socket").chmod(0o200)
        assert data_directory.list_inaccessible(tmp_path) == ()
    (spill / "file").write_text("x")
    (spill / "file").chmod(0o200)
    assert data_directory.list_inaccessible(tmp_path) == (spill / "file",)


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("http://127.0.0.1:8642", "0.0.0.0"),  # noqa: S104 - as an operator sets it
        ("http://localhost", "::"),
        ("http://[::1]:8642", "10.0.0.4"),
        ("https://reports.localhost/", "0.0.0.0"),  # noqa: S104 - the same
        ("reports.example.com", "127.0.0.1"),
        ("ftp://reports.example.com", "127.0.0.1"),
        ("https://", "127.0.0.1"),
        ("https://[::1", "127.0.0.1"),
        ("http://reports.example.com:99999", "127.0.0.1"),
        ("http://reports.example.com:0", "127.0.0.1"),
    ],
)
def test_links_that_lead_nowhere_are_told(public_url: str, host: str) -> None:
    """A sentence with the setting that is to be changed."""
    fault = find_link_fault(read_settings(public_url=public_url, host=host))
    assert fault is not None
    assert public_url in fault
    assert "REELPORT_PUBLIC_URL" in fault


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("", "0.0.0.0"),  # noqa: S104 - the same
        ("http://127.0.0.1:8642", "127.0.0.1"),
        ("http://localhost:8642", "127.0.0.1"),
        ("https://reports.example.com", "0.0.0.0"),  # noqa: S104 - the same
        ("https://reports.example.com", "127.0.0.1"),
        ("https://10.0.0.4", "10.0.0.4"),
    ],
)
def test_links_that_may_lead_somewhere_are_left_alone(public_url: str, host: str) -> None:
    """A service behind a proxy on its own machine is a usual thing."""
    assert find_link_fault(read_settings(public_url=public_url, host=host)) is None
