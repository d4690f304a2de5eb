"""Rows of object tables: a few are merged as a load would, and no two channels have one slug."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.object_rows import Row, merge_rows
from tests.rotten_files import rot_name

from reelport.errors import BadInput, StorageError
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import CHANNELS


def _channel(id_: str, slug: str | None = None, name: str | None = None) -> Row:
    return {"id": id_, "slug": slug or f"s-{id_}", "name": name, "account_id": None}


def _rows(root: Path) -> list[Row]:
    now = read_newest(root, CHANNELS)
    return [row for path in now.paths(now.files) for row in pq.ParquetFile(path).read().to_pylist()]


Write = Callable[..., Path]
MAP = "SELECT id, lower(slug) AS slug FROM input"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of channels, from lines of id and slug."""

    def make(*lines: str, name: str = "channels.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(["id,slug", *lines, ""]))
        return path

    return make


def refusals(root: Path, files: Sequence[Path], mapping: Path | None = None) -> set[str]:
    """Why a load refuses the files, and why a dry run says it would; the table stays as it is."""
    before = read_newest(root, CHANNELS).version
    with pytest.raises(BadInput) as refused:
        load(root, "channels", files, mapping=mapping)
    assert read_newest(root, CHANNELS).version == before
    shown = preview(root, "channels", files, mapping=mapping)
    assert shown.rows_to_load == 0
    return {str(refused.value).removeprefix("nothing was loaded: "), str(shown.refusal)}


def test_every_shared_slug_is_refused_at_once(root: Path, write: Write) -> None:
    """Within the files, and against the channels that stay; nothing lands of the others."""
    load(root, "channels", [write("c1,one", "c2,two")])
    files = [write("c3,one", "c4,four", "c5,five", name="a.csv"), write("c6,five", "c7,seven", name="b.csv")]
    assert refusals(root, files) == {
        "The slug 'five' is given to 'c5' and 'c6'.\nThe slug 'one', given to 'c3', is another channel's already, 'c1'."
    }


def test_the_rows_of_a_mapping_count(root: Path, write: Write, tmp_path: Path) -> None:
    """Not the texts of the file."""
    load(root, "channels", [write("c1,one")])
    mapping = tmp_path / "map.sql"
    mapping.write_text(MAP)
    said = "The slug 'one', given to 'c2', is another channel's already, 'c1'."
    assert refusals(root, [write("c2,ONE")], mapping) == {said}


def test_slugs_may_change_hands_in_one_load(root: Path, write: Write) -> None:
    """What counts is what is there afterwards; of a channel that is named twice, the last row. Renames are counted."""
    load(root, "channels", [write("c1,one", "c2,two", "c3,three")])
    files = [write("c1,two", "c2,three", "c2,one", "c3,three", "c4,four")]
    assert preview(root, "channels", files).renamed == 2
    assert load(root, "channels", files).renamed == 2
    assert preview(root, "channels", files).renamed == 0
    assert load(root, "channels", files).already


def test_a_bad_row_takes_no_slug(root: Path, write: Write) -> None:
    """It isn't loaded."""
    files = [write("c1,one", ",one")]
    assert preview(root, "channels", files).refusal is None
    assert load(root, "channels", files).rejects == 1


def test_slugs_that_are_shared_already_do_not_hold_up_others(root: Path, write: Write) -> None:
    """A command may have added them. A load that gives such a slug to one more channel is refused."""
    merge_rows(
        root, CHANNELS, [{"id": id_, "slug": "s", "name": None, "account_id": None} for id_ in ("c1", "c2")], "x"
    )
    assert load(root, "channels", [write("c3,three")]).rows == 1
    assert refusals(root, [write("c4,s")]) == {"The slug 's', given to 'c4', is another channel's already, 'c1'."}
    assert load(root, "channels", [write("c1,one")]).renamed == 1


def test_an_error_lists_as_many_as_can_be_read(root: Path, write: Write) -> None:
    """The rest is counted."""
    files = [write(*(f"c{number},s{number // 2:03}" for number in range(250)))]
    (said,) = refusals(root, files)
    lines = said.splitlines()
    assert (len(lines), lines[-1]) == (101, "25 more like these.")


def cut(path: Path) -> None:
    """Take away a file's end."""
    path.write_bytes(path.read_bytes()[:-9])


def wipe(path: Path) -> None:
    """Let a page of the file's values be none that was ever compressed."""
    path.write_bytes(b"PAR1" + bytes(50) + path.read_bytes()[54:])


@pytest.mark.parametrize("damage", [cut, wipe, lambda path: rot_name(path, "slug")], ids=["cut", "page", "name"])
def test_a_damaged_table_is_named(root: Path, write: Write, damage: Callable[[Path], None]) -> None:
    """By the dry run of a load, and by a command that adds a channel."""
    load(root, "channels", [write("c1,one")])
    path = Path(pin(root, ["channels"]).files("channels")[0])
    damage(path)
    with pytest.raises(StorageError, match=f"^{path}"):
        preview(root, "channels", [write("c2,two")])
    with pytest.raises(StorageError, match=f"^{path}"):
        merge_rows(root, CHANNELS, [{"id": "c2", "slug": "two", "name": None, "account_id": None}], "more")
