"""Targets of downloads: names that can't be, links, permissions, full disks, and several downloads to one name."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import threading
from pathlib import Path

import pytest
from tests.client.conftest import REPORT, SECRET, Server, answer, fetch
from tests.client.downloads import CSV, WHOLE, left_in, serve

from reelport import AsyncClient, Client, ReportQuery
from reelport.client.events import Event
from reelport.client.files.download_target import can_be_named_on_windows
from reelport.errors import StorageError, UsageError


def test_a_device_is_no_target(server: Server, query: ReportQuery) -> None:
    """A download never takes the place of a device."""
    with pytest.raises(UsageError, match="no regular file"):
        fetch(server, Path("/dev/null"), query)
    assert server.requests == []


@pytest.mark.parametrize(
    "name", [".", "absent/views.csv", "nul\0.csv", "circle/views.csv", "views.PQ", "views.parquet"]
)
def test_a_target_that_cannot_be_is_refused_before_anything_is_sent(
    server: Server, tmp_path: Path, query: ReportQuery, name: str
) -> None:
    """Nobody waits two hours to learn that a folder is missing, that a name is none, or promises no CSV."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with Client(server.url, "key-1", SECRET) as client:
        reports = client.reports
        for get in (reports.run, reports.run_range, lambda _, to: reports.attach("R").download(to)):
            with pytest.raises(UsageError):
                get(query, tmp_path / name)
    assert server.requests == []


def test_a_name_that_leaves_no_room_for_a_part_is_refused_at_once(
    server: Server, tmp_path: Path, query: ReportQuery
) -> None:
    """Nobody waits two hours to learn that a name is too long."""
    with Client(server.url, "key-1", SECRET) as client, pytest.raises(UsageError, match="too long"):
        client.reports.run(query, tmp_path / ("é" * 125))
    assert server.requests == []


def test_a_link_to_the_target_is_followed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A symbolic link stays one, and what it points to is replaced."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "views.csv").symlink_to(real / "latest.csv")
    serve(server, answer(CSV))
    fetch(server, tmp_path / "views.csv", query)
    assert (tmp_path / "views.csv").is_symlink()
    assert left_in(real) == ["latest.csv", "latest.csv.json"]


def test_a_link_to_a_file_that_is_not_there_yet_is_followed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """The file that the link names is made; the link stays."""
    (tmp_path / "views.csv").symlink_to(tmp_path / "later.csv")
    serve(server, answer(CSV))
    fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == ["later.csv", "later.csv.json", "views.csv"]


def test_a_file_has_the_permissions_of_any_new_file(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A report is as readable as the user's umask says."""
    serve(server, answer(CSV))
    mask = os.umask(0o022)
    try:
        path = fetch(server, tmp_path / "views.csv", query).path
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_only_its_owner_could_read_stays_so(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A file that is replaced keeps its permissions, and its part has them from the first byte on."""
    target = tmp_path / "views.csv"
    target.touch(0o600)
    serve(server, answer(CSV))
    modes: set[int] = set()

    def look(_: Event) -> None:
        modes.update(path.stat().st_mode & 0o777 for path in tmp_path.glob("*.part"))

    fetch(server, target, query, look)
    assert modes | {target.stat().st_mode & 0o777} == {0o600}


def test_a_write_that_fails_is_a_storage_error(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A folder that vanishes in mid-download is told in a sentence."""
    serve(server, answer(CSV))
    folder = tmp_path / "here"
    folder.mkdir()

    def vanish(_: Event) -> None:
        folder.rename(tmp_path / "gone") if folder.exists() else None

    with pytest.raises(StorageError, match="can't be written or read"):
        fetch(server, folder / "views.csv", query, vanish)


def test_a_disk_that_takes_no_more_says_so(server: Server, query: ReportQuery, tmp_path: Path) -> None:
    """A write that fails is a StorageError with the system's reason, and the half file is gone."""
    serve(server, answer("day,video_title,views\n" + "2026-11-01,Plain,12\n" * 400_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            fetch(server, tmp_path / "views.csv", query)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """What the announced length shows beforehand is said before the disk is full."""
    serve(server, answer(CSV, content_length=str(1 << 60)))
    with pytest.raises(StorageError, match="room for"):
        fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == []
    assert server.paths().count("/file") == 1


def test_a_cancelled_download_leaves_nothing(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """Cancelling the task in the middle of a body closes the connection and takes the part away."""
    serve(server, answer(CSV[:30], content_length="5000"), answer(CSV[:30], content_length="5000"))

    async def go() -> None:
        seen = asyncio.Event()
        async with AsyncClient(server.url, "key-1", SECRET) as client:
            report = client.reports.attach(REPORT, query)
            task = asyncio.create_task(report.download(tmp_path / "views.csv", progress=lambda _: seen.set()))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(go())
    assert left_in(tmp_path) == []


def test_what_has_the_parts_name_and_is_none_is_left_alone(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A folder in the place of the part, or a file of somebody else's: the part gets another name."""
    serve(server, answer(CSV))
    taken = f"views.csv.{hashlib.sha256(REPORT.encode()).hexdigest()[:8]}.part"
    (tmp_path / taken).mkdir()
    fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == sorted([*WHOLE, taken])


def test_two_downloads_to_one_name_both_succeed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """Two processes at the same moment don't write into each other's part."""
    serve(server, answer(CSV))
    threads = [threading.Thread(target=fetch, args=(server, tmp_path / "views.csv", query)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert (tmp_path / "views.csv").read_text(encoding="utf-8") == CSV
    assert left_in(tmp_path) == WHOLE


def test_two_reports_to_one_name_leave_one_of_them_whole(server: Server, tmp_path: Path) -> None:
    """Whichever comes last has the name, and what stands beside it is its own."""
    serve(server, *[answer(f"day,video_title,views\n2026-11-01,{number},1\n") for number in range(40)])

    def fetch_some() -> None:
        for _ in range(10):
            with Client(server.url, "key-1", SECRET) as client:
                client.reports.attach(f"{threading.get_ident()}").download(tmp_path / "views.csv")

    threads = [threading.Thread(target=fetch_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert left_in(tmp_path) == WHOLE
    says = json.loads((tmp_path / "views.csv.json").read_text())
    assert says["sha256"] == hashlib.sha256((tmp_path / "views.csv").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "name", ["views.csv", "con-views.csv", "console.csv", "a b.csv", "Ünicode.csv", "com10.csv", ".csv"]
)
def test_names_that_windows_has(name: str) -> None:
    """What only looks like a device is a name."""
    assert can_be_named_on_windows(name)


@pytest.mark.parametrize(
    "name",
    [
        "CON",
        "con.csv",
        "nul .csv",
        "COM1.csv",
        "lpt9",
        "views:hidden.csv",
        "a?.csv",
        "a<b",
        "a|b",
        "views.",
        "views ",
        "a\tb",
    ],
)
def test_names_that_windows_has_not(name: str) -> None:
    """Devices, streams of other files, and letters that no name has there."""
    assert not can_be_named_on_windows(name)
