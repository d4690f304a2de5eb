"""Which bytes of a file are in memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reelport.storage.page_cache import CachedPages

PAGE = mmap.PAGESIZE
SIZE = 64 * PAGE + 100
Open = Callable[[], CachedPages]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """The descriptor of a file that was just written, and is on the disk."""
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    descriptor = os.open(path, os.O_RDWR)
    os.fsync(descriptor)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def pages(file: int) -> Iterator[CachedPages]:
    found = CachedPages(file, SIZE)
    yield found
    found.close()


def test_a_file_that_was_just_written_is_in_memory(pages: CachedPages) -> None:
    """To its end and not beyond, from any byte on."""
    assert pages.count(0, SIZE) == pages.count(0, 10 * SIZE) == SIZE
    assert (pages.count(3, 5), pages.count(PAGE - 1, 2), pages.count(SIZE - 1, 99)) == (5, 2, 1)
    assert (pages.count(SIZE, 1), pages.count(0, 0)) == (0, 0)


def test_bytes_are_counted_up_to_the_first_page_that_is_missing(file: int, pages: CachedPages) -> None:
    """The system is told to drop the second half, and to read nothing ahead."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    if pages.count(0, PAGE):
        pytest.skip("the system keeps the file in memory")
    os.pread(file, 3 * PAGE, 0)
    found = pages.count(100, SIZE)
    assert 3 * PAGE - 100 <= found < SIZE - 100
    assert (found + 100) % PAGE == 0


def test_what_was_cut_off_is_not_in_memory(file: int, pages: CachedPages) -> None:
    """And asking for it is no fault."""
    os.truncate(file, PAGE)
    assert pages.count(0, SIZE) == PAGE
    assert pages.count(8 * PAGE, PAGE) == 0


def test_of_a_file_of_somebody_else_nothing_is_known(file: int) -> None:
    """The system would call all of it cached."""
    if os.geteuid() != 0:
        pytest.skip("only root gives a file away")
    os.chown(file, 12345, -1)
    pages = CachedPages(file, SIZE)
    assert pages.count(0, SIZE) == 0
    pages.close()


def test_a_file_without_bytes_and_one_that_was_closed_have_none_in_memory(file: int, pages: CachedPages) -> None:
    """Closing twice is closing once."""
    pages.close()
    pages.close()
    assert pages.count(0, SIZE) == 0
    empty = CachedPages(file, 0)
    assert empty.count(0, 1) == 0
    empty.close()
