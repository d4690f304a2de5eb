"""Loading each form of file, and what may land in a column."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out

from reelport.errors import BadInput
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import stored_schema

Ask = Callable[..., list[tuple[object, ...]]]
PLAYS = (
    "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds\n"
    "2023-07-02T05:00:00Z,v2,c2,video,5,10\n"
    "2023-07-01T05:00:00Z,v1,c1,video,3,4\n"
)


def _pack_like_pzstd(data: bytes) -> bytes:
    """Frames of zstd, before each a skippable one that tells its size; and one of another program at the end."""
    frames: list[bytes] = [pa.Codec("zstd").compress(part, asbytes=True) for part in (data[:80], data[80:])]
    sizes = [b"\x50\x2a\x4d\x18\x04\x00\x00\x00" + len(frame).to_bytes(4, "little") for frame in frames]
    return sizes[0] + frames[0] + sizes[1] + frames[1] + b"\x5f\x2a\x4d\x18\x00\x00\x00\x00"


def _packed(tmp_path: Path, packing: str) -> Path:
    path = tmp_path / f"plays.{packing}"
    match packing:
        case "gzip":
            path.write_bytes(gzip.compress(PLAYS[:80].encode()) + gzip.compress(PLAYS[80:].encode()))
        case "zstd":
            path.write_bytes(pa.Codec("zstd").compress(PLAYS.encode(), asbytes=True))
        case "pzstd":
            path.write_bytes(_pack_like_pzstd(PLAYS.encode()))
        case _:
            path.write_text("\ufeff" + PLAYS.replace("\n", "\r\n"))
    return path


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd", "pzstd"])
def test_csv_is_read_by_its_bytes_whatever_its_name(tmp_path: Path, root: Path, ask: Ask, packing: str) -> None:
    """A CSV is taken plain (with a mark and Windows line ends), gzipped in two members, or as zstd, also of pzstd."""
    done = load(root, "plays", [_packed(tmp_path, packing)])
    assert (done.rows, done.rejects, done.days) == (2, 0, (date(2023, 7, 1), date(2023, 7, 2)))
    assert ask("plays", "SELECT video_id, views, started_at FROM t ORDER BY ALL") == [
        ("v1", 3, datetime(2023, 7, 1, 5, tzinfo=UTC)),
        ("v2", 5, datetime(2023, 7, 2, 5, tzinfo=UTC)),
    ]


def test_parquet_ndjson_and_csv_of_the_same_rows_are_the_same_facts(tmp_path: Path, root: Path, ask: Ask) -> None:
    """The form of a file doesn't change what its rows say."""
    rows = {
        "day": [date(2023, 7, 1), date(2023, 7, 2)],
        "owner_channel_id": ["c1", "c2"],
        "eur": [Decimal("0.100000"), Decimal("-2.5")],
        "usd": [Decimal(1), Decimal("12345678901.123456")],
    }
    table = pa.table(rows)
    parquet, csv, ndjson = (tmp_path / f"e.{ending}" for ending in ("parquet", "csv", "ndjson"))
    pq.write_table(table, parquet)
    csv.write_text("usd,day,owner_channel_id,eur\n1,2023-07-01,c1,0.1\n12345678901.123456,2023-07-02,c2,-2.50\n")
    ndjson.write_text(
        '{"day":"2023-07-01","owner_channel_id":"c1","eur":0.1,"usd":1}\n\n'
        '{"day":"2023-07-02","owner_channel_id":"c2","eur":"-2.5","usd":12345678901.123456,"media_type":null}\n'
    )
    for path in (parquet, csv, ndjson):
        load(root, "earnings", [path], replace=(date(2023, 7, 1), date(2023, 7, 31)))
        assert ask("earnings", "SELECT day, owner_channel_id, eur, usd FROM t ORDER BY day") == list(
            zip(*rows.values(), strict=True)
        )


def test_files_of_different_forms_make_one_batch(
    tmp_path: Path, root: Path, ask: Ask, plays: Callable[..., Path]
) -> None:
    """Several files, of different forms and column orders, land together."""
    other = tmp_path / "b.ndjson"
    other.write_text(
        '{"views":4,"time_watched_seconds":1,"video_id":"v9","owner_channel_id":"c1","media_type":"live",'
        '"started_at":"2023-07-01T10:00:00+02:00"}\n'
    )
    done = load(root, "plays", [plays("a.csv", ("2023-07-01", "v1", "c1", 3)), other])
    assert done.rows == 2
    assert len({row[0] for row in ask("plays", "SELECT batch FROM t")}) == 1


def test_a_batch_loaded_twice_changes_nothing(root: Path, plays: Callable[..., Path]) -> None:
    """The second load of the same bytes says so and makes no version."""
    path = plays("a.csv", ("2023-07-01", "v1", "c1", 3))
    first = load(root, "plays", [path])
    second = load(root, "plays", [path.rename(path.with_name("renamed.csv"))])
    assert second.already
    assert second.batch == first.batch
    assert pin(root, ["plays"]).versions["plays"] == first.version


def test_objects_are_replaced_by_key_and_the_last_row_of_a_key_wins(tmp_path: Path, root: Path, ask: Ask) -> None:
    """An object table holds one row a key: a later load's, and within a load the last one's."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug,name\nc1,old,A\nc2,two,B\nc1,new,\n")
    assert load(root, "channels", [path]).rows == 2
    assert load(root, "channels", [path]).already
    path.write_text("id,slug,name\nc2,zwei,B\n")
    load(root, "channels", [path])
    assert ask("channels", "SELECT id, slug, name FROM t ORDER BY id") == [("c1", "new", None), ("c2", "zwei", "B")]


@pytest.mark.parametrize(
    ("text", "expected"),
    thin_out(
        [
            ('"[""a"","""",""b"",""a""]"', ["a", "b"]),
            ("a|b||a", ["a", "b"]),
            ("one", ["one"]),
            ("[]", None),
            ("", None),
        ],
        3,
    ),
)
def test_tags_lose_empty_and_repeated_ones_and_keep_their_order(
    tmp_path: Path, root: Path, ask: Ask, text: str, expected: list[str] | None
) -> None:
    """Tags come as a JSON array or divided by bars; no tags at all is an empty cell."""
    path = tmp_path / "v.csv"
    path.write_text(f"id,owner_channel_id,tags\nv1,c1,{text}\n")
    load(root, "videos", [path])
    assert ask("videos", "SELECT tags FROM t") == [(expected,)]


def test_lists_of_parquet_are_tags(root: Path, ask: Ask) -> None:
    """A Parquet list keeps its order, without empty, repeated and absent ones."""
    rows = pa.table({"id": ["v1", "v2"], "owner_channel_id": ["c", "c"], "tags": [["b", "", "a", "b", None], []]})
    load_arrow(root, "videos", rows, "made")
    assert ask("videos", "SELECT tags FROM t ORDER BY id") == [(["b", "a"],), (None,)]


@pytest.mark.parametrize("tag", thin_out([{"name": "a"}, {"element": "a"}, b"\xc3\xa9", 1.5], 2))
def test_parquet_lists_of_what_is_no_text_are_no_tags(tmp_path: Path, root: Path, tag: object) -> None:
    """What the engine would spell in its own way (`{'name': a}`) is left to a mapping, which takes the text out."""
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"id": ["v1"], "owner_channel_id": ["c"], "tags": [[tag]]}), path)
    with pytest.raises(BadInput, match=r"column tags holds .*\[\], where lists of texts should be"):
        load(root, "videos", [path])


def test_lists_that_are_all_empty_are_no_tags(tmp_path: Path, root: Path, ask: Ask) -> None:
    """Writers of Parquet give them no type of text: there is none to go by."""
    path = tmp_path / "v.parquet"
    rows = {"id": ["v1", "v2"], "owner_channel_id": ["c", "c"], "tags": [[], [None]]}
    pq.write_table(pa.table(rows), path)
    load(root, "videos", [path])
    assert ask("videos", "SELECT id, tags FROM t ORDER BY id") == [("v1", None), ("v2", None)]


def test_a_null_in_a_list_of_ndjson_is_left_out(tmp_path: Path, root: Path, ask: Ask) -> None:
    """As it is in a Parquet list; a part that is a list or an object still refuses the row."""
    path = tmp_path / "v.ndjson"
    lists = ('["b", null, 7]', "[null]", '["a", {"k": 1}]')
    path.write_text(
        "".join(f'{{"id":"v{at}","owner_channel_id":"c","tags":{each}}}\n' for at, each in enumerate(lists))
    )
    done = load(root, "videos", [path])
    assert ask("videos", "SELECT id, tags FROM t ORDER BY id") == [("v0", ["b", "7"]), ("v1", None)]
    assert done.rejects == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    thin_out(
        [
            (pa.array([0.1, 1.0000005, -1.0000005]), ["0.100000", "1.000001", "-1.000001"]),
            (pa.array([4e-05, 5e-07, 0.0]), ["0.000040", "0.000001", "0.000000"]),
            (pa.array([1, 2, 3], pa.uint8()), ["1.000000", "2.000000", "3.000000"]),
            (pa.array(["1.5", "+2", "3.25e1"]), ["1.500000", "2.000000", "32.500000"]),
        ],
        2,
    ),
)
def test_money_is_exact_from_text_and_rounds_halves_up_from_floats(
    root: Path, ask: Ask, values: pa.Array, expected: list[str]
) -> None:
    """Money is a decimal of six digits, read as it is written."""
    rows = pa.table({"day": [date(2023, 7, day) for day in (1, 2, 3)], "owner_channel_id": ["c"] * 3})
    load_arrow(root, "earnings", rows.append_column("eur", values).append_column("usd", values), "made")
    assert ask("earnings", "SELECT CAST(eur AS VARCHAR) FROM t ORDER BY day") == [(one,) for one in expected]


def test_counts_take_floats_that_are_whole(root: Path, ask: Ask) -> None:
    """A column of whole numbers with gaps, which pandas writes as floats, is a column of counts."""
    rows = pa.table(
        {
            "started_at": pa.array([datetime(2023, 7, 1, 5)] * 2, pa.timestamp("ns")),  # noqa: DTZ001 - naive is the point
            "video_id": pa.array([12, 13], pa.int64()),
            "owner_channel_id": pa.array(["c1", "c1"]).dictionary_encode(),
            "media_type": ["video", "live"],
            "views": [3.0, 4.0],
            "time_watched_seconds": pa.array([Decimal("1.00"), Decimal("2.00")]),
            "watchable_seconds": [None, 5.0],
            "viewer": pa.nulls(2),
        }
    )
    load_arrow(root, "plays", rows, "made")
    assert ask("plays", "SELECT video_id, views, watchable_seconds, started_at FROM t ORDER BY views") == [
        ("12", 3, None, datetime(2023, 7, 1, 5, tzinfo=UTC)),
        ("13", 4, 5, datetime(2023, 7, 1, 5, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "bits"), [(pa.float16(), "FLOAT16", 11), (pa.float32(), "FLOAT", 24), (pa.float64(), "DOUBLE", 53)]
)
def test_a_float_that_may_have_been_rounded_is_no_count(
    tmp_path: Path, root: Path, ask: Ask, kind: pa.DataType, name: str, bits: int
) -> None:
    """One above the bound is the bound in such a column: whose it is, nobody can tell."""
    path, counts = tmp_path / "f.parquet", pa.array([2**bits - 1, 2**bits + 1], pa.int64())
    rows = pa.table({"started_at": [datetime(2023, 7, 1, tzinfo=UTC)] * 2, "video_id": ["v", "w"]})
    for column, value in (("owner_channel_id", "c"), ("media_type", "video"), ("time_watched_seconds", 0)):
        rows = rows.append_column(column, pa.array([value] * 2))
    pq.write_table(rows.append_column("views", counts.cast(pa.float64(), safe=False).cast(kind, safe=False)), path)
    done = load(root, "plays", [path])
    assert done.rejects_file is not None
    assert f"may have been rounded: numbers of type {name} are exact below 2^{bits}" in done.rejects_file.read_text()
    assert ask("plays", "SELECT video_id, views FROM t") == [("v", 2**bits - 1)]


def test_absent_columns_take_their_default_or_are_empty(root: Path, ask: Ask) -> None:
    """A file need only have the columns that must be there; absent counts of ads are 0."""
    rows = pa.table(
        {
            "started_at": [datetime(2023, 7, 1, tzinfo=UTC)],
            "owner_channel_id": ["c1"],
            "media_type": ["video"],
            "timeouts": [None],
        }
    )
    load_arrow(root, "ads", rows, "made")
    assert ask("ads", "SELECT impressions, timeouts, video_id FROM t") == [(0, 0, None)]


def test_files_are_sorted_typed_and_without_their_partition(root: Path) -> None:
    """A day is one file, sorted by owner and time, in exactly the table's columns and the batch."""
    rows = pa.table(
        {
            "started_at": [datetime(2023, 7, 1, hour, tzinfo=UTC) for hour in (9, 8, 7, 6)],
            "video_id": ["v1", "v2", "v3", "v4"],
            "owner_channel_id": ["é", "b", "B", "b"],
            "media_type": ["video"] * 4,
            "views": [1] * 4,
            "time_watched_seconds": [1] * 4,
        }
    )
    load_arrow(root, "plays", rows, "made")
    (path,) = pin(root, ["plays"]).files("plays")
    found = pq.ParquetFile(path)
    assert found.schema_arrow.equals(stored_schema("plays"), check_metadata=False)
    assert found.read(columns=["video_id"]).column(0).to_pylist() == ["v3", "v4", "v2", "v1"]
    assert Path(path).parent.name == "month=2023-07"
    assert Path(path).name.startswith("2023-07-01-")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"view": [1]}, ["unknown column 'view' (did you mean views?)", "column views is missing"]),
        ({"views": [True]}, ["column views holds BOOLEAN, where whole numbers should be"]),
        ({"views": [1], "started_at": [1.5]}, ["column started_at holds DOUBLE, where timestamps should be"]),
        ({"views": [{"a": 1}]}, ["column views holds STRUCT"]),
        ({"views": [1], "viewer": [b"x"]}, ["column viewer holds BLOB, where text should be"]),
    ],
)
def test_wrong_columns_are_told_all_at_once(root: Path, columns: dict[str, list[object]], told: list[str]) -> None:
    """Unknown, missing and mistyped columns are refused together, with the nearest name, and nothing lands."""
    rows = {"started_at": [datetime(2023, 7, 1, tzinfo=UTC)], "video_id": ["v"], "owner_channel_id": ["c"]} | columns
    with pytest.raises(BadInput) as caught:
        load_arrow(root, "plays", pa.table(rows), "made")
    for sentence in [*told, "column media_type is missing", "column time_watched_seconds is missing"]:
        assert sentence in str(caught.value)
    assert pin(root, ["plays"]).versions["plays"] == -1


def test_a_data_directory_with_odd_signs_in_its_name_works(tmp_path: Path, plays: Callable[..., Path]) -> None:
    """Brackets, stars, blanks and `key=value` in a path are only letters."""
    odd = tmp_path / "owner_channel_id=x [1] *?'\"é%" / "facts"
    path = plays("a [b]*.csv", ("2023-07-01", "v1", "c1", 3))
    load(odd, "plays", [path])
    (file,) = pin(odd, ["plays"]).files("plays")
    assert pq.read_table(file, partitioning=None).column("owner_channel_id").to_pylist() == ["c1"]
    channels = path.with_name("c [1].csv")
    for slug in ("a", "b"):
        channels.write_text(f"id,slug\nc1,{slug}\n")
        load(odd, "channels", [channels])
    (file,) = pin(odd, ["channels"]).files("channels")
    assert pq.read_table(file, partitioning=None).column("slug").to_pylist() == ["b"]
