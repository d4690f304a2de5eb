"""Foreign shapes by SQL: what a mapping may do, and everything that it may not."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cases import thin_out

from reelport.errors import BadInput
from reelport.facts.loading.load import load
from reelport.facts.loading.preview import preview
from reelport.facts.log.snapshot import pin

Ask = Callable[..., list[tuple[object, ...]]]
PLAYS_OF_EXPORT = """-- daily hits, told twice so that the input is read twice
WITH daily AS (SELECT video, strptime("date", '%y.%d.%m') AS day, CAST(hits AS BIGINT) AS hits FROM input)
SELECT one.day AS started_at, one.video AS video_id, 'c1' AS owner_channel_id, 'video' AS media_type,
       one.hits - other.hits AS views, 0 AS time_watched_seconds
FROM daily AS one JOIN daily AS other ON one.video = other.video AND other.day = one.day - INTERVAL 1 DAY;
"""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text("date,video,hits,note\n" + '17.14.11,v1,10,\n17.15.11,v1,25,"a, b"\n17.16.11,v1,20,\n')
    return path


def _map(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "map.sql"
    path.write_text(text)
    return path


def test_a_mapping_makes_rows_and_its_bad_ones_are_rejected_by_number(
    tmp_path: Path, root: Path, ask: Ask, export: Path
) -> None:
    """The mapping reads its input as often as it likes; a row of its output that is bad is rejected."""
    done = load(root, "plays", [export], mapping=_map(tmp_path, PLAYS_OF_EXPORT))
    assert (done.rows, done.rejects) == (1, 1)
    assert ask("plays", "SELECT started_at, video_id, views FROM t") == [(datetime(2017, 11, 15, tzinfo=UTC), "v1", 15)]
    assert done.rejects_file is not None
    assert "views: '-5' is less than 0" in done.rejects_file.read_text()
    assert load(root, "plays", [export], mapping=_map(tmp_path, PLAYS_OF_EXPORT)).already


def test_a_rejected_row_of_a_mapping_is_of_no_line_of_a_file(tmp_path: Path, root: Path, export: Path) -> None:
    """It is told, and listed, as a row of the mapping's output; a line that never got to the mapping by its file."""
    export.write_text(export.read_text() + "17.17.11,v1\n")
    with pytest.raises(BadInput) as caught:
        load(root, "plays", [export], mapping=_map(tmp_path, PLAYS_OF_EXPORT), strict=True)
    told = str(caught.value).splitlines()
    assert re.fullmatch("  row [12] of the mapping's output: views: '-5' is less than 0", told[2])
    assert told[1] == f"  {export} line 5: it has 2 fields, the header has 4"
    (made,) = tmp_path.glob("export.csv.*.rejects.csv")
    with made.open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(export), "the mapping's output"]


@pytest.mark.parametrize("text", ["SELECT * FROM inputt", "SELECT id,\n nope FROM input", "SELECT sum(a, b FROM input"])
def test_an_error_of_a_mapping_shows_no_sql_but_its_own(tmp_path: Path, root: Path, export: Path, text: str) -> None:
    """The statement that the mapping is put into is nobody's business."""
    with pytest.raises(BadInput) as caught:
        load(root, "channels", [export], mapping=_map(tmp_path, text))
    assert "_reelport" not in str(caught.value)
    assert "CREATE" not in str(caught.value)


def test_the_mapping_is_part_of_the_batch(tmp_path: Path, root: Path, export: Path) -> None:
    """The same files by another mapping are another batch."""
    first = load(root, "plays", [export], mapping=_map(tmp_path, PLAYS_OF_EXPORT))
    second = load(root, "plays", [export], mapping=_map(tmp_path, PLAYS_OF_EXPORT.replace("c1", "c2")))
    assert first.batch != second.batch


def test_a_mapping_reads_csv_as_text_and_other_forms_as_they_are(tmp_path: Path, root: Path, ask: Ask) -> None:
    """Nothing is guessed of a CSV; Parquet and NDJSON keep their types, nested ones too."""
    csv, ndjson, parquet = tmp_path / "a.csv", tmp_path / "a.ndjson.gz", tmp_path / "a.parquet"
    csv.write_text("n\n007\n")
    ndjson.write_bytes(gzip.compress(b'{"n": {"deep": ["007"]}}\n'))
    pq.write_table(pa.table({"n": [7]}), parquet)
    for path, value in ((csv, "n"), (ndjson, "n.deep[1]"), (parquet, "printf('%03d', n)")):
        load(
            root,
            "channels",
            [path],
            mapping=_map(tmp_path, f"SELECT {value} AS id, '{path.suffix}' AS slug FROM input"),
        )
        assert ask("channels", "SELECT id, slug FROM t") == [("007", path.suffix)]


def test_a_mapping_may_give_json_for_texts(tmp_path: Path, root: Path, ask: Ask) -> None:
    """NDJSON whose values are of several types is JSON to the engine: a text has no quotes, null is an empty cell."""
    path = tmp_path / "v.ndjson"
    objects = [{"v": 1, "n": None, "t": ["a", 1, None]}, {"v": "2", "n": "b", "t": ["c"]}, {"v": "3", "n": {}, "t": []}]
    objects += [{"v": "4", "n": "d", "t": ["e", {"k": 1}]}, {"v": None, "n": "f", "t": None}]
    path.write_text("".join(json.dumps(each) + "\n" for each in objects))
    text = "SELECT to_json(v) AS id, 'c' AS owner_channel_id, to_json(n) AS title, t AS tags FROM input"
    done = load(root, "videos", [path], mapping=_map(tmp_path, text))
    assert ask("videos", "SELECT id, title, tags FROM t ORDER BY id") == [("1", None, ["a", "1"]), ("2", "b", ["c"])]
    assert done.rejects_file is not None
    with done.rejects_file.open(newline="") as file:
        reasons = {row["line"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons["3"] == "title: '{}' is nested, where texts should be"
    assert reasons["4"].endswith("is nested, where texts should be")
    assert reasons["5"] == "id: is empty, and must not be"


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
def test_the_name_of_a_folder_is_no_column(tmp_path: Path, root: Path, ask: Ask, form: str) -> None:
    """What the rows say counts, whatever folder their file lies in: else they would be of another owner."""
    path = tmp_path / "owner_channel_id=other" / f"v.{form}"
    path.parent.mkdir()
    duckdb.sql(
        f"COPY (SELECT 'v' AS id, 'mine' AS owner_channel_id) TO '{path}'{' (FORMAT json)' * (form == 'ndjson')}"
    )
    load(root, "videos", [path], mapping=_map(tmp_path, "SELECT * FROM input"))
    assert ask("videos", "SELECT owner_channel_id FROM t") == [("mine",)]


@pytest.mark.parametrize(("tags", "expected"), [('"a|b"', ["a", "b"]), ('["a", "b"]', ["a", "b"]), ("null", None)])
def test_tags_may_be_one_json_value(
    tmp_path: Path, root: Path, ask: Ask, tags: str, expected: list[str] | None
) -> None:
    """A text of JSON is divided as any text, without its quotes; an array is a list."""
    path = tmp_path / "v.ndjson"
    path.write_text(f'{{"tags": {tags}}}\n')
    text = "SELECT 'v' AS id, 'c' AS owner_channel_id, to_json(tags) AS tags FROM input"
    load(root, "videos", [path], mapping=_map(tmp_path, text))
    assert ask("videos", "SELECT tags FROM t") == [(expected,)]


@pytest.mark.long
@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize(
    ("order", "counts"), [("", "late"), ("ORDER BY seen", "late"), ("ORDER BY seen DESC", "early"), ("UNION", "early")]
)
def test_of_objects_with_one_id_the_last_one_of_the_mapping_s_order_counts(
    tmp_path: Path, root: Path, ask: Ask, form: str, order: str, counts: str
) -> None:
    """A mapping that has no order has the file's; a bad row is told by its line all the same."""
    path, size = tmp_path / f"v.{form}", 3000
    rows = [{"id": str(at), "seen": seen} for seen in ("early", "late") for at in range(size)] + [
        {"id": "", "seen": "x"}
    ]
    match form:
        case "csv":
            path.write_text("id,seen\n" + "".join(f"{row['id']},{row['seen']}\n" for row in rows))
        case "ndjson":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case _:
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=500)
    text = "SELECT id, 'c' AS owner_channel_id, seen AS title FROM input "
    text += f"UNION ALL {text} WHERE seen = 'early'" if order == "UNION" else order
    done = load(root, "videos", [path], mapping=_map(tmp_path, text))
    assert ask("videos", "SELECT title, count(*) FROM t GROUP BY 1") == [(counts, size)]
    assert done.rejects == 1


@pytest.mark.long
@pytest.mark.parametrize("order", ["day DESC", "COLUMNS('day')"])
def test_of_objects_that_an_order_leaves_even_the_last_one_of_the_file_counts(
    tmp_path: Path, root: Path, ask: Ask, order: str
) -> None:
    """The engine sorts so many rows in pieces of its own, and puts even ones as they come."""
    path, size = tmp_path / "v.csv", 130_000
    rows = (f"{at},{seen},2026-10-02\n" for seen in ("early", "late") for at in range(size))
    path.write_text("id,seen,day\n" + "".join(rows))
    text = f"SELECT id, 'c' AS owner_channel_id, seen AS title FROM input ORDER BY {order}"
    load(root, "videos", [path], mapping=_map(tmp_path, text))
    assert ask("videos", "SELECT title, count(*) FROM t GROUP BY 1") == [("late", size)]


def test_texts_that_a_mapping_gives_are_cast_by_the_rules_of_columns(tmp_path: Path, root: Path, export: Path) -> None:
    """A mapping may leave numbers and times as text; what can't be cast is rejected."""
    text = """
        SELECT '2017-11-14' AS started_at, video AS video_id, 'c' AS owner_channel_id, 'video' AS media_type,
               hits || note AS views, '0' AS time_watched_seconds
        FROM input
    """
    done = load(root, "plays", [export], mapping=_map(tmp_path, text))
    assert (done.rows, done.rejects) == (2, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    thin_out(
        [
            ("SELECT 1; SELECT 2", "holds 2 statements"),
            ("", "holds 0 statements"),
            ("DROP TABLE input", "holds a DROP"),
            ("COPY (SELECT 1) TO 'x.csv'", "holds a COPY"),
            ("SELECT FROM WHERE", "can't be understood"),
            ("SELECT * FROM inputt", "can't be run"),
            ("SELECT id, nope FROM input", "can't be run"),
            ("SELECT video AS id FROM input", "column slug is missing"),
            ("SELECT video AS id, 's' AS slug, 1 AS nam FROM input", "unknown column 'nam' (did you mean name?)"),
            ("SELECT video AS id, true AS slug FROM input", "column slug holds BOOLEAN, where text should be"),
            (
                "SELECT video AS id, error('no') AS slug FROM input",
                "the mapping can't be run to its end: Invalid Input Error: no",
            ),
            (
                "SELECT video AS id, CAST(video AS INTEGER) AS slug FROM input",
                "the mapping can't be run to its end: Conv",
            ),
        ],
        3,
        nightly=True,
    ),
)
def test_a_wrong_mapping_is_explained(tmp_path: Path, root: Path, export: Path, text: str, told: str) -> None:
    """Whatever is wrong with a mapping is told before anything lands."""
    with pytest.raises(BadInput) as caught:
        load(root, "channels", [export], mapping=_map(tmp_path, text))
    assert told in str(caught.value)
    assert pin(root, ["channels"]).versions["channels"] == -1


@pytest.mark.parametrize(
    "source",
    [
        "read_csv('/etc/passwd')",
        "read_text('/etc/passwd')",
        "'/etc/passwd'",
        "glob('/etc/*')",
        "read_blob('{root}/../other.csv')",
        "read_parquet('https://127.0.0.1/x.parquet')",
        "sniff_csv('/etc/passwd')",
        "names",
    ],
)
def test_a_mapping_reaches_nothing_but_its_input(tmp_path: Path, root: Path, export: Path, source: str) -> None:
    """No other file, no network and no variable of the program can be read by a mapping."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other.csv").write_text("secret\n1\n")
    text = f"SELECT 'a' AS id, CAST(count(*) AS VARCHAR) AS slug FROM {source.format(root=root)}"
    with pytest.raises(BadInput):
        load(root, "channels", [export], mapping=_map(tmp_path, text))


def test_a_dry_run_shows_the_first_rows_and_loads_none(tmp_path: Path, root: Path, export: Path) -> None:
    """Rows are shown as they would land, each bad one with its reason."""
    shown = preview(root, "plays", [export], mapping=_map(tmp_path, PLAYS_OF_EXPORT), count=5)
    assert sorted((row["started_at"], row["problem"]) for row in shown.rows) == [
        ("2017-11-15 00:00:00+00", None),
        ("2017-11-16 00:00:00+00", "views: '-5' is less than 0"),
    ]
    assert pin(root, ["plays"]).versions["plays"] == -1


@pytest.mark.long
def test_a_mapping_may_spill(tmp_path: Path, root: Path) -> None:
    """A mapping that sorts more than its memory holds spills, locked in as it is."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": pa.array(range(300_000))}), path)
    text = "SELECT md5(CAST(n AS VARCHAR)) AS id, sha256(CAST(n AS VARCHAR)) AS slug FROM input"
    done = load(root, "channels", [path], mapping=_map(tmp_path, text), memory="80MB", threads=1)
    assert done.rows == 300_000


BAD_LINES = {
    b'{"n": 1': "it is no JSON",
    b"[1]": "it is no JSON object",
    b"\xff": "it is not UTF-8",
    b'{"n": "\\ud800"}': "it is no JSON that can be taken",
}


@pytest.mark.parametrize("bad", thin_out(BAD_LINES, 2, nightly=True))
def test_a_line_that_is_no_object_is_set_aside_by_its_number(tmp_path: Path, root: Path, ask: Ask, bad: bytes) -> None:
    """One bad line of NDJSON does not cost a mapping the others, packed or not."""
    plain, packed = tmp_path / "a.ndjson", tmp_path / "b.ndjson.gz"
    lines = b'{"n": "a"}\n\n' + bad + b'\n{"n": "b"}'
    plain.write_bytes(lines)
    packed.write_bytes(gzip.compress(lines.replace(b'"b"', b'"c"')))
    for path in (plain, packed):
        done = load(root, "channels", [path], mapping=_map(tmp_path, "SELECT n AS id, n AS slug FROM input"))
        assert done.rejects == 1
        assert done.rejects_file is not None
        assert f"{path.name},3,{BAD_LINES[bad]}" in done.rejects_file.read_text().replace('"', "")
    assert ask("channels", "SELECT id FROM t ORDER BY id") == [("a",), ("b",), ("c",)]


def test_ndjson_without_an_object_is_refused(tmp_path: Path, root: Path) -> None:
    """Where no line is an object there is nothing to map."""
    path = tmp_path / "a.ndjson"
    path.write_text("{\n[1]\n")
    with pytest.raises(BadInput, match="no line holds a JSON object"):
        load(root, "channels", [path], mapping=_map(tmp_path, "SELECT 'a' AS id, 'b' AS slug FROM input"))


def test_a_key_without_a_name_costs_its_line_only(tmp_path: Path, root: Path, ask: Ask) -> None:
    """No column can be named by nothing: the line is rejected with that reason, as it is without a mapping."""
    path = tmp_path / "v.ndjson"
    path.write_text('{"video": "v1", "": 1}\n{"video": "v2"}\n')
    mapping = _map(tmp_path, "SELECT video AS id, 'c1' AS owner_channel_id FROM input")
    done = load(root, "videos", [path], mapping=mapping)
    assert done.rejects_file is not None
    assert f"{path},1,it has a key without a name" in done.rejects_file.read_text()
    assert ask("videos", "SELECT id FROM t") == [("v2",)]


def test_many_keys_of_one_type_are_columns(tmp_path: Path, root: Path, ask: Ask) -> None:
    """The engine would take such objects for maps of one column, and refuse them as records."""
    path = tmp_path / "v.ndjson"
    path.write_text(json.dumps({f"key{number}": f"v{number}" for number in range(500)}) + "\n")
    mapping = _map(tmp_path, "SELECT key499 AS id, key1 AS owner_channel_id FROM input")
    assert load(root, "videos", [path], mapping=mapping).rejects == 0
    assert ask("videos", "SELECT id, owner_channel_id FROM t") == [("v499", "v1")]


def test_ndjson_of_empty_objects_is_refused(tmp_path: Path, root: Path) -> None:
    """Objects without any key make no columns, which is a fault of the file's and told as one."""
    path = tmp_path / "v.ndjson"
    path.write_text("{}\n{}\n")
    with pytest.raises(BadInput, match="its objects make no table"):
        load(root, "videos", [path], mapping=_map(tmp_path, "SELECT 'v' AS id FROM input"))


@pytest.mark.parametrize("name", thin_out(["a[bc].parquet", "x*.parquet", "y?.parquet", "q'.parquet"], 2, nightly=True))
def test_a_file_name_with_glob_signs_is_one_file(tmp_path: Path, root: Path, ask: Ask, name: str) -> None:
    """The mapping reads that file, and none that its name would match as a pattern."""
    for each, video in ((name, "right"), ("ab.parquet", "b"), ("xy.parquet", "y"), ("yz.parquet", "z")):
        pq.write_table(pa.table({"video": [video]}), tmp_path / each)
    mapping = _map(tmp_path, "SELECT video AS id, 'c1' AS owner_channel_id FROM input")
    assert load(root, "videos", [tmp_path / name], mapping=mapping).rejects == 0
    assert ask("videos", "SELECT id FROM t") == [("right",)]


def test_a_quoted_name_keeps_its_line_ends(tmp_path: Path, root: Path, ask: Ask) -> None:
    """A mapping is read as it is written: a carriage return in a name is no other line end."""
    path, mapping = tmp_path / "v.csv", tmp_path / "map.sql"
    path.write_bytes(b'"the\r\nvideo"\nv1\n')
    mapping.write_bytes(b"SELECT \"the\r\nvideo\" AS id,\r\n 'c1' AS owner_channel_id FROM input\r\n")
    assert load(root, "videos", [path], mapping=mapping).rejects == 0
    assert ask("videos", "SELECT id FROM t") == [("v1",)]


def test_line_ends_of_a_mapping_make_no_other_batch(tmp_path: Path, root: Path, export: Path) -> None:
    """The same export through the same mapping, saved by another editor, is loaded already."""
    text = "SELECT video AS id,\n 'c1' AS owner_channel_id FROM input GROUP BY video\n"
    assert load(root, "videos", [export], mapping=_map(tmp_path, text)).rows == 1
    assert load(root, "videos", [export], mapping=_map(tmp_path, text.replace("\n", "\r\n"))).already
