"""What is particular to a DuckDB file: who can open it, and who has it open."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import duckdb
import pytest
from tests.disks import remount, small_disk

from reelport.errors import StorageError, UsageError
from reelport.sync.destinations import DuckDBFile
from reelport.sync.spec import Kind, Place, Spec
from reelport.sync.verified_days import State

from .conftest import HEADER, day, kept, put, spec_at


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(Kind.DUCKDB, tmp_path / "copy.duckdb")
    made.work_folder.mkdir()
    return made


@pytest.fixture
def spec(place: Place) -> Spec:
    return spec_at(place)


def test_a_new_file_opens_in_old_versions(spec: Spec) -> None:
    """It is written as DuckDB 1.2 writes it, and stays so over further windows: 1.4 opens it."""
    for number in (1, 2):
        put(spec, HEADER + f"2026-01-0{number},FR,1,\n", number, number)
        with duckdb.connect(str(spec.place.path), read_only=True) as con:
            found = con.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
        assert found == [({"storage_version": "v1.2.0+"},)]


def test_a_file_that_is_there_keeps_its_version_and_its_tables(spec: Spec) -> None:
    """A copy may live in a database with tables of its own."""
    with duckdb.connect(str(spec.place.path)) as con:
        con.execute("CREATE TABLE ours AS SELECT 1 AS one")
        before = con.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
    put(spec, HEADER + "2026-01-01,FR,1,\n", 1, 1)
    with duckdb.connect(str(spec.place.path), read_only=True) as con:
        assert con.execute("SELECT one FROM ours").fetchall() == [(1,)]
        assert con.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall() == before


def test_a_file_that_is_open_elsewhere_is_waited_for_and_named(spec: Spec) -> None:
    """Nothing of the window is taken."""
    put(spec, HEADER + "2026-01-01,FR,1,\n", 1, 1)
    copies = DuckDBFile(spec.place, patience=0.1)
    with duckdb.connect(str(spec.place.path)), pytest.raises(StorageError, match=r"copy\.duckdb is open elsewhere"):
        copies.state(spec)
    assert copies.state(spec).present.spans
    assert len(kept(spec)) == 1


@pytest.mark.parametrize("made", ["TABLE earned AS SELECT 42 AS answer", "VIEW Earned AS SELECT 42 AS answer"])
def test_a_table_of_somebody_else_is_left_alone(spec: Spec, made: str) -> None:
    """A report of its name is refused before anything is asked for."""
    with duckdb.connect(str(spec.place.path)) as con:
        con.execute(f"CREATE {made}")
    with pytest.raises(UsageError, match="another name"):
        DuckDBFile(spec.place).state(spec)
    with pytest.raises(UsageError, match="another name"):
        put(spec, HEADER + "2026-01-01,FR,1,\n", 1, 1)
    with duckdb.connect(str(spec.place.path), read_only=True) as con:
        assert con.execute("FROM earned").fetchall() == [(42,)]


def test_a_table_that_was_dropped_is_begun_anew(spec: Spec) -> None:
    """What was noted of it is not held against the next run: every day is missing."""
    put(spec, HEADER + "2026-01-01,FR,1,\n", 1, 1)
    with duckdb.connect(str(spec.place.path)) as con:
        con.execute("DROP TABLE earned")
    assert DuckDBFile(spec.place).state(spec) == State()
    put(spec, HEADER + "2026-01-02,FR,1,\n", 2, 2)
    assert list(DuckDBFile(spec.place).state(spec).present) == [day(2)]


def test_what_is_no_database_is_left_alone(spec: Spec) -> None:
    """A file of another kind under the name is an error, and keeps its bytes."""
    spec.place.path.write_bytes(b"hello")
    for act in (lambda: DuckDBFile(spec.place).state(spec), lambda: put(spec, HEADER, 1, 1)):
        with pytest.raises(StorageError, match="is no DuckDB file: move it away, or name another one"):
            act()
    assert spec.place.path.read_bytes() == b"hello"


def test_a_folder_under_the_name_of_a_database_is_told(spec: Spec) -> None:
    spec.place.path.mkdir()
    with pytest.raises(StorageError, match="is a folder, and ends as a DuckDB file"):
        put(spec, HEADER, 1, 1)


def test_a_file_without_our_tables_holds_nothing_of_ours(spec: Spec) -> None:
    """An empty database is like none."""
    duckdb.connect(str(spec.place.path)).close()
    copies = DuckDBFile(spec.place)
    assert copies.state(spec) == State()
    with copies.view(spec) as view:
        assert view is None


def test_a_full_disk_is_told_and_the_same_again_loads(tmp_path: Path) -> None:
    """What to do comes before what DuckDB says; nothing is doubled."""
    with small_disk(tmp_path / "small", "1200k") as folder:
        place = Place(Kind.DUCKDB, folder / "copy.duckdb")
        place.work_folder.mkdir()
        spec = spec_at(place)
        rows = HEADER + "".join(f"2026-01-05,{sha256(b'%d' % number).hexdigest()},1,\n" for number in range(6000))
        with pytest.raises(StorageError, match=r"^The disk is full: make room, and run the same again"):
            put(spec, rows, 5, 5)
        remount(folder, "size=50m")
        put(spec, rows, 5, 5)
        assert kept(spec, "count(*)") == [(6000,)]
