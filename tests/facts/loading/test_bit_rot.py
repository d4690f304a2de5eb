"""A file that rots on its disk is found, whichever bit of it: Parquet's readers give other numbers without an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pytest
from tests.fact_rows import make_shown_plays
from tests.facts.conftest import remote_tables
from tests.object_rows import merge_rows
from tests.rotten_files import flip_bit, rotten, set_digest

from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupList
from reelport.engine.rollups.columns import make_rollup
from reelport.errors import StorageError
from reelport.facts.loading.compaction import compact, copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.loading.verification import verify
from reelport.facts.log.delta_log import DIGESTS
from reelport.facts.log.log_files import attach_tables, list_commits, open_store
from reelport.facts.log.object_reader import read_rows
from reelport.facts.log.role_copies import LEAST_ROWS, find_original
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import add_rollup, check_rollups, list_rollups, list_segments
from reelport.facts.tables import CHANNELS
from reelport.storage.file_cache import FileCache

pytestmark = pytest.mark.long

FLIPS = 8
"""Bits of each file that are flipped, one after the other: its digest is of all its bytes."""
TODAY = date(2026, 6, 1)
ROLLUP = make_rollup("plays", ["visitor_country"])


def rows(day: str) -> pa.Table:
    """As many plays of one day as a file has that is copied by role."""
    return make_shown_plays(f"{day}T05:00:00", range(LEAST_ROWS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of plays in a file each, with copies by publisher, and a rollup; no test changes them."""
    root = tmp_path_factory.mktemp("whole") / "facts"
    for day in ("2026-01-05", "2026-01-06"):
        load_arrow(root, "plays", rows(day), day)
    copy_tables_by_roles(root)
    add_rollup(root, ROLLUP)
    build_rollups(root, space=10**9)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy of them, which a test may damage."""
    return shutil.copytree(whole, tmp_path / "facts")


@pytest.fixture
def cached_root(object_server: str, tmp_path: Path) -> Path:
    """Tables in an object store, which have nothing yet, with a cache of their files on this machine."""
    assert object_server
    root = tmp_path / "facts"
    attach_tables(root, replace(remote_tables(root), cache=FileCache(tmp_path / "cache", 10**9, "facts/")))
    return root


def data_file(root: Path) -> Path:
    """The file of the first day."""
    return Path(pin(root, ["plays"]).files("plays")[0])


def list_copies(root: Path) -> list[Path]:
    """The stored copies of all files."""
    paths = sorted((root / "plays").rglob("*.parquet"))
    return [path for path in paths if find_original(path.relative_to(root / "plays").as_posix())]


def segments(root: Path) -> list[Path]:
    """The files of the rollup."""
    (found,) = RollupList.read(root).segments.values()
    return [segment.data for segment in found]


def forget_digests(root: Path) -> None:
    """Let the table's log be as a tool that knows no digests would have written it."""
    for path in (root / "plays" / name for name in list_commits(open_store(root / "plays")).values()):
        actions = [json.loads(line) for line in path.read_text().splitlines()]
        for action in actions:
            action.get("commitInfo", {}).pop(DIGESTS, None)
        path.write_text("".join(json.dumps(action) + "\n" for action in actions))


def findings(root: Path) -> Iterator[str]:
    """What verifying the tables finds."""
    return (finding for one in verify(root) for finding in one.findings)


def test_every_flipped_bit_of_facts_is_found(root: Path) -> None:
    """The file is named, with the two ways to have its rows again."""
    path = data_file(root)
    for seed in range(FLIPS):
        with rotten(path, seed):
            found = [each for each in findings(root) if "its bytes are not those that were written" in each]
        assert len(found) == 1, seed
        assert path.name in found[0]
        assert "objects/" in found[0]
        assert "2026-01-05 to 2026-01-05 again with --replace-days" in found[0]
    assert list(findings(root)) == []


def test_every_flipped_bit_of_a_copy_is_found(root: Path) -> None:
    """The copy is named, to be deleted."""
    copy = list_copies(root)[0]
    for seed in range(FLIPS):
        with rotten(copy, seed):
            (found,) = findings(root)
        assert copy.name in found
        assert found.endswith("; delete it, and run reelport compact")


def test_a_copy_that_rots_in_an_object_store_is_found(cached_root: Path) -> None:
    """Though this machine's cache has it as it was."""
    load_arrow(cached_root, "plays", rows("2026-01-05"), "one")
    copy_tables_by_roles(cached_root)
    asked = date(2026, 1, 1), TODAY, frozenset({"c1"}), "publisher_channel_id"
    (cached,) = pin(cached_root, ["plays"]).files("plays", *asked)
    store = open_store(cached_root / "plays")
    (name,) = store.list_names("_by_publisher")
    content = bytearray(Path(cached).read_bytes())
    content[len(content) // 3] ^= 1
    store.put(name, bytes(content))
    (found,) = findings(cached_root)
    assert name in found


def test_a_rotted_copy_in_the_cache_is_not_carried_on(cached_root: Path) -> None:
    """Though nothing compares copies here: the table's own digest tells, and the file itself is fetched again."""
    for day in ("2026-01-05", "2026-01-06"):
        load_arrow(cached_root, "plays", rows(day), day)
    for cached in pin(cached_root, ["plays"]).files("plays"):
        flip_bit(Path(cached), 1)
    (merged,) = compact(cached_root, today=TODAY)
    assert (merged.files, merged.rows) == (2, 2 * LEAST_ROWS)
    assert list(findings(cached_root)) == []


@pytest.mark.parametrize("seed", range(3))
def test_rotted_copies_of_objects_in_the_cache_are_not_merged(cached_root: Path, seed: int) -> None:
    """Neither with rows that a command adds, nor with those of a load: both read what was fetched again."""
    rows = [{"id": id_, "slug": f"{id_}-{'s' * 50}", "name": None, "account_id": None} for id_ in ("a", "b", "c")]
    merge_rows(cached_root, CHANNELS, rows[:1], "first")
    flip_bit(Path(pin(cached_root, ["channels"]).files("channels")[0]), seed)
    merge_rows(cached_root, CHANNELS, rows[1:2], "second")
    flip_bit(Path(pin(cached_root, ["channels"]).files("channels")[0]), seed)
    load_arrow(cached_root, "channels", pa.table({name: [rows[2][name]] for name in ("id", "slug")}), "third")
    assert sorted(read_rows(cached_root, CHANNELS), key=itemgetter("id")) == rows


def test_every_flipped_bit_of_a_rollup_is_found(root: Path) -> None:
    """The segment is named; deleted, it is built anew."""
    (segment,) = segments(root)
    for seed in range(FLIPS):
        with rotten(segment, seed):
            assert check_rollups(root).damaged == (segment,)
    segment.unlink()
    assert [built.problem for built in build_rollups(root, space=10**9)] == [None]
    assert check_rollups(root).damaged == ()


def test_damage_is_not_carried_on(root: Path) -> None:
    """What writes a file's rows anew refuses one that has rotted: under a new digest the damage would be right."""
    flip_bit(data_file(root), 1)
    for copy in list_copies(root):
        copy.unlink()
    works: list[Callable[[], object]] = [
        lambda: compact(root, today=TODAY),
        lambda: copy_tables_by_roles(root),
        lambda: undo(root, "2026-01-05"),
    ]
    for work in works:
        with pytest.raises(StorageError, match="its bytes are not those that were written; run reelport verify"):
            work()
    assert len(pin(root, ["plays"]).files("plays")) == 2


def test_damaged_objects_are_not_carried_on(tmp_path: Path) -> None:
    """Neither by rows that are merged into them, nor by an undo that brings them back."""
    first, second = ({"id": "c1", "slug": slug, "name": None, "account_id": None} for slug in ("one", "two"))
    merge_rows(tmp_path, CHANNELS, [first], "first")
    flip_bit(Path(pin(tmp_path, ["channels"]).files("channels")[0]), 3)
    with pytest.raises(StorageError, match="its bytes are not those that were written; run reelport verify"):
        merge_rows(tmp_path, CHANNELS, [{**first, "id": "c2"}], "more")
    root = tmp_path / "undone"
    merge_rows(root, CHANNELS, [first], "first")
    former = Path(pin(root, ["channels"]).files("channels")[0])
    merge_rows(root, CHANNELS, [second], "second")
    flip_bit(former, 3)
    with pytest.raises(StorageError, match="its bytes are not those that were written; run reelport verify"):
        undo(root, "second")


def test_a_rollup_sums_no_damaged_file(root: Path) -> None:
    """Put right the file has the same name, and the sums of the damage would be read on."""
    (segment,) = segments(root)
    segment.unlink()
    path = data_file(root)
    content = path.read_bytes()
    flip_bit(path, 1)
    (built,) = build_rollups(root, space=10**9)
    assert built.problem == f"{path}: its bytes are not those that were written; run reelport verify"
    path.write_bytes(content)
    assert [built.problem for built in build_rollups(root, space=10**9)] == [None]


def test_a_damaged_day_is_put_right_by_loading_it_again(root: Path) -> None:
    """Nothing of the file is kept then."""
    flip_bit(data_file(root), 1)
    day = date(2026, 1, 5)
    load_arrow(root, "plays", rows("2026-01-05"), "again", replace=(day, day))
    assert list(findings(root)) == []


def test_a_build_copies_no_day_from_a_damaged_segment(root: Path) -> None:
    """Its other days are summed from the facts again, with those that were missing."""
    (segment,) = segments(root)
    load_arrow(root, "plays", rows("2026-01-07"), "2026-01-07")
    flip_bit(segment, 1)
    (built,) = build_rollups(root, space=10**9)
    assert (built.days, built.problem) == (3, None)
    assert check_rollups(root).damaged == ()


def test_files_without_a_digest_are_told_and_not_rewritten(root: Path) -> None:
    """Nothing proves them: a compaction that gave them one would hide damage. A rollup without one is built anew."""
    forget_digests(root)
    told = list(findings(root))
    assert len(told) == len(pin(root, ["plays"]).files("plays"))
    assert all(": the log records no digest of it: put the file of a backup in its place" in one for one in told)
    with pytest.raises(StorageError, match="the log records no digest of it; run reelport verify"):
        compact(root, today=TODAY)
    (segment,) = segments(root)
    set_digest(segment, None)
    assert [list_segments(root, rollup) for rollup in list_rollups(root)] == [()]
