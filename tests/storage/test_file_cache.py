"""The cache of remote files: whole or absent, bounded, and never without what is being read."""

from __future__ import annotations

import mmap
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.disks import small_disk
from tests.patience import run_child

from reelport.errors import DiskFull, StorageError
from reelport.storage.file_cache import FileCache, holding
from reelport.storage.local_folder import LocalFile, LocalFolder

SIZE = 1000
PAGE = mmap.PAGESIZE
"""Bytes that a file system in memory gives at once."""
LARGE = 16 * PAGE
FETCH = """
import sys, time
from pathlib import Path
from reelport.storage.file_cache import FileCache, holding
from reelport.storage.local_folder import LocalFolder

def open_slowly(name):
    if sys.argv[3] == "half":
        class Half:
            size = 1000
            def read(self, position, count):
                if position:
                    print("half", flush=True)
                    time.sleep(600)
                return b"x" * 500
            def close(self): pass
        return Half()
    return LocalFolder(Path(sys.argv[2])).open(name)

with holding():
    FileCache(Path(sys.argv[1]), 1500).fetch(["one"], open_slowly)
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def remote(tmp_path: Path) -> LocalFolder:
    """A store of three files of a thousand bytes each."""
    store = LocalFolder(tmp_path / "remote")
    for name in ("one", "month=1/two", "three"):
        store.put(name, name[-1:].encode() * SIZE)
    return store


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    """A cache with room for one of them."""
    return FileCache(tmp_path / "cache", SIZE + SIZE // 2)


@contextmanager
def fetching(cache: FileCache, remote: LocalFolder, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that fetches the file `one`, and has said how far it is."""
    words = [sys.executable, "-c", FETCH, str(cache.root), str(remote.root), how]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == how
            yield process
        finally:
            process.kill()


def kept(cache: FileCache) -> list[str]:
    """The names of the files that the cache has."""
    files = cache.root / "files"
    return sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())


def test_a_file_is_fetched_once(cache: FileCache, remote: LocalFolder) -> None:
    """And read at its path from then on."""
    opened: list[str] = []

    def open_file(name: str) -> LocalFile:
        opened.append(name)
        return remote.open(name)

    for _ in range(2):
        with holding():
            (path,) = cache.fetch(["month=1/two"], open_file)
            assert path.read_bytes() == b"o" * SIZE
    assert opened == ["month=1/two"]


def test_what_is_read_stays_and_the_rest_goes(cache: FileCache, remote: LocalFolder) -> None:
    """The least recently used first, until it fits; however much is read at once is there."""
    with holding():
        paths = cache.fetch(["one", "month=1/two", "three"], remote.open)
        assert all(path.stat().st_size == SIZE for path in paths)
    with holding():
        cache.fetch(["three"], remote.open)
    with holding():
        cache.delete_surplus()
    assert kept(cache) == ["three"]


def test_what_another_process_reads_stays_until_it_dies(cache: FileCache, remote: LocalFolder) -> None:
    """However it dies."""
    with fetching(cache, remote, "held") as process:
        with holding():
            cache.fetch(["three"], remote.open)
        cache.delete_surplus()
        assert kept(cache) == ["one"]
        process.kill()
        process.wait()
        with holding():
            cache.fetch(["three"], remote.open)
        assert kept(cache) == ["three"]


def test_a_killed_fetch_leaves_no_half_file(cache: FileCache, remote: LocalFolder) -> None:
    """The next one begins anew, over what it left."""
    with fetching(cache, remote, "half") as process:
        process.kill()
        process.wait()
    assert kept(cache) == []
    (path,) = cache.fetch(["one"], remote.open)
    assert path.read_bytes() == b"e" * SIZE
    assert list((cache.root / "parts").iterdir()) == []


def test_a_file_that_many_want_at_once_is_fetched_once(cache: FileCache, remote: LocalFolder) -> None:
    """The others wait for it."""
    opened: list[str] = []

    def open_file(name: str) -> LocalFile:
        opened.append(name)
        return remote.open(name)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.fetch(["one"], open_file)[0].read_bytes(), range(16)))
    assert (set(found), opened) == ({b"e" * SIZE}, ["one"])


def test_a_fetch_that_fails_leaves_nothing(cache: FileCache, remote: LocalFolder) -> None:
    """A missing file is told as one."""
    with holding(), pytest.raises(FileNotFoundError):
        cache.fetch(["none"], remote.open)
    assert kept(cache) == []
    with pytest.raises(StorageError, match="is no name of a file"):
        cache.fetch(["../one"], remote.open)


def test_lists_of_dead_processes_go(cache: FileCache, remote: LocalFolder) -> None:
    """A list goes with its block, or with the next surplus after its process was killed."""
    with fetching(cache, remote, "held") as process:
        process.kill()
        process.wait()
    with holding():
        cache.fetch(["one", "three"], remote.open)
    cache.delete_surplus()
    assert list((cache.root / "holds").iterdir()) == []


def test_a_full_disk_takes_what_nobody_reads(cache: FileCache, remote: LocalFolder) -> None:
    """A disk may be smaller than the setting: the cache itself would keep each report waiting for room."""
    for name in ("a", "b"):
        remote.put(name, name.encode() * LARGE)
    with small_disk(cache.root, str(25 * PAGE)):
        large = replace(cache, most_bytes=100 * LARGE)
        with holding():
            large.fetch(["a"], remote.open)
            with pytest.raises(DiskFull):  # what is read stays
                large.fetch(["b"], remote.open)
            assert kept(large) == ["a"]
        with holding():
            large.fetch(["b"], remote.open)
        assert kept(large) == ["b"]


def test_a_cache_on_another_disk_fetches_what_was_written_here(cache: FileCache, remote: LocalFolder) -> None:
    """A file can't be renamed to there: the copy goes, and the file is fetched when it is asked for."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        cache.root.symlink_to(other)
        written = remote.root / "draft"
        if written.parent.stat().st_dev == Path(other).stat().st_dev:
            pytest.skip("needs two disks")
        written.write_bytes(b"e" * SIZE)
        with holding():
            cache.adopt(written, "one")
            assert not written.exists()
            assert cache.fetch(["one"], remote.open)[0].read_bytes() == b"e" * SIZE


def test_a_list_is_written_whole_or_not_at_all(cache: FileCache, remote: LocalFolder) -> None:
    """Where the system takes a part of it: else a file that is being read would go under a half name."""
    *names, last = (f"{number:0203}" for number in range(PAGE // 204 + 1))
    for name in (*names, last):
        remote.put(name, b"x")
    with small_disk(cache.root, str((len(names) + 10) * PAGE)), holding():
        cache.fetch(names, remote.open)
        (held,) = (cache.root / "holds").iterdir()
        assert PAGE - len(last) < held.stat().st_size < PAGE  # the next line ends on another page
        fill(cache.root / "filler")
        with pytest.raises(DiskFull):
            cache.fetch([last], remote.open)
        (cache.root / "filler").unlink()
        cache.fetch(["one"], remote.open)
        assert held.read_text().splitlines() == [*names, "one"]
        cache.delete_surplus()
        assert kept(cache) == [*names, "one"]


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(PAGE))


_LATE = """
import sys
from pathlib import Path
from reelport.storage.file_cache import FileCache

(dead,) = (Path(sys.argv[1]) / "parts").iterdir()

def begin_another_fetch(event, words):
    # The dead part is open by now, and not locked yet.
    if event == "fcntl.flock" and dead.exists() and dead.read_bytes() != b"of another fetch":
        if Path(f"/proc/self/fd/{words[0]}").resolve() == dead.resolve():
            dead.unlink()
            dead.write_bytes(b"of another fetch")

sys.addaudithook(begin_another_fetch)
print("ready", flush=True)
FileCache(Path(sys.argv[1]), 1500).delete_surplus()
"""


def test_what_a_dead_fetch_left_is_not_taken_for_a_living_one(cache: FileCache, remote: LocalFolder) -> None:
    """A fetch begins under the same name between the look at a dead part and its end: its part stays."""
    with fetching(cache, remote, "half") as process:
        process.kill()
        process.wait()
    (dead,) = (cache.root / "parts").iterdir()
    run_child(_LATE, str(cache.root))
    assert dead.read_bytes() == b"of another fetch"


def test_a_part_that_another_process_fetches_stays(cache: FileCache, remote: LocalFolder) -> None:
    """It holds the part's lock for as long."""
    with fetching(cache, remote, "half"):
        cache.delete_surplus()
        assert [path.stat().st_size for path in (cache.root / "parts").iterdir()] == [SIZE // 2]


def test_a_copy_that_rotted_is_fetched_again(cache: FileCache, remote: LocalFolder) -> None:
    """By the first fetch of a process that hasn't proven it, within the bytes that it may compare."""
    proven, unproven = replace(cache, check_bytes=SIZE), replace(cache, check_bytes=SIZE - 1)
    with holding() as fetched:
        (path,) = proven.fetch(["one"], remote.open)
        with path.open("r+b") as file:
            file.write(b"?")
        assert unproven.fetch(["one"], remote.open)[0].read_bytes() == b"?" + b"e" * (SIZE - 1)
        assert proven.fetch(["one"], remote.open)[0].read_bytes() == b"e" * SIZE
    assert fetched.bytes == 2 * SIZE


def test_a_copy_without_a_whole_digest_is_read_as_it_is(cache: FileCache, remote: LocalFolder) -> None:
    """As those whose digest a machine that failed left half: it is fetched once."""
    proven = replace(cache, check_bytes=SIZE)
    with holding() as fetched:
        proven.fetch(["one"], remote.open)
        (digest,) = (path for path in (cache.root / "digests").rglob("*") if path.is_file())
        digest.write_text("0" * 63)
        assert proven.fetch(["one"], remote.open)[0].read_bytes() == b"e" * SIZE
    assert fetched.bytes == SIZE


def test_digests_go_with_their_files(cache: FileCache, remote: LocalFolder) -> None:
    """By what makes room, and by what forgets a file; what was put here and kept has one too."""
    proven = replace(cache, check_bytes=SIZE)
    written = remote.root / "draft"
    written.write_bytes(b"e" * SIZE)
    with holding():
        proven.adopt(written, "one")
    digests = {path.name for path in (cache.root / "digests").rglob("*") if path.is_file()}
    assert digests == {"one"}
    with holding():
        proven.fetch(["three", "month=1/two"], remote.open)
    proven.delete_surplus()
    proven.forget(*kept(cache))
    assert [path for path in (cache.root / "digests").rglob("*") if path.is_file()] == []


def test_a_file_that_a_cache_on_another_disk_cannot_take_leaves_no_digest(
    cache: FileCache, remote: LocalFolder, tmp_path: Path
) -> None:
    """It would stay for ever where nobody reads the file; whoever does takes a digest of what was fetched."""
    written = remote.root / "draft"
    written.write_bytes(b"e" * SIZE)
    with small_disk(tmp_path / "disk", "1m") as disk, holding():
        proven = replace(cache, root=disk / "cache", check_bytes=SIZE)
        proven.adopt(written, "one")
        assert not written.exists()
        assert [path for path in disk.rglob("*") if path.is_file() and "digests" in path.parts] == []
        proven.fetch(["one"], remote.open)
        assert len([path for path in disk.rglob("*") if path.is_file() and "digests" in path.parts]) == 1
