"""Copies of data files by role: reports of EMBED and CLAIM read them, with the same bytes and far fewer of them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType
from tests import forked
from tests.cases import thin_out

from reelport.engine.compile import compile_query
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.plan import single_piece
from reelport.engine.report_size import RowGroupIndex
from reelport.engine.resolved_query import resolve_query
from reelport.engine.tenant import Tenant
from reelport.errors import NewerData
from reelport.facts.data_files.work_folders import SPILL
from reelport.facts.loading.compaction import CopiedTable, compact, copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.role_copies import find_original
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.facts.tables import PLAYS
from reelport.killpoints import VARIABLE
from reelport.query import ReportQuery

pytestmark = pytest.mark.long

START, END = date(2026, 1, 1), date(2026, 6, 29)
CHANNELS = 8
PUBLISHED = f"""
SELECT TIMESTAMPTZ '2026-01-01 05:00:00+00' + to_months((i % 6)::INT) + to_days((i % 2)::INT)
           + to_seconds((hash(i) % 36000)::BIGINT) AS started_at,
       'v' || hash(i + 3) % 3000 AS video_id, 'video' AS media_type,
       'c' || (i * 31) % {CHANNELS} AS owner_channel_id,
       CASE WHEN i % 5 > 0 THEN 'c' || hash(i) % {CHANNELS} END AS publisher_channel_id,
       CASE WHEN i % 3 = 0 THEN 'c' || hash(i + 1) % {CHANNELS} END AS claimer_channel_id,
       'https://example.com/' || hash(i + 2) % 9000 AS visitor_page_url,
       1 + i % 9 AS views, hash(i + 4) % 100 AS time_watched_seconds
FROM range(105000) AS t(i)
"""
FEW = """
SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(i * 144 + (hash(i) % 144)::BIGINT) AS started_at,
       'v' || hash(i + 3) % 3000 AS video_id, 'video' AS media_type,
       'c' || hash(i + 5) % 25 AS owner_channel_id, 'c' || hash(i) % 25 AS publisher_channel_id,
       list_extract(['US', 'DE', 'FR', 'GB', 'BR', 'IN', 'ES'], (1 + hash(i + 7) % 7)::INT) AS visitor_country,
       list_extract(['desktop', 'mobile', 'tablet', 'tv'], (1 + hash(i + 8) % 4)::INT) AS visitor_device_type,
       'p' || hash(i + 10) % 40 AS player_id, 'https://example.com/' || hash(i + 2) % 90000 AS visitor_page_url,
       1 + hash(i + 9) % 9 AS views, hash(i + 4) % 10000 AS time_watched_seconds
FROM range(108000) AS t(i)
"""
COPY = """
import sys
from pathlib import Path
from reelport.facts.loading.compaction import copy_tables_by_roles
copy_tables_by_roles(Path(sys.argv[1]))
"""


def rows_of(sql: str) -> object:
    """Rows of a query as an Arrow table."""
    with duckdb.connect() as session:
        session.execute("SET TimeZone = 'UTC'")
        return session.sql(sql).to_arrow_table()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plays of half a year by eight channels, each of which shows and claims what any other owns; a file a month."""
    root = tmp_path_factory.mktemp("loaded") / "facts"
    load_arrow(root, "plays", rows_of(PUBLISHED), "first")
    compact(root, today=date(2026, 12, 1))
    return root


@pytest.fixture
def root(loaded: Path, tmp_path: Path) -> Path:
    """A copy of those tables that a test may change."""
    shutil.copytree(loaded, tmp_path / "facts")
    return tmp_path / "facts"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryEngine]:
    with QueryEngine("500MB", 2, tmp_path_factory.mktemp("spill")) as engine:
        yield engine


def question(product: str, *dimensions: str) -> ReportQuery:
    """Views of half a year."""
    return ReportQuery.of(["VIEWS", "TIME_WATCHED_SECONDS"], dimensions or ["DAY"], START, END, product=product)


def make(engine: QueryEngine, snapshot: Snapshot, query: ReportQuery, *channels: str) -> str:
    """The checksum of a report's file."""
    session, to = engine.session(), Path(str(snapshot.root) + ".csv")
    try:
        return session.write(single_piece(compile_query(query, Tenant(frozenset(channels)), snapshot)), to).sha256
    finally:
        session.close()


def make_all(engine: QueryEngine, snapshot: Snapshot) -> list[str]:
    """The checksums of reports of every product, of one channel, of several and of one that has nothing."""
    asked = [question(product, "DAY", "VIDEO_ID") for product in ("CONTENT", "EMBED", "CLAIM", "ALL")]
    asked += [question("EMBED", "VISITOR_COUNTRY"), question("CLAIM", "MEDIA_TYPE", "MONTH")]
    return [
        make(engine, snapshot, query, *tenant) for query in asked for tenant in (["c7"], ["c0", "c5", "c3"], ["nobody"])
    ]


def copies_of(root: Path) -> set[Path]:
    """Every file of a table's folder that is a copy, by its name there."""
    names = (path.relative_to(root / "plays") for path in (root / "plays").rglob("*") if path.is_file())
    return {name for name in names if find_original(str(name))}


def test_reports_have_the_same_bytes_with_and_without_copies(root: Path, engine: QueryEngine) -> None:
    """Of each product, whatever the files of the copies are; a second run finds nothing to copy."""
    before = make_all(engine, pin(root, ["plays"]))
    assert copy_tables_by_roles(root) == (CopiedTable("plays", 12),)
    assert make_all(engine, pin(root, ["plays"])) == before
    assert copy_tables_by_roles(root) == ()
    assert [(one.findings, one.left) for one in verify(root)] == [((), ())]


def test_one_copy_is_enough_for_a_table_to_have_copies(root: Path) -> None:
    """A report that reads it may find it damaged, whatever the other files have."""
    asked = START, END, "claimer_channel_id"
    copy_tables_by_roles(root)
    first, *others = sorted(root / "plays" / name for name in copies_of(root) if "claimer" in str(name))
    for path in others:
        path.unlink()
    assert pin(root, ["plays"]).has_copies("plays", *asked)
    first.unlink()
    assert not pin(root, ["plays"]).has_copies("plays", *asked)


def count_read(engine: QueryEngine, root: Path, product: str) -> int:
    """The bytes that a channel's report by day makes this process read."""
    plan = compile_query(question(product), Tenant(frozenset({"c7"})), pin(root, ["plays"]))
    session = engine.session()
    try:
        before = read_bytes()
        session.fetch(plan, "this report")
        return read_bytes() - before
    finally:
        session.close()


def read_bytes() -> int:
    """What this process has read so far, in bytes."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize(
    ("product", "role"), thin_out([("EMBED", "publisher_channel_id"), ("CLAIM", "claimer_channel_id")], 2)
)
def test_a_report_by_role_reads_at_most_five_times_the_bytes_of_its_rows(
    root: Path, engine: QueryEngine, product: str, role: str
) -> None:
    """Over 180 days, with all that describes files and row groups; without copies it reads everybody's rows."""
    if not Path("/proc/self/io").exists():
        pytest.skip("only Linux counts what a process reads")
    files = read_newest(root, PLAYS).files
    paths = list(pin(root, ["plays"]).files("plays"))
    with duckdb.connect() as session:
        ((own, rows),) = session.execute(
            f"SELECT count(*) FILTER ({role} = 'c7'), count(*) FROM read_parquet({paths})"
        ).fetchall()
    of_its_rows = sum(file.size for file in files) * own / rows
    without = count_read(engine, root, product)
    copy_tables_by_roles(root)
    assert count_read(engine, root, product) <= min(5 * of_its_rows, without / 2)


def test_a_partner_of_few_rows_a_day_reads_at_most_five_times_their_bytes(tmp_path: Path, engine: QueryEngine) -> None:
    """With 24 the descriptions of files weigh most: a worker's first report reads them all."""
    if not Path("/proc/self/io").exists():
        pytest.skip("only Linux counts what a process reads")
    root, own = tmp_path / "facts", tmp_path / "own.parquet"
    load_arrow(root, "plays", rows_of(FEW), "first")
    compact(root, today=date(2026, 12, 1))
    copy_tables_by_roles(root)
    paths = list(pin(root, ["plays"]).files("plays"))
    its = f"FROM read_parquet({paths}) WHERE publisher_channel_id = 'c7' ORDER BY started_at"
    duckdb.sql(f"COPY (SELECT * {its}) TO '{own}' (COMPRESSION zstd)")
    count_read(engine, root, "EMBED")  # whatever Python loads for it
    with QueryEngine("500MB", 1, tmp_path / "spill", keeps_footers=True) as worker:
        first, then = (count_read(worker, root, "EMBED") / own.stat().st_size for _ in range(2))
    assert first <= 5
    assert then <= 3.5


def test_a_page_counts_the_row_groups_of_copies(root: Path, engine: QueryEngine) -> None:
    """The explorer's budget is spent on what is read, not on everybody's rows."""
    index, (plays,) = RowGroupIndex(engine), resolve_query(question("EMBED"), Tenant(frozenset({"c7"}))).sources
    before = index.count_rows(plays, pin(root, ["plays"]))
    copy_tables_by_roles(root)
    after = index.count_rows(plays, pin(root, ["plays"]))
    assert before == sum(file.rows for file in read_newest(root, PLAYS).files)
    assert after < before / 2


def test_days_that_are_replaced_are_read_from_their_new_file(root: Path, engine: QueryEngine) -> None:
    """A new file has no copy, and then one of its own; old ones go when their files do."""
    copy_tables_by_roles(root)
    pinned = pin(root, ["plays"])
    before = make_all(engine, pinned)
    new = PUBLISHED.replace("1 + i % 9", "2 + i % 9") + " WHERE i % 6 = 3 AND i % 2 = 1"
    day = date(2026, 4, 2)
    load_arrow(root, "plays", rows_of(new), "second", replace=(day, day))
    assert make_all(engine, pinned) == before
    restated = make_all(engine, pin(root, ["plays"]))
    assert restated != before
    (copied,) = copy_tables_by_roles(root)
    assert copied.copies == 2
    assert make_all(engine, pin(root, ["plays"])) == restated
    vacuum(root, now=datetime.now(UTC) + timedelta(hours=80))
    files = {file.path for file in read_newest(root, PLAYS).files}
    assert {find_original(str(name)) for name in copies_of(root)} <= files
    assert make_all(engine, pin(root, ["plays"])) == restated


def test_two_that_copy_at_once_write_each_copy_once(root: Path, engine: QueryEngine) -> None:
    """The second waits for the first, and finds nothing to do; a copy that reports may read is never replaced."""
    before = make_all(engine, pin(root, ["plays"]))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(copy_tables_by_roles, [root, root]))
    assert sorted(sum(each.copies for each in one) for one in done) == [0, 12]
    assert make_all(engine, pin(root, ["plays"])) == before
    kept, gone = sorted(root / "plays" / name for name in copies_of(root))[:2]
    mark = kept.stat().st_ino, kept.stat().st_mtime_ns
    gone.unlink()
    (copied,) = copy_tables_by_roles(root)
    assert copied.copies == 1
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == mark
    assert gone.exists()


def test_a_damaged_copy_is_found(root: Path) -> None:
    """One that lacks rows, and one that can't be read; each with what to do: their names tell their bytes."""
    copy_tables_by_roles(root)
    short, broken = sorted(copies_of(root))[:2]
    with duckdb.connect() as session:
        name = root / "plays" / short
        session.execute(
            f"COPY (FROM read_parquet('{name}') ORDER BY claimer_channel_id LIMIT 9) TO '{name}.x' (FORMAT parquet)"
        )
        Path(f"{name}.x").rename(name)
    (root / "plays" / broken).write_bytes(b"PAR1 and no more")
    (result,) = verify(root)
    for finding, name in zip(result.findings, (short, broken), strict=True):
        assert finding.startswith(f"{name}: the copy can't be read: ")
        assert finding.endswith("; delete it, and run reelport compact")


def test_a_compaction_killed_while_it_copies_is_completed_by_the_next(root: Path, engine: QueryEngine) -> None:
    """Reports meanwhile read the files; what it left, the next takes away."""
    before = make_all(engine, pin(root, ["plays"]))
    words = ["-c", COPY, str(root)]
    with forked.Popen(words, env=os.environ | {VARIABLE: "role-copy"}, loads=forked.LOADING) as process:
        assert process.wait() == -signal.SIGKILL
    assert copies_of(root) == set()
    assert len(list((root / SPILL).rglob("*.parquet"))) == 1
    assert make_all(engine, pin(root, ["plays"])) == before
    assert [(one.findings, one.left) for one in verify(root)] == [((), ())]
    copy_tables_by_roles(root)
    assert make_all(engine, pin(root, ["plays"])) == before
    assert {path.suffix for path in copies_of(root)} == {".parquet"}
    assert list((root / SPILL).iterdir()) == []


def test_a_table_of_a_newer_version_is_not_copied(root: Path) -> None:
    """Copies would lack its column, and would be read by the newer version in place of the files that have it."""
    DeltaTable(root / "plays").alter.add_columns([Field("shares", PrimitiveType("long"))])
    with pytest.raises(NewerData, match="shares"):
        copy_tables_by_roles(root)
    assert copies_of(root) == set()
