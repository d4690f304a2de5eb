"""A data directory that this version wrote, under a version with one more metric and two more columns.

The newer version is a copy of the package, changed as DESIGN's "To add a metric" says, and run by a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.fact_rows import make_plays

import reelport
from reelport.errors import NewerData
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.verification import verify
from reelport.facts.log.snapshot import pin

pytestmark = pytest.mark.long

SHARES = (
    ("facts/tables.py", '        Column("time_watched_seconds"', 'Column("shares", Kind.COUNT, "Shares.", default=0),'),
    ("facts/tables.py", '        _text("account_id"', '_text("motto", "Its motto."),'),
    ("catalog/row_types.py", '    SECONDS = N_("seconds")', 'SHARES = N_("shares")'),
    (
        "catalog/metrics.py",
        "    TIME_WATCHED_SECONDS = ",
        'SHARES = _S, F.AUDIENCE, Sum("shares"), U.SHARES, "shares", "Shares."',
    ),
    ("engine/mapping.py", '    **_columns("plays", "views"', '**_columns("plays", "shares"),'),
)
"""What is written into which file of the package, and the line that it is written above."""
PLAY = {"media_type": "video", "time_watched_seconds": 60}
JULY_5 = (date(2023, 7, 5), date(2023, 7, 5))
PROGRAM = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
import duckdb, pyarrow as pa
from deltalake import DeltaTable
from reelport.engine.compile import compile_query
from reelport.engine.plan import single_piece
from reelport.engine.tenant import Tenant
from reelport.engine.duckdb.engine import QueryEngine
from reelport.facts.loading.undo import undo
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.snapshot import pin
from reelport.facts.loading.verification import verify
from reelport.query import ReportQuery

root, folder, JULY = Path(sys.argv[1]), Path(sys.argv[2]), date(2023, 7, 1)
query = ReportQuery.of(["VIEWS", "SHARES"], ["DAY"], date(2023, 6, 1), date(2023, 7, 31))
told = {}

def look(name, engine):
    plan = compile_query(query, Tenant(frozenset({"c1", "c2"})), pin(root, ["plays"]))
    engine.session().write(single_piece(plan), folder / "r.csv")
    lines = (folder / "r.csv").read_text().splitlines()[1:]
    files = list(pin(root, ["plays"]).files("plays"))
    table = DeltaTable(str(root / "plays"))
    columns = [field.name for field in table.schema().fields]
    has = "shares" in columns
    by_duckdb = duckdb.sql(f"SELECT * FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)")
    told[name] = {
        "report": {day: [int(views), int(shares)] for day, views, shares in (line.split(",") for line in lines)},
        "findings": [finding for one in verify(root) for finding in one.findings],
        "delta": sum(filter(None, pa.table(table.to_pyarrow_table())["shares"].to_pylist())) if has else None,
        "duckdb": by_duckdb.sum("shares").fetchall()[0][0] if has else None,
        "columns": columns,
    }

def play(moment, **more):
    row = {"started_at": moment, "video_id": "v1", "owner_channel_id": "c1", "media_type": "video", "views": 1,
        "time_watched_seconds": 1, **more}
    return pa.Table.from_pylist([row])

with QueryEngine("500MB", 2, folder / "spill") as engine:
    look("older", engine)
    with ThreadPoolExecutor() as both:  # whoever comes second finds the column there, and no update is lost
        done = [
            both.submit(load_arrow, root, "plays", play(f"2023-07-06T0{hour}:00:00", shares=hour), f"new-{hour}")
            for hour in (1, 3)
        ]
    told["landed"] = sorted(one.result().rows for one in done)
    look("loaded", engine)
    day = date(2023, 6, 3)
    load_arrow(root, "plays", play("2023-06-03T05:00:00", shares=2), "restated", replace=(day, day))
    look("restated", engine)
    told["compacted"] = [one.month for one in compact(root, today=date(2023, 9, 1), table="plays")]
    look("merged", engine)
    undo(root, "july-5")
    undo(root, "more-june")
    look("undone", engine)
for slug in ("one", "one", "first"):
    rows = pa.Table.from_pylist([{"id": "c1", "slug": slug, "motto": "more"}])
    told.setdefault("merged_objects", []).append(load_arrow(root, "channels", rows, slug).already)
(path,) = pin(root, ["channels"]).files("channels")
told["channels"] = duckdb.sql(f"SELECT id, slug, motto FROM '{path}' ORDER BY id").fetchall()
print(json.dumps(told))
"""


def _play(moment: str, owner: str) -> dict[str, object]:
    return PLAY | {"started_at": moment, "video_id": "v1", "owner_channel_id": owner, "views": 10}


def _rows(*rows: Mapping[str, object]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows])


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two batches of plays, one day of which is restated, in a month file and in day files; objects, ads, earnings."""
    root = tmp_path_factory.mktemp("older") / "facts"
    load_arrow(root, "channels", _rows({"id": "c1", "slug": "one"}, {"id": "c2", "slug": "two"}), "channels")
    load_arrow(root, "videos", _rows({"id": "v1", "title": "First", "owner_channel_id": "c1", "tags": ["a"]}), "videos")
    load_arrow(root, "plays", _rows(*(_play(f"2023-06-0{day}T05:00:00", "c1") for day in range(1, 7))), "june")
    load_arrow(root, "plays", _rows(*(_play(f"2023-06-0{day}T05:00:00", "c2") for day in (2, 3))), "more-june")
    compact(root, today=date(2023, 7, 1))
    load_arrow(root, "plays", _rows(*(_play(f"2023-07-0{day}T05:00:00", "c1") for day in (4, 5))), "july")
    load_arrow(root, "plays", _rows(_play("2023-07-05T06:00:00", "c1") | {"views": 20}), "july-5", replace=JULY_5)
    ad = {"started_at": "2023-07-04T05:00:00", "owner_channel_id": "c1", "media_type": "video", "sellable_inventory": 9}
    load_arrow(root, "ads", _rows(ad), "ads")
    for number, eur in ((1, "1.5"), (2, "2.25")):
        earned = {"day": f"2023-07-0{number}", "owner_channel_id": "c1", "eur": eur, "usd": eur}
        load_arrow(root, "earnings", _rows(earned), f"earnings-{number}")
    return root


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the metric SHARES."""
    package = tmp_path_factory.mktemp("newer") / "reelport"
    shutil.copytree(Path(reelport.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, mark, line in SHARES:
        text = (package / name).read_text("utf-8")
        assert text.count(mark) == 1, f"{name} has another place for it"
        indent = " " * (len(mark) - len(mark.lstrip()))
        (package / name).write_text(text.replace(mark, f"{indent}{line}\n{mark}"), "utf-8")
    return package.parent


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, older: Path, newer: Path) -> dict[str, Any]:
    """What the newer version saw of a copy of the tables, step by step; `root` is where they are."""
    folder = tmp_path_factory.mktemp("life")
    shutil.copytree(older, folder / "facts")
    words = [sys.executable, "-c", PROGRAM, str(folder / "facts"), str(folder)]
    settings = os.environ | {"PYTHONPATH": str(newer), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told | {"root": folder / "facts"}


def test_a_report_over_older_files_has_the_new_metric(life: dict[str, Any]) -> None:
    """Where files lack the column its default stands: before any new commit, and beside new files."""
    june = {f"2023-06-0{day}": [20 if day in {2, 3} else 10, 0] for day in range(1, 7)}
    assert life["older"]["report"] == june | {"2023-07-04": [10, 0], "2023-07-05": [20, 0]}
    assert life["loaded"]["report"] == life["older"]["report"] | {"2023-07-06": [2, 4]}
    assert life["landed"] == [1, 1]


def test_older_files_are_restated_merged_and_undone(life: dict[str, Any]) -> None:
    """A day inside an older month file, a month of both kinds of files, a replacement and a load from before."""
    restated = life["loaded"]["report"] | {"2023-06-03": [1, 2]}
    assert life["restated"]["report"] == restated
    assert life["compacted"] == ["2023-06", "2023-07"]
    assert life["merged"]["report"] == restated
    assert life["undone"]["report"] == restated | {"2023-06-02": [10, 0], "2023-07-05": [10, 0]}


def test_older_objects_are_merged(life: dict[str, Any]) -> None:
    """An object of before has an empty cell in the new column, and one that only gains it has changed."""
    assert life["merged_objects"] == [False, True, False]
    assert life["channels"] == [["c1", "first", "more"], ["c2", "two", None]]


def test_the_log_gains_the_column_with_the_next_commit(life: dict[str, Any]) -> None:
    """Before that a look changes nothing; afterwards the schema that other tools read has it."""
    steps = ("older", "loaded", "restated", "merged", "undone")
    assert ["shares" in life[step]["columns"] for step in steps] == [False, True, True, True, True]
    log = "".join(path.read_text() for path in (life["root"] / "plays" / "_delta_log").glob("*.json"))
    assert log.count('{"metaData":') == 2


def test_other_readers_agree(life: dict[str, Any]) -> None:
    """The Delta library, and the engine's own scan of the files by name, come to the sums of the report."""
    for step in ("loaded", "restated", "merged", "undone"):
        shares = sum(shares for _, shares in life[step]["report"].values())
        assert (life[step]["delta"], life[step]["duckdb"]) == (shares, shares)


def test_older_files_are_right_and_a_file_that_lost_a_column_is_not(life: dict[str, Any], tmp_path: Path) -> None:
    """What a file must have is what its table had when it was written."""
    assert [life[step]["findings"] for step in ("older", "loaded", "restated", "merged", "undone")] == [[]] * 5
    shutil.copytree(life["root"], tmp_path / "facts")
    path, _ = pin(tmp_path / "facts", ["earnings"]).files("earnings")
    rows = pq.ParquetFile(path).read().drop_columns(["eur_old"])
    pq.write_table(rows, path)
    (findings,) = (one.findings for one in verify(tmp_path / "facts") if one.table == "earnings")
    assert any("its bytes are not those that were written" in finding for finding in findings)


def test_a_version_that_lacks_the_column_reads_and_changes_nothing(life: dict[str, Any]) -> None:
    """What it wrote again would lose the column, so it refuses, names it, and says what to do."""
    rows = make_plays([("2023-07-09", 1)])
    with pytest.raises(NewerData, match=r"columns that this version doesn't know \(shares\)"):
        load_arrow(life["root"], "plays", rows, "older-again")
    assert pin(life["root"], ["plays"]).files("plays")
