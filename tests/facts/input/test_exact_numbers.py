"""Numbers that a file or the engine may have rounded: none is loaded as if it were right."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelport.errors import BadInput
from reelport.facts.loading.load import load, load_arrow

Ask = Callable[..., list[tuple[object, ...]]]


def _map(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.sql"
    path.write_text(text)
    return path


def test_mixed_numbers_of_ndjson_are_never_rounded(tmp_path: Path, root: Path, ask: Ask) -> None:
    """Whole numbers and fractions are floats to the engine, which hold 2^53 + 1 as 2^53: such a row is rejected.

    Numbers and texts are JSON to it, which keeps all digits but those of fractions: only bad rows are rejected.
    """
    path = tmp_path / "n.ndjson"
    names = "'2023-07-01T05:00:00Z' AS started_at, 'v' AS video_id, 'c1' AS owner_channel_id, 'video' AS media_type"
    mapping = _map(tmp_path, f"SELECT {names}, n AS views, 0 AS time_watched_seconds FROM input")
    for other, rejected in (
        ("1.5", {"1": f"views: '{2**53}.0' may have been rounded", "4": "views: '1.5' is no whole number"}),
        ('"x"', {"4": "views: 'x' is no whole number"}),
        ('{"a": 1}', {"4": "views: '{\"a\":1}' is no whole number"}),
        (f'"x"}}\n{{"n": {2**53 + 1}.0', {"4": "views: 'x' is no whole number", "5": f"views: '{2**53}.0' may have"}),
    ):
        path.write_text("".join(f'{{"n": {n}}}\n' for n in (2**53 + 1, 2**53 - 1, 7, other)))
        done = load(root, "plays", [path], mapping=mapping)
        assert done.rejects_file is not None
        with done.rejects_file.open(newline="") as file:
            told = {row["line"]: row["reason"] for row in csv.DictReader(file)}
        assert told.keys() == rejected.keys()
        assert all(told[line].startswith(reason) for line, reason in rejected.items())
    assert ask("plays", "SELECT views, count(*) FROM t GROUP BY ALL ORDER BY ALL") == [
        (7, 4),
        (2**53 - 1, 4),
        (2**53 + 1, 3),
    ]


def test_half_floats_are_never_rounded_and_are_no_money(tmp_path: Path, root: Path, ask: Ask) -> None:
    """To the engine they are FLOAT: a number that half floats round ends a load whose mapping reads its column."""
    path, days = tmp_path / "h.parquet", [date(2023, 7, 1), date(2023, 7, 2)]
    small, large = pa.array([1, 2047], pa.float64()).cast(pa.float16()), pa.array([1, 2051.0]).cast(pa.float16())
    rows = pa.table({"day": days, "owner_channel_id": ["c"] * 2, "eur": small, "usd": small, "n": small})
    pq.write_table(rows, path)
    with pytest.raises(BadInput, match="column eur holds FLOAT16, where decimal numbers should be"):
        load(root, "earnings", [path])
    names = "day AS started_at, 'v' AS video_id, 'c' AS owner_channel_id, 'video' AS media_type"
    mapping = _map(tmp_path, f"SELECT {names}, n AS views, 0 AS time_watched_seconds FROM input")
    load(root, "plays", [path], mapping=mapping)
    pq.write_table(rows.set_column(4, "n", large), path)
    with pytest.raises(BadInput, match=r"n: '2052.0' may have been rounded: numbers of type FLOAT16 are exact below"):
        load(root, "plays", [path], mapping=mapping)
    unread = _map(tmp_path, f"SELECT {names}, 9 AS views, 0 AS time_watched_seconds FROM input")
    load(root, "plays", [path], mapping=unread)
    assert ask("plays", "SELECT views, count(*) FROM t GROUP BY ALL ORDER BY ALL") == [(1, 1), (9, 2), (2047, 1)]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float64()])
def test_half_floats_are_found_however_files_spell_their_column(
    tmp_path: Path, root: Path, ask: Ask, kind: pa.DataType
) -> None:
    """Names ignore case: a column that is `n` in one file, of whichever type, is the other one's `N`."""
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    names = "'2023-07-01T05:00:00Z' AS started_at, 'v' AS video_id, 'c' AS owner_channel_id, 'video' AS media_type"
    mapping = _map(tmp_path, f"SELECT {names}, n AS views, 0 AS time_watched_seconds FROM input")
    pq.write_table(pa.table({"n": pa.array([5.0]).cast(kind)}), paths[0])
    for count in (2051.0, 7.0):
        pq.write_table(pa.table({"N": pa.array([count]).cast(pa.float16())}), paths[1])
        if count > 7:
            with pytest.raises(BadInput, match=r"'2052.0' may have been rounded"):
                load(root, "plays", paths, mapping=mapping)
    load(root, "plays", paths, mapping=mapping)
    assert ask("plays", "SELECT views FROM t ORDER BY views") == [(5,), (7,)]


def test_of_many_ndjson_files_each_one_tells_columns_and_types(tmp_path: Path, root: Path, ask: Ask) -> None:
    """The engine goes by the first 32 files unless told otherwise: what others say was dropped, or rounded."""
    rows = [{"n": 1.5 if at == 38 else 1, "id": at} | ({"country": "FR"} if at == 39 else {}) for at in range(40)]
    for at, row in enumerate(rows):
        (tmp_path / f"{at:02}.ndjson").write_text(json.dumps(row) + "\n")
    names = "'2023-07-01T05:00:00Z' AS started_at, CAST(id AS VARCHAR) AS video_id, 'c1' AS owner_channel_id"
    more = "'video' AS media_type, n AS views, 0 AS time_watched_seconds, country AS visitor_country"
    mapping = _map(tmp_path, f"SELECT {names}, {more} FROM input")
    done = load(root, "plays", sorted(tmp_path.glob("*.ndjson")), mapping=mapping)
    assert done.rejects == 1
    assert ask("plays", "SELECT video_id FROM t WHERE visitor_country = 'FR'") == [("39",)]
    assert ask("plays", "SELECT count(*) FROM t WHERE video_id = '38'") == [(0,)]


def _earn(root: Path, eur: pa.Array) -> int:
    """Load rows of these euros; how many landed."""
    count = len(eur)
    rows = {"day": [date(2023, 7, 1)] * count, "owner_channel_id": ["c"] * count, "eur": eur, "usd": [1] * count}
    return load_arrow(root, "earnings", pa.table(rows), f"{eur}").rows


@pytest.mark.parametrize("digits", [7, 20])
def test_money_of_more_than_six_digits_is_refused(root: Path, digits: int) -> None:
    """Whatever the column could hold: it isn't rounded."""
    kind = pa.decimal128(38, digits)
    finer = Decimal(f"1.{'0' * (digits - 1)}1")
    with pytest.raises(BadInput, match="has more than 6 digits after the point"):
        _earn(root, pa.array([finer], kind))
    assert _earn(root, pa.array([Decimal("1.000001"), Decimal(-2), None], kind).drop_null()) == 2


@pytest.mark.parametrize("amount", [math.inf, -math.inf, math.nan, 1e12, -1e12])
def test_a_float_that_is_no_amount_is_refused(root: Path, amount: float) -> None:
    """It never becomes an empty cell, which counts as nothing earned."""
    with pytest.raises(BadInput, match=r"is no number below 10\^12"):
        _earn(root, pa.array([1.5, amount]))
    assert _earn(root, pa.array([999_999_999_999.5, -999_999_999_999.5])) == 2
