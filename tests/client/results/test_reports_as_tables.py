"""A report without a path is a table, by both clients, and its temporary file goes with the table."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from tests.cases import thin_out
from tests.patience import run_child

from reelport import AsyncClient, Client, ReelportError, ReportQuery, Table, UsageError
from reelport.testing import Vendor

QUERY = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 11, 1), date(2026, 11, 4))
DAYS = [date(2026, 11, number) for number in (1, 2, 3, 4)]
Step = Callable[[Client], Table]
AsyncStep = Callable[[AsyncClient], Awaitable[Table]]


def as_table(client: Client) -> Table:
    return client.reports.run(QUERY)


def as_table_of_windows(client: Client) -> Table:
    return client.with_options(windows=2).reports.run_range(QUERY)


def as_table_of_report(client: Client) -> Table:
    return client.reports.submit(QUERY).wait().download()


async def awaited(client: AsyncClient) -> Table:
    return await client.reports.run(QUERY)


async def awaited_of_windows(client: AsyncClient) -> Table:
    return await client.with_options(windows=2).reports.run_range(QUERY)


async def awaited_of_report(client: AsyncClient) -> Table:
    report = await client.reports.submit(QUERY)
    return await (await report.wait()).download()


def blocking(step: Step) -> Callable[[Vendor, Path], Table]:
    def go(vendor: Vendor, home: Path) -> Table:
        with Client(vendor.url, vendor.key, vendor.secret, ledger=home / "ledger.db") as client:
            return step(client)

    return go


def awaiting(step: AsyncStep) -> Callable[[Vendor, Path], Table]:
    def go(vendor: Vendor, home: Path) -> Table:
        async def run() -> Table:
            async with AsyncClient(vendor.url, vendor.key, vendor.secret, ledger=home / "ledger.db") as client:
                return await step(client)

        return asyncio.run(run())

    return go


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """The folder of temporary files, which holds no others."""
    folder, before = tmp_path / "temporary", tempfile.tempdir
    folder.mkdir()
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before


EACH = [
    *map(blocking, (as_table, as_table_of_windows, as_table_of_report)),
    *map(awaiting, (awaited, awaited_of_windows, awaited_of_report)),
]


@pytest.mark.parametrize("fetch", thin_out(EACH, 3))
def test_a_report_without_a_path_is_a_table(
    fetch: Callable[[Vendor, Path], Table], vendor: Vendor, tmp_path: Path, temporary: Path
) -> None:
    """Its rows can be read after the client was closed, as often as wanted; with the table its file is gone."""
    table = fetch(vendor, tmp_path)
    assert [row["day"] for row in table.rows()] == DAYS
    text = table.as_text("day")
    rows = text.tuples()
    del table
    gc.collect()
    assert next(rows)[0] == "2026-11-01"
    assert text.arrow().num_rows == 4
    del text, rows
    gc.collect()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("fetch", thin_out(EACH, 3))
def test_a_failure_leaves_no_temporary_file(
    fetch: Callable[[Vendor, Path], Table], vendor: Vendor, tmp_path: Path, temporary: Path
) -> None:
    """What was begun is gone before the error is seen."""
    vendor.csv = lambda _: b"day,clicks\n2026-11-01,1\n"
    with pytest.raises(ReelportError) as caught:
        fetch(vendor, tmp_path)
    assert "clicks" in str(caught.value)
    assert list(temporary.iterdir()) == []


def test_windows_that_are_kept_apart_need_a_folder(client: Client, vendor: Vendor) -> None:
    """They are files of their own, and nothing is asked for without a place for them."""
    with pytest.raises(UsageError, match="name the folder"):
        client.reports.run_range(QUERY, keep_windows=True)  # type: ignore[call-overload]  # what is refused
    assert not vendor.asks


def test_a_fork_does_not_take_the_file_away() -> None:
    """A process that was forked off ends without removing what its parent still reads."""
    program = (
        "import os, sys\n"
        "from reelport.client.reports import Scratch\n"
        "print('ready', flush=True)\n"
        "scratch = Scratch()\n"
        "if not os.fork(): sys.exit()\n"
        "os.wait()\n"
        "print(scratch.folder.is_dir(), scratch.folder)\n"
    )
    there, folder = run_child(program).split()
    assert there == "True"
    assert not Path(folder).exists()
