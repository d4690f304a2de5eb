"""Files cut to row groups: they hold every row that was asked for, and name nothing else."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.facts.row_groups.compact_thrift import MalformedThrift
from reelport.facts.row_groups.footer import measure_footer, parse_footer
from reelport.facts.row_groups.row_group_cutter import RowGroupCutter
from reelport.storage.excerpts import REQUEST_BYTES, Excerpt

OWNER, TIME = "owner_channel_id", "started_at"
START = date(2025, 12, 30)
OWNERS = [f"c{number:02}é" for number in range(40)]


def write_plays(path: Path, *, rows: int = 4000, group: int = 250, width: int = 8, **options: Any) -> bytes:  # noqa: ANN401 - the library's
    """Write plays of some owners over five days around a year's end, sorted by owner; gives the file's bytes."""
    chance = random.Random(rows)  # noqa: S311 - sample rows
    start = datetime(START.year, START.month, START.day, tzinfo=UTC)
    plays = [
        (owner, start + timedelta(days=number % 5, seconds=number % 86_400), chance.randbytes(width).hex(), number)
        for number, owner in enumerate(sorted(chance.choice(OWNERS) for _ in range(rows)))
    ]
    table = pa.table(
        {
            OWNER: [owner for owner, *_ in plays],
            TIME: pa.array([at for _, at, *_ in plays], pa.timestamp("us", "UTC")),
            "day": pa.array([at.date() for _, at, *_ in plays], pa.date32()),
            "video_id": [video for *_, video, _ in plays],
            "claimer_channel_id": [None if number % 3 else owner for owner, *_, number in plays],
            "views": [number for *_, number in plays],
            "tags": [[owner] * (number % 3) for owner, *_, number in plays],
        }
    )
    pq.write_table(table, path, row_group_size=group, compression="zstd", write_page_checksum=True, **options)
    return path.read_bytes()


def cut(content: bytes, channels: set[str], days: tuple[date, date], *, role: str = OWNER, time: str = TIME) -> Excerpt:
    """Cut a file for these channels and days."""
    cutter = RowGroupCutter(role, frozenset(channels), time, *days)
    excerpt = cutter.cut(len(content), content[-measure_footer(content) :])
    assert excerpt is not None
    return excerpt


def assemble(content: bytes, excerpt: Excerpt) -> bytes:
    """Make the excerpt as a fetch does."""
    made = excerpt.head + b"".join(content[low:high] for low, high in excerpt.ranges) + excerpt.tail
    assert len(made) == excerpt.size
    return made


@cache
def open_session() -> duckdb.DuckDBPyConnection:
    """Open the one session of these tests."""
    session = duckdb.connect(config={"threads": 1})
    session.execute("SET TimeZone = 'UTC'")
    return session


def select(path: Path, where: str) -> list[tuple[object, ...]]:
    """Select the rows of a file that a condition holds for."""
    read = f"read_parquet('{path}', hive_partitioning = false)"
    sql = f"SELECT * EXCLUDE video_id, md5(video_id) FROM {read} WHERE {where} ORDER BY views"
    return open_session().execute(sql).fetchall()


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file of sixteen row groups, larger than what a few requests are worth."""
    path = tmp_path_factory.mktemp("plays") / "plays.parquet"
    return path, write_plays(path, rows=2400, group=150, width=2000)


@given(
    channels=st.sets(st.sampled_from([*OWNERS, "", "c", "~"]), max_size=3),
    first=st.integers(-2, 6),
    length=st.integers(0, 6),
    role=st.sampled_from([OWNER, "claimer_channel_id"]),
    time=st.sampled_from([TIME, "day"]),
)
def test_a_cut_file_gives_the_same_rows(
    plays: tuple[Path, bytes], channels: set[str], first: int, length: int, role: str, time: str
) -> None:
    """Of whichever channels and days were asked for, to DuckDB and to Arrow with the checksums of its pages."""
    path, content = plays
    days = START + timedelta(days=first), START + timedelta(days=first + length)
    cut_path = path.with_name("cut.parquet")
    cut_path.write_bytes(assemble(content, cut(content, channels, days, role=role, time=time)))
    listed = ", ".join(f"'{channel}'" for channel in sorted(channels)) or "NULL"
    where = f"{role} IN ({listed}) AND CAST({time} AS DATE) BETWEEN DATE '{days[0]}' AND DATE '{days[1]}'"
    assert select(cut_path, where) == select(path, where)
    with pq.ParquetFile(cut_path, page_checksum_verification=True) as file:
        assert file.read().num_rows == file.metadata.num_rows


def test_one_channel_is_a_small_part(plays: tuple[Path, bytes]) -> None:
    """It lies in few row groups, which are one range; without rows no range is needed, and the file has no rows."""
    path, content = plays
    days = START, START + timedelta(days=9)
    one, none = cut(content, {OWNERS[20]}, days), cut(content, {"~"}, days)
    assert (len(one.ranges), one.size < len(content) / 4) == (1, True)
    assert none.ranges == ()
    path.with_name("none.parquet").write_bytes(assemble(content, none))
    assert select(path.with_name("none.parquet"), "true") == []
    far = cut(content, {OWNERS[0], OWNERS[-1]}, days)
    assert [high - low for low, high in far.ranges] != [len(content)]
    assert all(
        after.start - before.end > REQUEST_BYTES for before, after in zip(far.ranges, far.ranges[1:], strict=False)
    )


def test_a_key_says_what_is_in_an_excerpt(plays: tuple[Path, bytes]) -> None:
    """Two questions about the same row groups share one; another row group is another key."""
    _, content = plays
    days = START, START + timedelta(days=9)
    one, two = cut(content, {OWNERS[20]}, days), cut(content, {OWNERS[20], "~"}, days)
    assert one == two
    assert cut(content, {OWNERS[0]}, days).key != one.key


@pytest.mark.parametrize(
    "options",
    [{"write_page_index": True}, {"use_dictionary": False}, {"write_statistics": False}, {"data_page_version": "2.0"}],
    ids=["page index", "no dictionary", "no statistics", "version 2"],
)
def test_files_of_other_writers_are_cut_or_read_whole(tmp_path: Path, options: dict[str, Any]) -> None:
    """Where parts of a file lie outside of its row groups it isn't cut; without statistics all is wanted."""
    content = write_plays(tmp_path / "it.parquet", **options)
    cutter = RowGroupCutter(OWNER, frozenset({OWNERS[3]}), TIME, START, START)
    excerpt = cutter.cut(len(content), content[-measure_footer(content) :])
    if "write_page_index" in options:
        assert excerpt is None
    else:
        assert excerpt is not None
        (tmp_path / "cut.parquet").write_bytes(assemble(content, excerpt))
        where = f"{OWNER} = '{OWNERS[3]}'"
        assert select(tmp_path / "cut.parquet", where) == select(tmp_path / "it.parquet", where)


def test_what_is_no_whole_footer_is_not_cut(plays: tuple[Path, bytes]) -> None:
    """Cut off anywhere, of another format, or of a file that can't hold what it names: nothing is guessed."""
    _, content = plays
    footer = content[-measure_footer(content) :]
    cutter = RowGroupCutter(OWNER, frozenset({OWNERS[3]}), TIME, START, START)
    for length in range(0, len(footer) - 1, len(footer) // 12):
        with pytest.raises(MalformedThrift):
            parse_footer(footer[:length])
        assert cutter.cut(len(content), footer[:length]) is None
    assert cutter.cut(len(content) // 2, footer) is None
    assert (measure_footer(b"PARE"), measure_footer(content[:-1])) == (0, 0)
