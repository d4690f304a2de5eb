"""The contract of a file store, which every implementation keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out
from tests.patience import until
from tests.storage.stores import STORES

from reelport import killpoints
from reelport.errors import StorageError
from reelport.storage.file_store import FileStore, read_file

LONG = 1 << 20
OUTSIDE = ("", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a/", "a\0b")
PUTS = """
import itertools, sys
from pathlib import Path
from tests.storage.stores import STORES

store = STORES[sys.argv[1]](Path(sys.argv[2]))
for turn in itertools.count():
    store.put("log/one", (b"a", b"b")[turn % 2] * 1048576)
"""
DRAFTS = """
import sys
from pathlib import Path
from tests.storage.stores import STORES

store = STORES[sys.argv[1]](Path(sys.argv[2]))
draft = store.prepare_draft("one.part")
draft.write_bytes(b"x" * 1048576)
store.put_draft(draft, "one.csv")
"""


@pytest.fixture(params=STORES)
def kind(object_server: str, request: pytest.FixtureRequest) -> str:
    """The name of an implementation; an object store is served."""
    assert object_server
    name: str = request.param
    return name


@pytest.fixture
def store(kind: str, tmp_path: Path) -> FileStore:
    """A store that holds nothing yet."""
    return STORES[kind](tmp_path)


@contextmanager
def running(script: str, kind: str, place: Path, **environment: str) -> Iterator[forked.Popen]:
    """A process of its own that uses the store in this place, and is killed at the end."""
    words = ["-c", script, kind, str(place)]
    named = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    around = Path(__file__).parents[2]
    with forked.Popen(words, cwd=around, env=named | environment, loads=forked.COMMANDS) as process:
        try:
            yield process
        finally:
            process.kill()


def names(store: FileStore) -> list[str]:
    """The names of all files."""
    return sorted(store.list_names())


def test_a_file_that_was_put_is_listed_found_and_read(store: FileStore) -> None:
    """Under its name, with its size and the time of its writing."""
    before = datetime.now(UTC) - timedelta(seconds=5)
    store.put("a/b/one.txt", b"words")
    (listed,) = store.list()
    assert listed == store.find("a/b/one.txt")
    assert (listed.name, listed.size) == ("a/b/one.txt", 5)
    assert before < listed.modified_at < datetime.now(UTC) + timedelta(seconds=5)
    assert read_file(store, "a/b/one.txt") == b"words"


def test_a_store_that_nothing_was_put_into_is_empty(store: FileStore) -> None:
    """Nothing need be made before it is asked."""
    assert names(store) == []
    assert list(store.list("log")) == []
    assert store.find("one") is None


def test_only_files_below_a_folder_are_listed_under_it(store: FileStore) -> None:
    """A name that merely begins like the folder is not below it."""
    for name in ("log/1", "log/deep/2", "logs/3", "4"):
        store.put(name, b"")
    assert sorted(store.list_names("log")) == ["log/1", "log/deep/2"]
    assert names(store) == ["4", "log/1", "log/deep/2", "logs/3"]


def test_only_names_behind_another_are_listed_after_it(store: FileStore) -> None:
    """In the order of their bytes, whether there is a file of that name or not."""
    for name in ("log/1", "log/2", "log/_", "log/é", "month/0"):
        store.put(name, b"")
    assert sorted(store.list_names("log", after="log/1")) == ["log/2", "log/_", "log/é"]
    assert sorted(store.list_names("log", after="log/3")) == ["log/_", "log/é"]
    assert list(store.list_names("log", after="log/ê")) == []
    assert sorted(store.list_names(after="log/_")) == ["log/é", "month/0"]


def test_a_folder_is_no_file(store: FileStore) -> None:
    """It is neither found nor read."""
    store.put("log/1", b"x")
    assert store.find("log") is None
    assert store.find("log/1/2") is None


def test_a_file_that_is_put_again_has_another_tag(store: FileStore) -> None:
    """So that whoever remembers a file's content knows when it is another."""
    store.put("one", b"first")
    first = store.find("one")
    store.put("one", b"other")
    found = store.find("one")
    assert first is not None
    assert found is not None
    assert (first.tag != found.tag, read_file(store, "one")) == (True, b"other")


def test_a_new_file_never_replaces_an_earlier_one(store: FileStore) -> None:
    """The later writer is told, and the earlier content stays."""
    store.put("log/1", b"first", is_new=True)
    with pytest.raises(FileExistsError):
        store.put("log/1", b"other", is_new=True)
    assert (read_file(store, "log/1"), names(store)) == (b"first", ["log/1"])


def test_of_writers_at_the_same_time_one_wins(kind: str, tmp_path: Path) -> None:
    """Each of them has the store open; the file is the winner's."""

    def write(number: int) -> int | None:
        with suppress(FileExistsError):
            STORES[kind](tmp_path).put("log/1", str(number).encode() * 1000, is_new=True)
            return number
        return None

    with ThreadPoolExecutor(8) as pool:
        (winner,) = [won for won in pool.map(write, range(8)) if won is not None]
    assert read_file(STORES[kind](tmp_path), "log/1") == str(winner).encode() * 1000


def test_a_killed_writer_leaves_a_whole_file(kind: str, store: FileStore, tmp_path: Path) -> None:
    """At whatever instant it dies, the file is as one of its writes made it."""
    for _ in range(10):
        store.delete("log/one")
        with running(PUTS, kind, tmp_path):
            assert until(lambda: store.find("log/one") is not None)
        assert read_file(store, "log/one") in (b"a" * LONG, b"b" * LONG)


@pytest.mark.parametrize(
    ("step", "left"), thin_out([("fsync", ["one.part"]), ("rename", ["one.csv"]), ("none", ["one.csv"])], 3)
)
def test_a_draft_becomes_a_file_whole_or_not_at_all(
    kind: str, store: FileStore, tmp_path: Path, step: str, left: list[str]
) -> None:
    """Killed before, its draft stays listed for a sweep; killed after, the file is complete and the draft is gone."""
    with running(DRAFTS, kind, tmp_path, **{killpoints.VARIABLE: step}) as process:
        assert (process.wait() != 0) == (step != "none")
    assert names(store) == left
    assert read_file(store, left[0]) == b"x" * LONG


def test_any_range_is_read(store: FileStore) -> None:
    """What lies beyond the end is left out; what is had without waiting is the same."""
    store.put("one", b"0123456789")
    with closing(store.open("one")) as file:
        assert (file.size, file.read(2, 3), file.read(8, 5), file.read(10, 5)) == (10, b"234", b"89", b"")
        assert file.read_cached(2, 3) in (b"234", None)


def test_an_open_file_stays_readable(store: FileStore) -> None:
    """Whether it is deleted or put again meanwhile."""
    changes: list[Callable[[], None]] = [lambda: store.put("one", b"other"), lambda: store.delete("one")]
    for change in changes:
        store.put("one", b"first")
        with closing(store.open("one")) as file:
            change()
            assert file.read(0, file.size) == b"first"


def test_a_missing_file_is_told_apart_from_a_store_that_fails(store: FileStore) -> None:
    """Only the first is a FileNotFoundError."""
    store.put("another", b"")
    with pytest.raises(FileNotFoundError):
        store.open("one")


def test_deleting_twice_is_deleting_once(store: FileStore) -> None:
    """Nor need the file ever have been there; a draft is deleted by the same."""
    store.put("one", b"x")
    store.prepare_draft("two.part").write_bytes(b"x")
    for name in ("one", "one", "two.part", "never", "no/where"):
        store.delete(name)
    assert names(store) == []


@pytest.mark.parametrize("name", thin_out(OUTSIDE, 2))
def test_no_name_leads_out_of_the_store(store: FileStore, name: str) -> None:
    """Whatever is done with it."""
    draft = store.prepare_draft("draft.part")
    draft.write_bytes(b"x")
    uses: list[Callable[[], object]] = [
        lambda: store.find(name),
        lambda: store.open(name),
        lambda: store.put(name, b"x"),
        lambda: store.prepare_draft(name),
        lambda: store.put_draft(draft, name),
        lambda: store.sync(name),
        lambda: store.delete(name),
        lambda: store.local_paths(["draft.part", name]),
    ]
    if name:  # without a folder the whole store is listed
        uses.append(lambda: list(store.list_names(name)))
    for use in uses:
        with pytest.raises(StorageError, match="is no name of a file"):
            use()
    assert names(store) == ["draft.part"]


def test_libraries_read_the_files_at_local_paths(store: FileStore) -> None:
    """In the order of the names."""
    store.put("a/one", b"1")
    store.put("two", b"2")
    assert [path.read_bytes() for path in store.local_paths(["two", "a/one"])] == [b"2", b"1"]


def test_a_link_is_signed_by_the_store_or_not_at_all(store: FileStore) -> None:
    """None means that the service serves the file by a link of its own."""
    store.put("one", b"x")
    link = store.sign("one", datetime.now(UTC) + timedelta(minutes=1))
    assert link is None or link.startswith(("https://", "http://127.0.0.1:"))
