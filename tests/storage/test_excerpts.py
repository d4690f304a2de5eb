"""Excerpts of files in an object store: few of their bytes are fetched, and all of them of one file."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.patience import PATIENCE, child
from tests.storage.object_server import Fault, FaultyProxy
from tests.storage.stores import open_bucket

from reelport.errors import StorageError
from reelport.storage.excerpts import Excerpt, ExcerptRule, FetchPlan, Range
from reelport.storage.file_cache import FileCache, holding
from reelport.storage.object_store import ObjectStore

CONTENT = os.urandom(6_000_000)
DESCRIPTION = 300_000
"""More than what is fetched of an end at first."""
RULE = ExcerptRule(1_000_000, 0.5)


@dataclass(frozen=True)
class Slices:
    """Cuts these ranges, between two words."""

    ranges: tuple[Range, ...] = (Range(1_000_000, 1_500_000),)
    key: str = "first"

    def measure_end(self, end: bytes) -> int:
        """Check what was read, and ask for more."""
        assert end == CONTENT[-len(end) :]
        return DESCRIPTION

    def cut(self, size: int, description: bytes) -> Excerpt | None:
        """Cut the ranges."""
        assert (size, description) == (len(CONTENT), CONTENT[-DESCRIPTION:])
        return Excerpt(self.key, b"head", self.ranges, b"tail")

    @property
    def expected(self) -> bytes:
        """The excerpt's bytes."""
        return b"head" + b"".join(CONTENT[low:high] for low, high in self.ranges) + b"tail"


def open_store(place: Path, *, size: int = 100_000_000) -> ObjectStore:
    """Open a bucket that has the file, with an empty cache of this size."""
    store = replace(open_bucket(place), excerpts=RULE, cache=FileCache(place / "cache", size))
    store.put("one", CONTENT)
    return store


def fetch(store: ObjectStore, cutter: Slices) -> bytes:
    """Fetch what is wanted of the file; gives what a reader reads."""
    (path,) = store.local_excerpts({"one": len(CONTENT)}, cutter)
    return path.read_bytes()


def count_gets(server: FaultyProxy) -> int:
    """Count the requests for the file, and forget them."""
    count = sum(method == "GET" and path.endswith("/one") for method, path, _ in server.seen)
    server.seen.clear()
    return count


def test_an_excerpt_is_fetched_once_and_the_end_of_its_file_once(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Another excerpt of the same file needs no end again; both stay in the cache."""
    store = open_store(tmp_path)
    other = Slices((Range(0, 100_000), Range(2_000_000, 2_000_001)), "second")
    assert fetch(store, Slices()) == Slices().expected
    assert count_gets(faulty_server) == 3  # two for the end, which is long
    assert fetch(store, Slices()) == Slices().expected
    assert count_gets(faulty_server) == 0
    assert fetch(store, other) == other.expected
    assert count_gets(faulty_server) == 2
    assert not store.cache.has("one")


def test_a_file_is_fetched_whole_where_that_is_cheaper(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A small one, one of which more than the share is wanted, and one whose excerpts have come to that together."""
    store = open_store(tmp_path)
    assert fetch(replace(store, excerpts=ExcerptRule(7_000_000, 1)), Slices()) == CONTENT
    assert count_gets(faulty_server) == 1
    store.cache.forget("one")
    assert fetch(replace(store, excerpts=ExcerptRule(1_000_000, 0)), Slices()) == CONTENT
    assert count_gets(faulty_server) == 1, "nobody looks at its end"
    store.cache.forget("one")
    assert fetch(store, Slices((Range(0, 3_000_000),))) == CONTENT
    assert count_gets(faulty_server) == 3
    store.cache.forget("one")
    assert fetch(store, Slices()) == Slices().expected
    assert fetch(store, Slices((Range(0, 1_500_000),), "second")) == CONTENT
    assert fetch(store, Slices()) == CONTENT, "what is there is read"


def test_a_plan_says_what_would_be_fetched(object_server: str, tmp_path: Path) -> None:
    """By parts or whole, and nothing of what is there; it fetches ends alone."""
    assert object_server
    store, sizes = open_store(tmp_path), {"one": len(CONTENT)}
    assert store.plan_fetch(sizes, Slices()) == FetchPlan(1, len(CONTENT), 1, 1, len(Slices().expected))
    assert store.plan_fetch(sizes, None) == FetchPlan(1, len(CONTENT), 1, 0, len(CONTENT))
    assert {path.name for path in (tmp_path / "cache" / "files").iterdir()} == {"one.end"}
    fetch(store, Slices())
    assert store.plan_fetch(sizes, Slices()) == FetchPlan(1, len(CONTENT), 0, 0, 0)


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.HALF])
def test_an_excerpt_is_fetched_despite_faults(faulty_server: FaultyProxy, tmp_path: Path, fault: Fault) -> None:
    """A broken transfer goes on at its byte."""
    store = open_store(tmp_path)
    faulty_server.fail(fault, times=4, method="GET", part="/one")
    cutter = Slices((Range(0, 300_000), Range(5_000_000, 5_100_000)))
    assert fetch(store, cutter) == cutter.expected
    assert faulty_server.count(fault) == 4


def test_a_fetch_that_fails_leaves_nothing_that_counts_as_whole(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """A store that goes away in the middle fails it; the next one fetches it."""
    store = replace(open_store(tmp_path), retry_seconds=0.2)
    (tmp_path / "cache" / "files").mkdir(parents=True)
    met = []

    def choose(method: str, path: str) -> Fault | None:
        if method != "GET" or not path.endswith("/one"):
            return None
        met.append(path)
        return Fault.HALF if len(met) == 3 else Fault.RESET if len(met) > 3 else None

    faulty_server.choose = choose
    with pytest.raises(StorageError):
        fetch(store, Slices())
    assert {path.name for path in (tmp_path / "cache" / "files").iterdir()} == {"one.end"}
    assert list((tmp_path / "cache" / "parts").iterdir()) == []
    faulty_server.choose = lambda _method, _path: None
    assert fetch(store, Slices()) == Slices().expected


_FETCH = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.storage.stores import open_bucket
from tests.storage.test_excerpts import DESCRIPTION, RULE
from reelport.storage.excerpts import Excerpt, Range
from reelport.storage.file_cache import FileCache

class Halves:
    def measure_end(self, end):
        return DESCRIPTION

    def cut(self, size, description):
        return Excerpt("first", b"head", (Range(0, 100_000), Range(2_000_000, 2_100_000)), b"tail")

place = Path(sys.argv[1])
store = replace(open_bucket(place), excerpts=RULE, cache=FileCache(place / "cache", 10**8))
print("ready", flush=True)
store.local_excerpts({"one": 6_000_000}, Halves())
"""


def test_a_killed_fetch_leaves_no_half_excerpt(faulty_server: FaultyProxy, tmp_path: Path) -> None:
    """Killed between its two ranges: nothing has the excerpt's name, and the next fetch writes over what is left."""
    store = open_store(tmp_path)
    met, reached, go_on = [], threading.Event(), threading.Event()

    def choose(method: str, path: str) -> None:
        if method == "GET" and path.endswith("/one"):
            met.append(path)
            if len(met) == 4:  # two for the end, which is long, and one for the first range
                reached.set()
                go_on.wait(PATIENCE)

    faulty_server.choose = choose
    with child(_FETCH, str(tmp_path)) as process:
        assert reached.wait(PATIENCE)
        process.kill()
        process.wait()
    go_on.set()
    faulty_server.choose = lambda _method, _path: None
    assert {path.name for path in (tmp_path / "cache" / "files").iterdir()} == {"one.end"}
    assert len(list((tmp_path / "cache" / "parts").iterdir())) == 1
    halves = Slices((Range(0, 100_000), Range(2_000_000, 2_100_000)))
    assert fetch(store, halves) == halves.expected
    assert list((tmp_path / "cache" / "parts").iterdir()) == []


def test_no_excerpt_has_bytes_of_two_files(object_server: str, tmp_path: Path) -> None:
    """A file that was put again since its end was read is fetched whole, as it is now; a deleted one is gone."""
    assert object_server
    store, later = open_store(tmp_path), os.urandom(len(CONTENT))
    fetch(store, Slices())
    store.put("one", later)
    assert fetch(store, Slices((Range(0, 1000),), "second")) == later
    store.delete("one")
    assert [path for path in (tmp_path / "cache" / "files").rglob("*") if path.is_file()] == []
    with pytest.raises(StorageError, match="/one is gone"):
        fetch(store, Slices())


def test_a_file_that_was_put_again_takes_nothing_from_other_readers(object_server: str, tmp_path: Path) -> None:
    """Another report goes on over what it holds of it, and of files that haven't changed; then it is forgotten."""
    assert object_server
    store, later, sizes = open_store(tmp_path), os.urandom(len(CONTENT)), dict.fromkeys(("one", "two"), len(CONTENT))
    store.put("two", CONTENT)
    second = Slices((Range(0, 1000),), "second")
    with holding():
        held = store.local_excerpts(sizes, Slices())
        store.put("one", later)
        with holding():
            found = store.local_excerpts(sizes, second)
            assert [path.read_bytes() for path in found] == [later, second.expected]
        assert [path.read_bytes() for path in held] == [Slices().expected] * 2


def test_excerpts_are_evicted_as_files_are_and_never_while_they_are_read(object_server: str, tmp_path: Path) -> None:
    """The cache holds no more than it may, but for what is held."""
    assert object_server
    store = open_store(tmp_path, size=400_000)
    store.put("two", b"x" * 350_000)
    with holding():
        (path,) = store.local_excerpts({"one": len(CONTENT)}, Slices())
        store.local_paths(["two"])
        assert path.read_bytes() == Slices().expected
    store.cache.delete_surplus()
    assert not path.exists()
    assert fetch(store, Slices()) == Slices().expected
