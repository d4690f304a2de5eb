"""Which files are read together, by what is in them: of one format, and with the same columns in any order."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import open_workspace
from reelport.facts.input.csv_and_ndjson import read_batches, read_header
from reelport.facts.input.files import FileFormat, InputFile, ProgressMeter, detect_format
from reelport.facts.input.sources import ReaderFailure, Reading, make_sources
from reelport.facts.loading.load import load
from reelport.facts.tables import find_table

Ask = Callable[..., list[tuple[object, ...]]]
ROW = {
    "started_at": "2023-07-01T05:00:00Z",
    "video_id": "v1",
    "owner_channel_id": "c1",
    "media_type": "video",
    "views": "3",
    "time_watched_seconds": "7",
}


def _write(folder: Path, form: str, rows: Sequence[Mapping[str, str]]) -> list[Path]:
    paths = []
    for number, row in enumerate(rows):
        path = folder / f"{number}.{form}"
        if form == "csv":
            path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
        else:
            path.write_text(json.dumps(row) + "\n")
        paths.append(path)
    return paths


def _count_sources(root: Path, paths: Sequence[Path]) -> int:
    files = detect_format(paths)
    with open_workspace(root, "1GB") as space:
        reading = Reading(space, lambda *_: None, ReaderFailure(), ProgressMeter(files, None))
        return len(make_sources(reading, find_table("plays"), files))


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_columns_in_another_order_make_no_further_source(tmp_path: Path, root: Path, ask: Ask, form: str) -> None:
    """Each source takes memory and time of its own: many files would be slower by the file."""
    rows = [dict(list(ROW.items())[at:] + list(ROW.items())[:at]) | {"views": str(at + 1)} for at in range(6)]
    rows.append(dict(reversed(ROW.items())) | {"video_id": '"a,b"' if form == "csv" else "a,b"})
    paths = _write(tmp_path, form, rows)
    assert _count_sources(root, paths) == 1
    assert load(root, "plays", paths).rows == 7
    assert ask("plays", "SELECT video_id, owner_channel_id, sum(views), count(*) FROM t GROUP BY ALL ORDER BY 1") == [
        ("a,b", "c1", 3, 1),
        ("v1", "c1", 21, 6),
    ]


def test_optional_keys_of_ndjson_make_no_further_source(tmp_path: Path, root: Path, ask: Ask) -> None:
    """Its first object shows which keys a file has, but any of the table's may come in any line."""
    more: list[dict[str, str]] = [{}, {"visitor_country": "FR"}, {"player_id": "p"}, {"player_id": "p", "viewer": "x"}]
    paths = _write(tmp_path, "ndjson", [one | ROW for one in more])
    assert _count_sources(root, paths) == 1
    load(root, "plays", paths)
    assert ask("plays", "SELECT count(*), count(visitor_country), count(player_id), count(viewer) FROM t") == [
        (4, 1, 2, 1)
    ]


def test_a_bad_row_is_told_by_the_columns_of_its_own_file(tmp_path: Path, root: Path) -> None:
    """A cell is read under its own header, and a line with too few fields is that file's."""
    paths = _write(tmp_path, "csv", [ROW, dict(reversed(ROW.items())) | {"views": "x"}])
    with paths[1].open("a") as file:
        file.write("1,2\n")
    done = load(root, "plays", paths)
    assert done.rejects_file is not None
    with done.rejects_file.open(newline="") as file:
        told = [(row["file"], row["line"], row["reason"]) for row in csv.DictReader(file)]
    assert told == [
        (str(paths[1]), "2", "views: 'x' is no whole number"),
        (str(paths[1]), "3", "it has 2 fields, the header has 6"),
    ]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_wrong_columns_are_told_of_their_files(tmp_path: Path, root: Path, form: str) -> None:
    """Each unknown column with its file, and what a CSV lacks."""
    wrong = {"vues": "1"} | {name: value for name, value in ROW.items() if name != "views"}
    paths = _write(tmp_path, form, [ROW, wrong])
    with pytest.raises(BadInput) as caught:
        load(root, "plays", paths)
    told = str(caught.value).splitlines()
    assert told[0] == f"{paths[1]}: unknown column 'vues' (did you mean views?)"
    assert (f"{paths[1]}: column views is missing" in told) is (form == "csv")


def test_columns_in_the_names_of_folders_are_told(tmp_path: Path, root: Path) -> None:
    """Files of a Hive or Spark partition lack them: the refusal says where they are, and what to do."""
    folder = tmp_path / "export" / "started_at=2023-07-01" / "visitor_country=FR"
    folder.mkdir(parents=True)
    paths = _write(folder, "csv", [{name: cell for name, cell in ROW.items() if name != "started_at"}])
    with pytest.raises(BadInput, match="column started_at is missing") as caught:
        load(root, "plays", paths)
    assert "names of folders (started_at, visitor_country: partitions of Hive or Spark) aren't read" in str(
        caught.value
    )


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_column_that_may_be_empty_is_not_lost_in_the_name_of_a_folder(
    tmp_path: Path, root: Path, ask: Ask, form: str
) -> None:
    """Else each row would land without its country, and nobody would know; a mapping says what it leaves out."""
    folder = tmp_path / "export" / "visitor_country=FR"
    folder.mkdir(parents=True)
    (path,) = _write(folder, form, [ROW])
    with pytest.raises(BadInput, match=r"names of folders \(visitor_country: partitions .*\) aren't read"):
        load(root, "plays", [path])
    mapping = tmp_path / "map.sql"
    mapping.write_text("SELECT *, 'FR' AS visitor_country FROM input")
    load(root, "plays", [path], mapping=mapping)
    assert ask("plays", "SELECT visitor_country FROM t") == [("FR",)]
    (whole,) = _write(folder, form, [ROW | {"visitor_country": "DE"}])
    load(root, "plays", [whole])
    assert ask("plays", "SELECT visitor_country FROM t ORDER BY ALL") == [("DE",), ("FR",)]


@pytest.mark.long
@pytest.mark.parametrize("name", ["c.csv", "c.ndjson", "c.json", "c.parquet", "c.txt", "c"])
@pytest.mark.parametrize(
    "content",
    [
        b"id,slug\n1,a\n",
        b"\xef\xbb\xbfid,slug\n1,a\n",
        b'{"id":"1","slug":"a"}\n',
        b'\n {"slug":"a","id":"1"}',
        gzip.compress(b'{"id":"1","slug":"a"}\n'),
        b"",
    ],
    ids=["CSV", "marked CSV", "NDJSON", "NDJSON behind blanks", "packed NDJSON", "Parquet"],
)
def test_what_a_file_is_is_read_off_its_first_bytes(tmp_path: Path, root: Path, name: str, content: bytes) -> None:
    """Whatever its name ends with: the same row is loaded."""
    path = tmp_path / name
    path.write_bytes(content)
    if not content:
        pq.write_table(pa.table({"id": ["1"], "slug": ["a"]}), path)
    assert load(root, "channels", [path]).rows == 1


def test_a_header_in_brackets_is_no_json_list(tmp_path: Path, root: Path) -> None:
    """Some databases write names so: it is a CSV, with columns of other names."""
    path = tmp_path / "c"
    path.write_text("[id],[slug]\n1,a\n")
    with pytest.raises(BadInput, match=r"unknown column '\[id\]'"):
        load(root, "channels", [path])


Cells = Sequence[Sequence[str]]
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=settings().max_examples * 5 // 2)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_every_text_survives_csv(rows: Cells, quoting: int, ending: str) -> None:
    """Whatever a writer of RFC 4180 wrote is read as it was: quotes, commas, line ends and all scripts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=quoting, lineterminator=ending)  # type: ignore[arg-type]
            if quoting == csv.QUOTE_MINIMAL:
                # Python's writer leaves a bare carriage return unquoted, which is no CSV.
                rows = [[cell.replace("\r", "") for cell in row] for row in rows]
            writer.writerows([("a", "b", "c"), *rows])
        found = InputFile(path, FileFormat.CSV, None, (0, 0, 0))
        refused: list[object] = []
        names = read_header(found)
        read = [
            tuple(row[name] for name in names)
            for batch in read_batches(
                [(0, found)], names, lambda *bad: refused.append(bad), ProgressMeter([found], lambda _: None)
            )
            for row in batch.to_pylist()
        ]
    assert refused == []
    assert read == [tuple(row) for row in rows]
