"""Times, listed texts and numbers of a file: what is cut, refused, or never loaded as if it were right."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out

from reelport.errors import BadInput
from reelport.facts.allowed_values import COUNTRIES
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.loading.verification import verify
from reelport.facts.tables import TABLES

Ask = Callable[..., list[tuple[object, ...]]]
TEXT = "2023-07-01T23:59:59.999999999Z"
NANOSECONDS = int(datetime(2023, 7, 1, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**9 + 999_999_999
PLAY = {"video_id": "v", "owner_channel_id": "c", "media_type": "video", "views": 1, "time_watched_seconds": 1}
EARNED = {"owner_channel_id": "c", "eur": 1, "usd": 1}


def _times(form: str, *moments: int) -> pa.Array:
    """The moments, in nanoseconds, as Arrow has them in that form."""
    zone = {"utc": "UTC", "paris": "Europe/Paris"}.get(form)
    times = pa.array(moments, pa.timestamp("ns", zone))
    match form:
        case "dictionary":
            return times.dictionary_encode()
        case "texts":
            return pa.array([TEXT] * len(moments)).dictionary_encode()
        case _:
            return times


def _file(folder: Path, form: str, time: str, row: dict[str, object]) -> Path:
    match form:
        case "csv":
            path = folder / "t.csv"
            path.write_text(f"{time},{','.join(row)}\n{TEXT},{','.join(map(str, row.values()))}\n")
        case "ndjson":
            path = folder / "t.ndjson"
            path.write_text(json.dumps({time: TEXT, **row}) + "\n")
        case _:
            path = folder / "t.parquet"
            rows = pa.table({time: _times(form, NANOSECONDS), **{name: [value] for name, value in row.items()}})
            pq.write_table(rows, path, use_deprecated_int96_timestamps=form == "int96")
    return path


@pytest.mark.long
@pytest.mark.parametrize(
    "form", thin_out(["csv", "ndjson", "plain", "utc", "paris", "dictionary", "texts", "int96"], 8, nightly=True)
)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_nanosecond_before_midnight_stays_on_its_day(
    tmp_path: Path, root: Path, ask: Ask, form: str, mapped: bool
) -> None:
    """The last nanosecond of a day is its last microsecond, as a moment, and that day, as a day."""
    mapping = None
    if mapped:
        mapping = tmp_path / "m.sql"
        mapping.write_text("SELECT * FROM input")
    load(root, "plays", [_file(tmp_path, form, "started_at", dict(PLAY))], mapping=mapping)
    load(root, "earnings", [_file(tmp_path, form, "day", dict(EARNED))], mapping=mapping)
    assert ask("plays", "SELECT CAST(started_at AS VARCHAR) FROM t") == [("2023-07-01 23:59:59.999999+00",)]
    assert ask("earnings", "SELECT CAST(day AS VARCHAR) FROM t") == [("2023-07-01",)]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_of_arrow_are_cut_too(root: Path, ask: Ask, zone: str | None) -> None:
    """A program's own rows keep their day."""
    rows = pa.Table.from_pylist([dict(EARNED)]).append_column("day", pa.array([NANOSECONDS], pa.timestamp("ns", zone)))
    load_arrow(root, "earnings", rows, "by-hand")
    assert ask("earnings", "SELECT CAST(day AS VARCHAR) FROM t") == [("2023-07-01",)]


@pytest.mark.long
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_out_of_range_are_refused(tmp_path: Path, root: Path, zone: str | None) -> None:
    """One nanosecond before 1970 is cut to 1969, and what stands for an endless time is no time."""
    moments = pa.array([NANOSECONDS, -1, 2**63 - 1, 1 - 2**63], pa.timestamp("ns", zone))
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"day": moments, **{name: [value] * 4 for name, value in EARNED.items()}}), path)
    done = load(root, "earnings", [path])
    assert (done.rows, done.rejects) == (1, 3)
    assert done.rejects_file is not None
    assert done.rejects_file.read_text().count(" is out of range (1970-01-01 to 2200-01-01)") == 3


@pytest.mark.long
@pytest.mark.parametrize("text", ["-0", "-0.0"])
def test_a_negative_nothing_is_no_count(tmp_path: Path, root: Path, text: str) -> None:
    """CSV and NDJSON tell the same of it, as it is written."""
    path = tmp_path / "t.csv"
    path.write_text(f"started_at,{','.join(PLAY)}\n{TEXT},v,c,video,{text},1\n")
    with pytest.raises(BadInput, match=f"views: '{text}' is less than 0"):
        load(root, "plays", [path])
    path = tmp_path / "t.ndjson"
    path.write_text(json.dumps({"started_at": TEXT, **PLAY}).replace('"views": 1', f'"views": {text}') + "\n")
    with pytest.raises(BadInput, match=f"views: '{text}' is less than 0"):
        load(root, "plays", [path])


def test_numbers_of_ndjson_stay_as_they_are_written(tmp_path: Path, root: Path, ask: Ask) -> None:
    """The largest count is exact, and longer ones are refused as counts, whatever their length."""
    path = tmp_path / "t.ndjson"
    rows = (json.dumps({"started_at": TEXT, **PLAY}).replace('"views": 1', f'"views": {n}') for n in (2**63 - 1, 2**63))
    endless = json.dumps({"started_at": TEXT, **PLAY}).replace('"views": 1', f'"views": {"9" * 5000}')
    path.write_text("\n".join((*rows, endless)) + "\n")
    done = load(root, "plays", [path])
    assert (done.rows, done.rejects) == (1, 2)
    assert ask("plays", "SELECT views FROM t") == [(2**63 - 1,)]
    assert done.rejects_file is not None
    assert done.rejects_file.read_text().count("is larger than 9223372036854775807") == 2


@pytest.mark.long
def test_the_first_and_the_last_day_are_loaded(root: Path) -> None:
    """Of a column of days and of one of moments; the days beside them are out of range."""
    ends = date(1970, 1, 1), date(2199, 12, 31)
    beside = date(1969, 12, 31), date(2200, 1, 1)
    noon = time(12, tzinfo=UTC)
    for day, is_good in [*((each, True) for each in ends), *((each, False) for each in beside)]:
        moment = datetime.combine(day, noon)
        for table, row in ("earnings", EARNED | {"day": day}), ("plays", PLAY | {"started_at": moment}):
            with nullcontext() if is_good else pytest.raises(BadInput, match="is out of range"):
                assert load_arrow(root, table, pa.Table.from_pylist([row]), str(day)).rows == 1


HEADER = (
    "started_at,video_id,owner_channel_id,media_type,visitor_country,visitor_device_type,views,time_watched_seconds\n"
)
NO_COUNTRY = "is no country code of ISO 3166-1 alpha-2, in capitals"
NO_DEVICE = "is none of: mobile, desktop, tablet, tv"


@pytest.fixture
def played(tmp_path: Path) -> Callable[..., Path]:
    """A CSV file of plays: each row is (media type, country, device)."""

    def write(*rows: tuple[str, str, str]) -> Path:
        path = tmp_path / "plays.csv"
        lines = (f"2026-01-0{1 + at % 9},v1,c1,{','.join(row)},1,1\n" for at, row in enumerate(rows))
        path.write_text(HEADER + "".join(lines))
        return path

    return write


def _reasons(path: Path | None) -> str:
    return path.read_text() if path is not None else ""


def test_the_countries_are_those_of_the_standard_and_kosovo() -> None:
    """249 codes are assigned; XK is the one more, and each stands once, in order."""
    assert len(COUNTRIES) == 250
    assert list(COUNTRIES) == sorted(set(COUNTRIES))
    assert {"FR", "XK", "BQ", "SS", "GB", "NA"} <= set(COUNTRIES)
    assert not {"AN", "CS", "EU", "UK", "ZZ", "XX", "A1", "T1", "AP"} & set(COUNTRIES)


@pytest.mark.long
@pytest.mark.parametrize(
    "country", thin_out(["fr", "FRA", "France", "ZZ", "XX", "A1", "EU", "UK", "AN", " FR", "-"], 6, nightly=True)
)
def test_a_country_that_is_no_code_is_rejected(root: Path, played: Callable[..., Path], country: str) -> None:
    """Codes in small letters, of other standards, withdrawn, reserved and made up ones are refused with the reason."""
    done = load(root, "plays", [played(("video", "FR", "tv"), ("video", country, "tv"))])
    assert (done.rows, done.rejects) == (1, 1)
    assert f"visitor_country: '{country}' {NO_COUNTRY}" in _reasons(done.rejects_file)


@pytest.mark.parametrize("device", thin_out(["Mobile", "phone", "game console", "mobile "], 4, nightly=True))
def test_a_device_that_is_none_of_the_four_is_rejected(root: Path, played: Callable[..., Path], device: str) -> None:
    """The four kinds are in small letters, and there is no fifth."""
    done = load(root, "plays", [played(("video", "FR", "tv"), ("video", "FR", device))])
    assert (done.rows, done.rejects) == (1, 1)
    assert f"visitor_device_type: '{device}' {NO_DEVICE}" in _reasons(done.rejects_file)


@pytest.mark.long
def test_every_code_and_no_code_at_all_are_taken(root: Path, played: Callable[..., Path], ask: Ask) -> None:
    """Each code of the list lands, Kosovo's too, and an empty cell is a country that isn't known."""
    done = load(root, "plays", [played(*(("video", country, "") for country in ("", *COUNTRIES)))])
    assert (done.rows, done.rejects) == (251, 0)
    assert ask("plays", "SELECT count(DISTINCT visitor_country), count(visitor_country) FROM t") == [(250, 250)]


def test_a_lenient_load_keeps_what_no_number_depends_on_and_counts_it(
    root: Path, played: Callable[..., Path], ask: Ask
) -> None:
    """Countries and devices land as they are and are told; a kind of media decides what counts, and is refused."""
    rows = ("video", "ZZ", "tv"), ("video", "ZZ", "console"), ("video", "FR", "tv"), ("clip", "ZZ", "tv")
    done = load(root, "plays", [played(*rows)], lenient=True)
    assert (done.rows, done.rejects) == (3, 1)
    assert {(one.reason, one.rows) for one in done.outside} == {
        (f"visitor_country: {NO_COUNTRY}", 2),
        (f"visitor_device_type: {NO_DEVICE}", 1),
    }
    assert "media_type: 'clip' is none of: video, live" in _reasons(done.rejects_file)
    assert ask("plays", "SELECT visitor_country FROM t ORDER BY 1") == [("FR",), ("ZZ",), ("ZZ",)]


@pytest.mark.long
def test_what_a_lenient_load_keeps_refuses_no_batch(root: Path, played: Callable[..., Path]) -> None:
    """A strict load, and a replacement, take no bad rows: those that are kept are none."""
    path = played(("video", "ZZ", "tv"))
    span = date(2026, 1, 1), date(2026, 1, 1)
    with pytest.raises(BadInput, match="1 of 1 row can't be taken"):
        load(root, "plays", [path], replace=span)
    assert load(root, "plays", [path], replace=span, strict=True, lenient=True).rows == 1


def test_lists_hold_for_arrow_rows_too(root: Path) -> None:
    """One of a program's rows refuses all of them; a lenient load of theirs keeps what a file's does."""
    row = {"day": date(2026, 1, 1), "owner_channel_id": "c1", "visitor_country": "zz", "eur": 1, "usd": 1}
    with pytest.raises(BadInput, match=NO_COUNTRY):
        load_arrow(root, "earnings", pa.Table.from_pylist([{**row, "visitor_country": "FR"}, row]), "one")
    assert load_arrow(root, "earnings", pa.Table.from_pylist([row]), "one", lenient=True).rows == 1


@pytest.mark.long
def test_what_stands_is_not_judged_again(root: Path, played: Callable[..., Path], ask: Ask) -> None:
    """Tables may hold other texts from before: they are compacted, verified, read and undone as they are."""
    done = load(root, "plays", [played(*[("video", "zz", "console")] * 9)], lenient=True)
    assert [one.rows for one in compact(root, today=date(2026, 6, 1))] == [9]
    assert not any(one.findings for one in verify(root))
    assert ask("plays", "SELECT DISTINCT visitor_country FROM t") == [("zz",)]
    assert undo(root, done.batch).removed == 9


def test_only_lists_that_decide_no_number_may_be_left() -> None:
    """Which lists a lenient load holds on to is declared with the columns."""
    kept = {column.name for table in TABLES.values() for column in table.columns if column.choices and column.decisive}
    assert kept == {"media_type", "monetization_type", "kind"}


def _map(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.sql"
    path.write_text(text)
    return path


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize("digits", [7, 20])
def test_money_of_more_than_six_digits_is_refused(root: Path, digits: int) -> None:
    """Whatever the column could hold: it isn't rounded."""
    kind = pa.decimal128(38, digits)
    finer = Decimal(f"1.{'0' * (digits - 1)}1")
    with pytest.raises(BadInput, match="has more than 6 digits after the point"):
        _earn(root, pa.array([finer], kind))
    assert _earn(root, pa.array([Decimal("1.000001"), Decimal(-2), None], kind).drop_null()) == 2


@pytest.mark.long
@pytest.mark.parametrize("amount", [math.inf, -math.inf, math.nan, 1e12, -1e12])
def test_a_float_that_is_no_amount_is_refused(root: Path, amount: float) -> None:
    """It never becomes an empty cell, which counts as nothing earned."""
    with pytest.raises(BadInput, match=r"is no number below 10\^12"):
        _earn(root, pa.array([1.5, amount]))
    assert _earn(root, pa.array([999_999_999_999.5, -999_999_999_999.5])) == 2
