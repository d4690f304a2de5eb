"""What doctor says where the next command would refuse, and where nobody makes what waits."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from tests import forked
from tests.disks import small_disk
from tests.server.conftest import State

from reelport.server.doctor.checks import list_inaccessible, run_checks
from reelport.server.doctor.start_checks import find_link_fault
from reelport.server.queue import liveness
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect, connected, reading, writing
from reelport.server.state.write_ahead import CHECKPOINT_COMMITS, LONG_LOG, SIZE_LIMIT, measure_log
from reelport.storage.durable import private


def told(settings: Settings, subject: str) -> list[tuple[bool, str]]:
    """What doctor says of a subject."""
    return [(found.well, found.sentence) for found in run_checks(settings) if found.subject == subject]


def test_reports_that_nobody_makes_are_told(state: State) -> None:
    """A report waits and no worker lives: it would wait for ever; without a report no worker is needed."""
    state.organization("demo", "c1")
    assert all(well for well, _ in told(state.settings, "workers"))
    state.ask(state.caller(state.key("demo")))
    ((well, sentence),) = told(state.settings, "workers")
    assert (well, "1 report waits or runs, and no worker lives" in sentence) == (False, True)
    with private(), liveness.hold_name(state.settings, liveness.make_owner_name(state.settings)):
        assert [well for well, _ in told(state.settings, "workers")] == [True]


def test_too_few_open_files_are_told(tmp_path: Path) -> None:
    """Where serve would refuse to start, in a process of its own that may have 64."""
    with private():
        connect(read_settings(data=tmp_path / "data")).dispose()
    limited = (
        "import resource, runpy\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "runpy.run_module('reelport', run_name='__main__')\n"
    )
    done = forked.run(["-c", limited, "doctor", "--data", tmp_path / "data"], loads=forked.COMMANDS)
    assert done.returncode == 1
    assert "open files: This process may have 64 open files, and serving needs 256" in done.stderr


def test_a_small_disk_is_told_in_a_unit_that_shows_what_is_free(tmp_path: Path) -> None:
    """And how much should be, and what to do."""
    with small_disk(tmp_path / "data", "40m") as data:
        (well, sentence), _ = told(read_settings(data=data), "disk")
    assert not well
    assert re.search(r"\d\d\.\d MB of 41\.9 MB are free, and 1\.0 GB should be .*Make room", sentence), sentence


def test_a_log_that_a_long_read_keeps_growing_is_told(tmp_path: Path) -> None:
    """With what to look for. Once the read is over, commits copy the log and cut it."""
    settings = read_settings(data=tmp_path / "data")
    with connected(settings) as db:
        with reading(db) as connection:
            connection.execute(text("SELECT 1 FROM chores")).all()
            with writing(db) as other:
                other.execute(text("DELETE FROM chores"))
            os.truncate(f"{settings.state_file}-wal", LONG_LOG + 1)
            assert [
                f"{settings.state_file}-wal has 256.0 MB: a read that began long ago keeps it growing" in sentence
                for well, sentence in told(settings, "database")
                if not well
            ] == [True]
        for _ in range(CHECKPOINT_COMMITS + 1):
            with writing(db) as other:
                other.execute(text("DELETE FROM chores"))
        assert measure_log(settings.state_file) <= SIZE_LIMIT
        assert all(well for well, _ in told(settings, "database"))


def test_a_database_that_cannot_be_used_is_told_once(tmp_path: Path) -> None:
    """Not by each look that would have read it."""
    settings = read_settings(data=tmp_path / "data", database_url="postgresql://nobody@127.0.0.1:1/state")
    settings.files_root.mkdir(parents=True)
    assert [found.subject for found in run_checks(settings) if "127.0.0.1" in found.sentence and not found.well] == [
        "database"
    ]


def test_memory_that_no_worker_can_work_in_is_told(tmp_path: Path) -> None:
    """The engine would begin all the same, and fail every report of any size."""
    for memory, fine in (("1MB", False), ("200MB", True)):
        found = told(read_settings(data=tmp_path, worker_memory=memory), "engine")
        assert all(each for each, _ in found) == fine, found


def test_pipes_and_sockets_of_running_processes_are_no_files_that_are_closed(tmp_path: Path) -> None:
    """Events come through pipes; a regular file with a mode that lets nobody read it is told."""
    spill = tmp_path / "spill" / "vm-1"
    spill.mkdir(parents=True)
    os.mkfifo(spill / "pipe-1", 0o200)
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(spill / "socket"))
        (spill / "socket").chmod(0o200)
        assert list_inaccessible(tmp_path) == ()
    (spill / "file").write_text("x")
    (spill / "file").chmod(0o200)
    assert list_inaccessible(tmp_path) == (spill / "file",)


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
