"""A suggested mapping of a hostile export: its texts stay texts, its size costs little, the file is whole or absent."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests import forked
from tests.cases import thin_out

from reelport.cli.service_commands.facts_output import write_suggestion
from reelport.errors import BadInput
from reelport.facts.loading.load import load
from reelport.facts.mapping_suggestion import ExportColumn, Suggestion, format_map, suggest, suggest_for_files
from reelport.facts.tables import find_table

pytestmark = pytest.mark.long

ENDS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x00")
PIECES = (
    *ENDS,
    "date",
    "views",
    "country",
    " ",
    "--",
    "/*",
    "*/",
    '"',
    "'",
    ";",
    ",",
    "1 AS views,",
    "FROM input",
    "$$",
)
NAMES = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), min_size=1, max_size=8).map("".join)
SAMPLES = (("01/02/2026", "02/03/2026"), ("FR", "DE"), ("1,234", "5"), (), ("a\n1 AS views, --", "*/"))
SWALLOWING = "date\ncount, 'total' /*"


@cache
def _open_session() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def _parse(sql: str) -> tuple[list[str], str]:
    """Return the names of the items that a SELECT gives, and the table that it reads."""
    (text,) = _open_session().execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0]
    (statement,) = json.loads(text)["statements"]
    node = statement["node"]
    return [item["alias"] for item in node["select_list"]], node["from_table"]["table_name"]


def _suggest(names: Sequence[str], values: Sequence[Sequence[str]]) -> Suggestion:
    columns = [ExportColumn(name, "VARCHAR", tuple(some)) for name, some in zip(names, values, strict=False)]
    return suggest(_open_session(), find_table("plays"), [ExportColumn("video_id", "VARCHAR", ("v1",)), *columns])


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True), st.permutations(SAMPLES))
@example([SWALLOWING, "x */ "], SAMPLES)
@example(["date\rcount,"], SAMPLES)
@example(["date\n31337 AS views, 'video' AS media_type, /*"], SAMPLES)
def test_only_what_was_found_is_selected(names: list[str], values: Sequence[Sequence[str]]) -> None:
    """Whatever the names and cells of the export hold, the SQL gives the suggested columns of `input` alone."""
    found = _suggest(names, values)
    written = format_map(found, [Path(names[0])], Path("m\n.sql"))
    expected = [guess.column.name for guess in found.guesses]
    assert _parse(written) == (expected, "input")


@pytest.mark.parametrize("end", thin_out(ENDS, 3, nightly=True))
def test_a_line_taken_out_of_its_comment_is_one_item(end: str) -> None:
    """A way to fill a gap stays one line, whatever its name holds."""
    found = _suggest([f"date{end}count, number AT total, /*"], SAMPLES)
    lines = format_map(found, [Path("e.csv")], Path("m.sql")).split("\n")
    (place,) = [at for at, line in enumerate(lines) if "%d/%m/%Y" in line]
    lines[place] = lines[place].replace("-- ", "", 1)
    assert _parse("\n".join(lines)) == (["started_at", *(guess.column.name for guess in found.guesses)], "input")


def test_a_name_with_line_ends_loads(tmp_path: Path, root: Path) -> None:
    """A column that was found is taken by its whole name, through the written file."""
    path, to = tmp_path / "v.csv", tmp_path / "v.map.sql"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["video\r\nid", "owner\rchannel\u2028id"], ["v1", "c1"]])
    write_suggestion(root, "videos", [path], to, "1GB", force=False, as_json=True)
    assert load(root, "videos", [path], mapping=to).rejects == 0


LIMITED = """
import resource, sys
from pathlib import Path
from reelport.cli.service_commands.facts_output import write_suggestion
from reelport.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
root, export, to, force = sys.argv[1:]
try:
    write_suggestion(Path(root), "channels", [Path(export)], Path(to), "1GB", force=force == "force", as_json=True)
except StorageError as error:
    sys.exit(f"told: {error}")
"""


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, root: Path) -> None:
    """An edited mapping stays whole, and where there was none no piece is left to block the next run."""
    path, edited = tmp_path / "c.csv", tmp_path / "edited.sql"
    path.write_text("channel_id,handle\nc1,one\n")
    edited.write_text("SELECT 'mine'")
    for to, how in ((edited, "force"), (tmp_path / "new.sql", "keep")):
        done = forked.run(["-c", LIMITED, root, path, to, how], loads=forked.COMMANDS)
        assert f"told: {to} can't be written" in done.stderr
    assert edited.read_text() == "SELECT 'mine'"
    assert {each.name for each in tmp_path.iterdir()} - {"data"} == {"c.csv", "edited.sql"}


def test_a_mapping_is_written_through_links_and_keeps_its_mode(tmp_path: Path, root: Path) -> None:
    """Writing beside and renaming changes neither who may read the file nor what a link stands for."""
    path, to, link = tmp_path / "c.csv", tmp_path / "c.sql", tmp_path / "link.sql"
    path.write_text("channel_id,handle\nc1,one\n")
    to.write_text("mine")
    to.chmod(0o664)
    link.symlink_to(to)
    write_suggestion(root, "channels", [path], link, "1GB", force=True, as_json=True)
    assert (link.is_symlink(), to.stat().st_mode & 0o777, "FROM input" in to.read_text()) == (True, 0o664, True)


def test_names_of_files_do_not_steer_the_terminal(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escapes, changes of direction and bytes that are no text are shown as blanks, or not at all."""
    path = tmp_path / os.fsdecode("c\x1b]0;x\x07\u202e.csv".encode() + b"\xff")
    path.write_text("channel_id,handle\nc1,one\n")
    write_suggestion(root, "channels", [path], tmp_path / "m\x1b[2J.sql", "1GB", force=False, as_json=False)
    told = capsys.readouterr().out
    assert "Then try it: reelport load channels" in told
    assert not [sign for sign in told if not sign.isprintable() and sign != "\n"]
    write_suggestion(root, "channels", [path], tmp_path / "m.sql", "1GB", force=False, as_json=True)
    assert str(path) in json.loads(capsys.readouterr().out)["command"]


def test_a_name_of_megabytes_is_only_listed(tmp_path: Path, root: Path) -> None:
    """It is no name that anything is called by: it isn't compared, and a comment shows its beginning."""
    path = tmp_path / "c.csv"
    path.write_text(f"channel_id,{'a' * 2_000_000}\nc1,2\n")
    found = suggest_for_files(root, "channels", [path])
    assert [guess.given.name for guess in found.guesses] == ["channel_id"]
    assert len(format_map(found, [path], tmp_path / "m.sql")) < 4_000


def test_a_mapping_of_several_files_says_that_one_was_looked_at() -> None:
    """A column that only the second file has would be left out without a word."""
    found, names, told = suggest(_open_session(), find_table("plays"), ()), ["a.csv", "b.csv"], "only the first file"
    assert [told in format_map(found, [Path(name) for name in names[:count]], Path("m.sql")) for count in (1, 2)] == [
        False,
        True,
    ]


def test_thousands_of_columns_are_told_from_the_few_that_count(tmp_path: Path, root: Path) -> None:
    """Columns of names like those that are known cost little."""
    path = tmp_path / "c.csv"
    names = ["channel_id", *(f"report date {number}" for number in range(1_000))]
    path.write_text(f"{','.join(names)}\n{','.join('x' for _ in names)}\n")
    found = suggest_for_files(root, "plays", [path])
    assert "owner_channel_id" in {guess.column.name for guess in found.guesses}


def test_columns_without_a_name_are_left_alone(tmp_path: Path, root: Path) -> None:
    """Nothing is called by nothing: they are listed as unused, and the others are read."""
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"channel_id": ["c1"], "": ["x"], "more": [{"": 1, "x": "y"}], "handle": ["one"]}), path)
    found = suggest_for_files(root, "channels", [path])
    assert {guess.column.name: guess.given.name for guess in found.guesses} == {
        "id": "channel_id",
        "slug": "handle",
    }
    assert found.unused == ("C1", "more")  # DuckDB gives a column without a name one


def test_a_header_may_have_blank_and_inner_names(tmp_path: Path, root: Path) -> None:
    """A CSV's column without a name is left out, and one that is called as a row's place is a column like others."""
    path = tmp_path / "c.csv"
    path.write_text("channel_id,,_reelport_line,handle\nc1,x,7,one\n")
    found = suggest_for_files(root, "channels", [path])
    assert [guess.given.name for guess in found.guesses] == ["channel_id", "handle"]
    assert found.unused == ("_reelport_line",)


def test_objects_of_thousands_of_keys_are_suggested_from(tmp_path: Path, root: Path) -> None:
    """Keys that all have one type are columns, not the one of a map."""
    path = tmp_path / "c.ndjson"
    path.write_text(
        json.dumps({f"k{number}": {"a": "1"} for number in range(1_000)} | {"channel_id": {"a": "1"}}) + "\n"
    )
    assert len(suggest_for_files(root, "channels", [path]).unused) > 1_000
    path.write_text('{"channel_id": "c1", "": 1}\n')
    with pytest.raises(BadInput, match="no line holds a JSON object whose keys all have a name"):
        suggest_for_files(root, "channels", [path])
