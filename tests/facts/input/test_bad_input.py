"""Rows and files that can't be taken: each has a line and a reason, and none is lost or half loaded."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.rotten_files import rot_name

from reelport.errors import BadInput
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview
from reelport.facts.log.snapshot import pin

HEADER = "started_at,video_id,owner_channel_id,media_type,views,time_watched_seconds,visitor_page_url\n"
GOOD = "2023-07-01,v1,c1,video,1,1,x\n"


def _reasons(path: Path | None) -> list[tuple[int, str]]:
    assert path is not None
    with path.open(encoding="utf-8", newline="") as file:
        return sorted((int(row["line"]), row["reason"]) for row in csv.DictReader(file))


def _hold_reasons(path: Path | None, first: int, expected: list[tuple[str, str]]) -> None:
    """Every other line from the first one is told, for its reason."""
    told = _reasons(path)
    assert [number for number, _ in told] == [first + 2 * place for place in range(len(expected))]
    for (_, found), (_, reason) in zip(told, expected, strict=True):
        assert found.startswith(reason)


BAD_ROWS = [
    ("2023-07-01,v1,c1,video,-1,1,", "views: '-1' is less than 0"),
    ("2023-07-01,v1,c1,video,1.5,1,", "views: '1.5' is no whole number"),
    ("2023-07-01,v1,c1,video,99999999999999999999,1,", "views: '99999999999999999999' is larger than"),
    ("2023-07-01,v1,c1,video,,1,", "views: is empty, and must not be"),
    ("2023-07-01,v1,,video,1,1,", "owner_channel_id: is empty, and must not be"),
    ("2023-07-01,v1,c1,film,1,1,", "media_type: 'film' is none of: video, live"),
    ("2023-02-30,v1,c1,video,1,1,", "started_at: '2023-02-30' is no date or time in ISO 8601 form"),
    ("01/07/2023,v1,c1,video,1,1,", "started_at: '01/07/2023' is no date or time in ISO 8601 form"),
    ("2023-07-01T05:00+99:00,v1,c1,video,1,1,", "started_at: '2023-07-01T05:00+99:00' is no date or time"),
    ("2023-07-01T05:00+05:75,v1,c1,video,1,1,", "started_at: '2023-07-01T05:00+05:75' is no date or time"),
    ("infinity,v1,c1,video,1,1,", "started_at: 'infinity' is no date or time in ISO 8601 form"),
    ("9999-01-01,v1,c1,video,1,1,", "started_at: '9999-01-01' is out of range"),
    ("2023-07-01,v1,c1,video,1", "it has 5 fields, the header has 7"),
    ('2023-07-01,v1,c1,video,1,1,"a"b', "a stray quote"),
    ("2023-07-01,v1,c1,video,1,1,a\0b", "it holds a NUL character"),
    ("2023-07-01,v1,c1,video,1,1," + "x" * 20_000, "visitor_page_url: is longer than 16384 bytes"),
]


@pytest.mark.long
@pytest.mark.parametrize(("line", "reason"), BAD_ROWS)
def test_a_bad_row_is_rejected_with_its_line_and_reason(tmp_path: Path, root: Path, line: str, reason: str) -> None:
    """The good rows around a bad one land; the bad one is in the reject file, raw and explained."""
    path = tmp_path / "a.csv"
    path.write_text(HEADER + GOOD + line + "\n" + GOOD, newline="")
    done = load(root, "plays", [path])
    assert (done.rows, done.rejects) == (2, 1)
    ((number, told),) = _reasons(done.rejects_file)
    assert number == 3
    assert told.startswith(reason)


def test_bad_rows_are_rejected_with_their_lines_and_reasons(tmp_path: Path, root: Path) -> None:
    """So are all of them in one file, with good rows between."""
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "".join(f"{line}\n{GOOD}" for line, _ in BAD_ROWS), newline="")
    done = load(root, "plays", [path])
    assert (done.rows, done.rejects) == (len(BAD_ROWS), len(BAD_ROWS))
    _hold_reasons(done.rejects_file, 2, BAD_ROWS)


def test_every_problem_of_a_row_is_told(tmp_path: Path, root: Path) -> None:
    """A row with several problems has them all in one reason, and its raw fields as JSON."""
    path = tmp_path / "a.csv"
    path.write_text(HEADER + GOOD + '2023-07-01,,c1,"f,""x""",-1,1,\n')
    done = load(root, "plays", [path])
    assert done.rejects_file is not None
    with done.rejects_file.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["reason"].split("; ") == [
        "video_id: is empty, and must not be",
        "media_type: 'f,\"x\"' is none of: video, live",
        "views: '-1' is less than 0",
    ]
    assert json.loads(row["raw"])["media_type"] == 'f,"x"'


def test_an_unclosed_quote_costs_its_own_line_only(tmp_path: Path, root: Path) -> None:
    """The lines that a stray quote would swallow are read as the rows that they are."""
    path = tmp_path / "a.csv"
    path.write_text(HEADER + GOOD + '2023-07-01,v2,c1,video,1,1,"open\n' + GOOD * 30_000)
    done = load(root, "plays", [path])
    assert done.rows == 30_001
    assert _reasons(done.rejects_file) == [(3, "a quote is opened and not closed")]


def test_line_breaks_inside_quotes_are_text(tmp_path: Path, root: Path, ask: Callable[..., object]) -> None:
    """A quoted field may hold line breaks, commas and doubled quotes, and later lines keep their numbers."""
    path = tmp_path / "a.csv"
    path.write_text(HEADER + '2023-07-01,v1,c1,video,1,1,"a\n\n""b"",c"\n\n' + "2023-07-01,v1\n")
    done = load(root, "plays", [path])
    assert ask("plays", "SELECT visitor_page_url FROM t") == [('a\n\n"b",c',)]
    assert _reasons(done.rejects_file) == [(6, "it has 2 fields, the header has 7")]


def test_bytes_that_are_not_utf8_cost_their_line(tmp_path: Path, root: Path) -> None:
    """A line in another encoding is rejected by itself, with the byte that shows it."""
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER.encode() + GOOD.encode() + "2023-07-01,é,c1,video,1,1,\n".encode("latin-1"))
    done = load(root, "plays", [path])
    assert _reasons(done.rejects_file) == [(3, "it is not UTF-8 (byte 0xe9 at 12)")]


BAD_LINES = [
    ("[1]", "it is no JSON object"),
    ('"it is no row"', "it is no"),
    ("{", "it is no JSON: "),
    ('{"day":"2023-07-01","owner_channel_id":"c","eur":1,"usd":{"a":1}}', "usd: a value that is nested"),
    ('{"day":"2023-07-01","owner_channel_id":"c","eur":true,"usd":1}', "eur: a value that is true or false"),
    ('{"day":"2023-07-01","owner_channel_id":"c","eur":NaN,"usd":1}', "eur: 'NaN' is no decimal number"),
    ('{"day":"2023-07-01","owner_channel_id":"c","eur":1,"usd":1,"gbp":1}', "unknown column 'gbp'"),
    ('{"day":"2023-07-01","owner_channel_id":"c","eur":1' + "0" * 30 + ',"usd":1}', "eur: '1000"),
    ('{"day":"2023-07-01","owner_channel_id":"c","eur":0.0000001,"usd":1}', "eur: '0.0000001' has more than 6"),
    (
        '{"day":"2023-07-01","owner_channel_id":"c","eur":1,"eur":2,"usd":1}',
        "eur: the line has this key more than once",
    ),
    (
        '{"day": "2023-07-01", "owner_channel_id": "c", "usd" : 1, "eur": 1, "usd" : 1}',
        "usd: the line has this key",
    ),
    ("[" * 100_000, "it is nested too deep"),
    (
        r'{"day":"2023-07-01","owner_channel_id":"\ud83d","eur":1,"usd":1}',
        "owner_channel_id: it holds half a char",
    ),
    (r'{"day":"2023-07-01","owner_channel_id":"a\u0000b","eur":1,"usd":1}', "owner_channel_id: it holds a NUL"),
    (r'{"day":"2023-07-01","owner_channel_id":"c","eur":1,"usd":1,"\udc00":1}', "unknown column '"),
    ('{"day":"2023-07-01","owner_channel_id":"c","eur":' + "9" * 5000 + ',"usd":1}', "eur: '9999"),
]


def test_bad_lines_of_ndjson_are_rejected_beside_each_other(tmp_path: Path, root: Path) -> None:
    """So are all of them in one file, with good lines between."""
    path, good = tmp_path / "e.ndjson", '{"day":"2023-07-01","owner_channel_id":"c1","eur":1,"usd":1}'
    path.write_text("".join(f"{line}\n{good}\n" for line, _ in BAD_LINES))
    done = load(root, "earnings", [path])
    assert done.rows == len(BAD_LINES)
    _hold_reasons(done.rejects_file, 1, BAD_LINES)


def test_rejected_rows_of_parquet_tell_their_row_and_file(tmp_path: Path, root: Path) -> None:
    """The line of a Parquet row is its number in its own file, from 1."""
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, views in zip(paths, ([1, 2], [3, -4]), strict=True):
        rows = pa.table(
            {
                "started_at": pa.array([date(2023, 7, 1)] * 2),
                "video_id": ["v", "w"],
                "owner_channel_id": ["c", "c"],
                "media_type": ["video"] * 2,
                "views": views,
                "time_watched_seconds": [0, 0],
            }
        )
        pq.write_table(rows, path)
    done = load(root, "plays", paths, rejects=tmp_path / "bad.csv")
    assert done.rejects_file == tmp_path / "bad.csv"
    with done.rejects_file.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["line"], row["reason"]) == (str(paths[1]), "2", "views: '-4' is less than 0")


def test_strict_refuses_the_whole_batch_and_still_lists_its_bad_rows(tmp_path: Path, root: Path) -> None:
    """With strict nothing lands when one row is bad, and the reject file says which."""
    path = tmp_path / "a.csv"
    path.write_text(HEADER + GOOD + "x\n")
    with pytest.raises(BadInput, match="1 of 2 rows can't be taken"):
        load(root, "plays", [path], strict=True)
    (made,) = tmp_path.glob("a.csv.*.rejects.csv")
    assert _reasons(made) == [(3, "it has 1 field, the header has 7")]
    assert pin(root, ["plays"]).versions["plays"] == -1
    assert not list(root.rglob("*.parquet"))


def test_a_batch_of_only_bad_rows_is_refused(tmp_path: Path, root: Path) -> None:
    """A load that can take nothing doesn't count as a load."""
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "x\ny\n")
    with pytest.raises(BadInput, match="2 of 2 rows"):
        load(root, "plays", [path])


def _cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def _parquet(tmp_path: Path) -> bytes:
    path = tmp_path / "made"
    numbers = [str(n) for n in range(1000)]
    pq.write_table(pa.table({"id": numbers, "slug": numbers}), path)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b"\n \n", "is empty"),
        ("header.csv", b"id,slug\n", "there are no rows"),
        ("utf16.csv", "id,slug\n1,a\n".encode("utf-16"), "UTF-16"),
        ("utf16le.csv", "id,slug\n1,a\n".encode("utf-16-le"), "UTF-16"),
        ("book.xlsx", b"PK\x03\x04\x14\x00\x06\x00[Content_Types].xml\n", "is a workbook: save its sheet as CSV"),
        ("book.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504, "is a workbook: save its sheet as CSV"),
        ("july.csv", b"PK\x03\x04\x14\x00\x06\x00july.csv\n", "is a ZIP archive: unpack it"),
        ("semi.csv", b"id;slug\n1;a\n", "separated by semicolons"),
        ("twice.csv", b"id,slug,id\n1,a,2\n", "the header names 'id' more than once"),
        ("quote.csv", b'"id,slug\n1,a\n', "the header can't be read"),
        (
            "cut.csv.gz",
            _cut(gzip.compress(b"id,slug\n" + bytes(str(list(range(9000))), "ascii"), mtime=0)),
            "cut or damaged",
        ),
        ("crc.csv.gz", gzip.compress(b"id,slug\n1,a\n", mtime=0)[:-8] + b"\0" * 8, "cut or damaged"),
        ("cut.csv.zst", _cut(pa.Codec("zstd").compress(b"id,slug\n1,a\n" * 999, asbytes=True)), "cut or damaged"),
        ("list.json", b'[{"id":"1","slug":"a"}]', "write one object a line"),
        ("fake.parquet", b"PAR2\0\1\2", "is no Parquet file"),
        ("cut.parquet", b"\x15\x04\x15\xfe\xff", "is no Parquet file"),
        ("list.csv", b'[\n  {"id":"1","slug":"a"}]', "write one object a line"),
        ("none.ndjson", b"1\n2\n", "no line holds a JSON object"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name(
    tmp_path: Path, root: Path, name: str, content: bytes, told: str
) -> None:
    """An unreadable file says what is wrong with it, and nothing lands."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(root, "channels", [path])
    assert told in str(caught.value)
    assert name in str(caught.value)
    assert pin(root, ["channels"]).versions["channels"] == -1


@pytest.mark.parametrize("damage", ["cut", "body", "footer", "name"])
def test_damaged_parquet_is_refused(tmp_path: Path, root: Path, damage: str) -> None:
    """Parquet that is cut, or damaged in its pages, its footer or a name there, is refused whole."""
    content = _parquet(tmp_path)
    match damage:
        case "cut":
            content = _cut(content)
        case "body":
            content = content[:8] + b"\xff" * 900 + content[908:]
        case "footer":
            content = content[:-200] + b"\xff" * 150 + content[-50:]
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    if damage == "name":
        rot_name(path, "slug")
    with pytest.raises(BadInput):
        load(root, "channels", [path])
    assert pin(root, ["channels"]).versions["channels"] == -1


@pytest.mark.parametrize("mapping", ["", "SELECT * FROM input"])
def test_a_file_with_damaged_pages_is_named(tmp_path: Path, root: Path, mapping: str) -> None:
    """Of several Parquet files the one that can't be read to its end is told, mapped or not, loaded or only shown."""
    content = _parquet(tmp_path)
    third = len(content) // 3
    (tmp_path / "sound.parquet").write_bytes(content)
    (tmp_path / "ill.parquet").write_bytes(content[:40] + bytes(b ^ 255 for b in content[40:third]) + content[third:])
    (tmp_path / "map.sql").write_text(mapping)
    paths, by = [tmp_path / "sound.parquet", tmp_path / "ill.parquet"], tmp_path / "map.sql" if mapping else None
    said = f"{paths[1]}: the Parquet file is damaged and can't be read to its end"
    with pytest.raises(BadInput, match=f"^{re.escape(said)}$"):
        load(root, "channels", paths, mapping=by)
    with pytest.raises(BadInput, match=f"^{re.escape(said)}$"):
        preview(root, "channels", paths, mapping=by, count=5000)


def test_the_problems_of_all_files_are_told_together(tmp_path: Path, root: Path) -> None:
    """Every bad file is named in one refusal, with what it is."""
    paths = [tmp_path / "none.csv", tmp_path / "empty.csv", Path("-"), Path("/dev/null"), tmp_path / f"{'x' * 300}.csv"]
    paths[1].touch()
    with pytest.raises(BadInput) as caught:
        load(root, "plays", paths)
    assert str(caught.value).splitlines() == [
        f"{paths[0]}: there is no such file",
        f"{paths[1]} is empty",
        "- would be standard input, which a load can't read more than once: write it to a file, and load that",
        "/dev/null is no regular file: write what it gives to a file, and load that",
        f"{paths[4]} can't be read: File name too long",
    ]


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path, root: Path) -> None:
    """A file that is one endless line is refused by name before it fills the memory."""
    path = tmp_path / "long.csv.gz"
    path.write_bytes(gzip.compress(b"id,slug\n" + b"x" * (1 << 26), 1))
    with pytest.raises(BadInput, match="line 2 is longer than 16 MiB"):
        load(root, "channels", [path])


def test_a_nul_character_is_refused_in_parquet_too(tmp_path: Path, root: Path) -> None:
    """A text or a tag that holds a NUL is a bad row in every form of file: a CSV report could not be read with it."""
    path = tmp_path / "v.parquet"
    owners, tags = ["c1", "c\0", "c1"], [["a"], ["a"], ["a", "\0"]]
    pq.write_table(pa.table({"id": ["1", "2", "3"], "owner_channel_id": owners, "tags": tags}), path)
    done = load(root, "videos", [path])
    assert _reasons(done.rejects_file) == [
        (2, "owner_channel_id: it holds a NUL character"),
        (3, "tags: it holds a NUL character"),
    ]


def test_parquet_columns_of_one_name_but_for_its_case_are_told_by_their_names(tmp_path: Path, root: Path) -> None:
    """The engine would give one of them a name that is in no file."""
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"id": ["1"], "slug": ["a"], "Slug": ["b"]}), path)
    with pytest.raises(BadInput, match="names 'Slug', 'slug' more than once"):
        load(root, "channels", [path])


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("5.0", 5),
        ("1234.00", 1234),
        ("5.000000", 5),
        ("0.000", 0),
        ("1234.000", 1234),
        ("12345.000", 12345),
        ("2.000", None),
        ("12.000", None),
        ("123.000", None),
    ],
)
def test_a_point_before_three_zeros_may_be_one_of_thousands(
    root: Path, ask: Callable[..., object], plays: Callable[..., Path], text: str, views: int | None
) -> None:
    """Where a program writes 2,000 as 2.000, its 2.345 is rejected: 2.000 must not pass as 2.

    No thousands are written as 0.000 or 1234.000: a program of three fixed digits wrote those.
    """
    done = load(root, "plays", [plays("a.csv", ("2023-07-01", "v1", "c1", 1), ("2023-07-01", "v2", "c1", text))])
    if views is not None:
        assert ask("plays", "SELECT views FROM t WHERE video_id = 'v2'") == [(views,)]
        return
    assert (done.rows, done.rejects) == (1, 1)
    ((_, reason),) = _reasons(done.rejects_file)
    assert reason == (
        f"views: '{text}' may have a decimal point (2.000 is 2) or one of thousands (2.000 is 2000): write it without"
    )
