"""The engine as a machine: the same bytes always, stopped at once, and every failure in words with no file left."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import duckdb
import pytest
from tests.cases import thin_out
from tests.disks import limit_file_size
from tests.patience import PATIENCE

from reelport.engine.compile import compile_query
from reelport.engine.duckdb.engine import Cancelled, Progress, QueryEngine, Session
from reelport.engine.plan import Pieces, Plan, single_piece
from reelport.engine.report_format import Written
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError, ReelportError, StorageError, UsageError
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

ROWS = 100_000
ENGINES = [(1, "1GiB"), (2, "1GiB"), (4, "1GiB"), (2, "200MiB")]
"""Threads and memory of engines that write the same bytes."""
CHANNELS = frozenset(f"c{number}" for number in range(20))
ENDLESS = Plan("SELECT count(*) AS n FROM range(1000000000000) t(i) WHERE hash(i) = 7", ("n",))
WIDE = ReportQuery.of(
    ["VIEWS", "AVERAGE_WATCH_TIME_SEC"], ["HOUR", "VIDEO_ID", "VISITOR_COUNTRY"], date(2023, 6, 1), date(2023, 7, 1)
)


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Plays in four files, most of them in groups of their own, with ties everywhere."""
    root = tmp_path_factory.mktemp("many")
    (root / "plays").mkdir()
    files = tuple(DataFile(f"{number}.parquet", 0, ROWS // 4) for number in range(4))
    for number, file in enumerate(files):
        duckdb.sql(f"""COPY (
            SELECT TIMESTAMPTZ '2023-06-01 00:00:00+00' + to_seconds(hash(i) % 2600000) AS started_at,
                'x' || hash(i + 1) % 500 AS video_id, 'c' || hash(i + 2) % 20 AS owner_channel_id,
                nullif('C' || hash(i + 3) % 30, 'C0') AS visitor_country,
                (hash(i + 4) % 9)::BIGINT AS views, (hash(i + 5) % 900)::BIGINT AS time_watched_seconds
            FROM range({number * ROWS // 4}, {(number + 1) * ROWS // 4}) t(i)
        ) TO '{root}/plays/{file.path}' (FORMAT parquet)""")
    return Snapshot(root, dict.fromkeys(TABLES, 0), dict.fromkeys(TABLES, ()) | {"plays": files})


@pytest.fixture
def plan(plays: Snapshot) -> Plan:
    return compile_query(WIDE, Tenant(CHANNELS), plays)


@pytest.mark.long
@pytest.mark.parametrize("engines", thin_out([ENGINES[::2], ENGINES], 2, nightly=True), ids=len)
def test_the_bytes_are_the_same_for_any_number_of_threads(
    plan: Plan, tmp_path: Path, engines: Sequence[tuple[int, str]]
) -> None:
    """One query on one snapshot gives one file: with few threads or many, little memory or much, twice each."""
    found = set()
    for threads, memory in engines:
        with QueryEngine(memory, threads, tmp_path / "spill") as engine:
            for name in ("a.csv", "b.csv"):
                written = engine.session().write(single_piece(plan), tmp_path / name)
                content = (tmp_path / name).read_bytes()
                assert (written.bytes, written.rows) == (len(content), content.count(b"\n") - 1)
                found.add(content)
    assert len(found) == 1
    assert found.pop().count(b"\n") > ROWS // 2


def test_the_same_query_is_the_same_sql(plays: Snapshot, plan: Plan) -> None:
    """Compiling leans on nothing but its arguments, however the reader's channels were put together."""
    assert compile_query(WIDE, Tenant(frozenset(sorted(CHANNELS, reverse=True))), plays) == plan


@pytest.mark.parametrize("after", [0, 0.01, 0.3])
def test_a_report_is_stopped_at_any_moment(engine: QueryEngine, tmp_path: Path, after: float) -> None:
    """`cancel` from another thread ends the write, which has no end by itself, and no file is left."""
    session, path, caught = engine.session(), tmp_path / "r.csv", _caught()
    writing = threading.Thread(target=caught, args=(lambda: session.write(single_piece(ENDLESS), path),))
    writing.start()
    time.sleep(after)
    session.cancel()
    writing.join(PATIENCE)
    assert [type(error) for error in caught.errors] == [Cancelled]
    assert not path.exists()


def test_a_report_that_was_stopped_before_it_began_does_not_begin(engine: QueryEngine, tmp_path: Path) -> None:
    """A cancel that comes first holds for the write that follows."""
    session = engine.session()
    session.cancel()
    with pytest.raises(Cancelled):
        session.write(single_piece(ENDLESS), tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []


def test_stopping_one_report_leaves_the_others_alone(engine: QueryEngine, plan: Plan, tmp_path: Path) -> None:
    """Sessions run side by side: while one is stopped, another writes its file whole."""
    stopped, other = engine.session(), engine.session()
    caught = _caught()
    writing = threading.Thread(target=caught, args=(lambda: stopped.write(single_piece(ENDLESS), tmp_path / "a.csv"),))
    writing.start()
    threading.Timer(0.1, stopped.cancel).start()
    written = other.write(single_piece(plan), tmp_path / "b.csv")
    writing.join(PATIENCE)
    assert caught.errors
    assert written.bytes == (tmp_path / "b.csv").stat().st_size


@pytest.mark.parametrize("after", [0, 0.3])
@pytest.mark.parametrize("what", [QueryEngine, Session])
def test_whatever_is_closed_stops_its_write(tmp_path: Path, what: type, after: float) -> None:
    """The write ends as a cancelled one does, at once and without a file; none begins any more."""
    engine, caught = QueryEngine("1GiB", 2, tmp_path / "spill"), _caught()
    session = engine.session()
    writing = threading.Thread(target=caught, args=(lambda: session.write(single_piece(ENDLESS), tmp_path / "r.csv"),))
    writing.start()
    time.sleep(after)
    (engine if what is QueryEngine else session).close()
    writing.join(PATIENCE)
    assert [type(error) for error in caught.errors] == [Cancelled]
    with pytest.raises(Cancelled):
        session.write(single_piece(ENDLESS), tmp_path / "r.csv")
    assert not (tmp_path / "r.csv").exists()
    engine.close()
    with pytest.raises(UsageError, match="was closed"):
        engine.session()


def test_a_file_that_is_gone_or_damaged_is_named(plays: Snapshot, tmp_path: Path) -> None:
    """A pinned file that can't be read fails the report in words, and leaves no file."""
    bad = tmp_path / "plays" / "0.parquet"
    bad.parent.mkdir()
    good = (plays.root / "plays" / "0.parquet").read_bytes()
    snapshot = Snapshot(tmp_path, plays.versions, {**plays.listing, "plays": plays.listing["plays"][:1]})
    plan = compile_query(WIDE, Tenant(CHANNELS), snapshot)
    holes = bytearray(good)
    holes[1000:-20000] = bytes(len(good) - 21000)
    for content in (None, b"", b"PAR1 and no more", good[: len(good) // 2], bytes(holes)):
        bad.unlink(missing_ok=True)
        if content is not None:
            bad.write_bytes(content)
        with QueryEngine("1GiB", 2, tmp_path / "spill") as engine, pytest.raises(StorageError) as caught:
            engine.session().write(single_piece(plan), tmp_path / "r.csv")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "r.csv").exists()


def test_no_file_is_taken_for_another(plays: Snapshot, tmp_path: Path) -> None:
    """The name of a pinned file is no pattern: where it is gone, a file that it would match is not read instead."""
    decoy = tmp_path / "facts1" / "plays"
    decoy.mkdir(parents=True)
    (decoy / "0.parquet").write_bytes((plays.root / "plays" / "0.parquet").read_bytes())
    for name in ("facts[1]", "facts?", "fact*"):
        pinned = {**plays.listing, "plays": plays.listing["plays"][:1]}
        plan = compile_query(WIDE, Tenant(CHANNELS), Snapshot(tmp_path / name, plays.versions, pinned))
        with QueryEngine("1GiB", 2, tmp_path / "spill") as engine, pytest.raises(StorageError):
            engine.session().write(single_piece(plan), tmp_path / "r.csv")


def test_a_file_that_can_not_be_written_is_named(engine: QueryEngine, plan: Plan, tmp_path: Path) -> None:
    """No folder, a folder in its place, or no room left: a StorageError, and no half file."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "r.csv", tmp_path / "folder"):
        with pytest.raises(StorageError):
            engine.session().write(single_piece(plan), path)
    with limit_file_size(100_000), pytest.raises(StorageError):
        engine.session().write(single_piece(plan), tmp_path / "r.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert engine.session().write(single_piece(plan), tmp_path / "r.csv").rows > 0


def test_a_spill_folder_that_was_removed_is_made_again(plan: Plan, tmp_path: Path) -> None:
    """Whoever cleans up under a running engine stops no report that begins later."""
    with QueryEngine("1GiB", 2, tmp_path / "spill") as engine:
        (tmp_path / "spill").rmdir()
        assert engine.session().write(single_piece(plan), tmp_path / "r.csv").rows > 0


def test_room_to_spill_is_what_is_free_now(tmp_path: Path) -> None:
    """A disk that was full at one report and is free at the next must not limit that one too."""
    plan = Plan("SELECT current_setting('max_temp_directory_size') AS room", ("room",))
    with QueryEngine("200MiB", 1, tmp_path / "spill", within=(tmp_path,)) as engine:
        engine.session().write(single_piece(plan), tmp_path / "r.csv")
    (_, room) = (tmp_path / "r.csv").read_text().split("\n", 1)
    assert re.fullmatch(r"\d+\.\d+ [KMGT]iB\n", room)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_pieces_are_one_file(tmp_path: Path, number: int) -> None:
    """One after the other, of many rows or of none: a header, all rows in order, the digest of all."""
    firsts = [0, 400_000, 400_000][:number]

    def pieces() -> Pieces:
        for first, last in zip(firsts, [*firsts[1:], 400_002], strict=True):
            rows = yield Plan(f"SELECT i FROM range({first}, {last}) t(i)", ("i",))
            assert rows == last - first

    with QueryEngine("1GiB", 2, tmp_path / "spill") as engine:
        written = engine.session().write(pieces(), tmp_path / "r.csv")
    content = (tmp_path / "r.csv").read_bytes()
    assert content == b"i\n" + b"".join(b"%d\n" % row for row in range(400_002))
    assert written == Written(400_002, len(content), hashlib.sha256(content).hexdigest())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["r.csv", "spill"]


def test_a_further_piece_that_can_not_be_written_leaves_no_half_file(plan: Plan, tmp_path: Path) -> None:
    """A disk that is full at the second: a StorageError, not a report of the first one alone."""

    def twice() -> Pieces:
        yield plan
        yield plan

    with QueryEngine("1GiB", 2, tmp_path / "spill") as engine:
        whole = engine.session().write(twice(), tmp_path / "r.csv").bytes
        with limit_file_size(whole * 3 // 4), pytest.raises(StorageError):
            engine.session().write(twice(), tmp_path / "r.csv")
    assert [path.name for path in tmp_path.rglob("*")] == ["spill"]


@pytest.mark.long
def test_of_a_long_report_the_rows_are_known_while_it_is_written(engine: QueryEngine, tmp_path: Path) -> None:
    """About: of an unfinished piece by the length of its first rows, and without its header."""
    session, found = engine.session(), list[Progress]()
    plans = [
        Plan(f"SELECT i FROM range({first}, {first + 3_000_000}) t(i) ORDER BY i", ("i",))
        for first in (10**7, 2 * 10**7)
    ]

    def pieces() -> Pieces:
        for each in plans:
            assert (yield each) == 3_000_000

    writing = threading.Thread(target=session.write, args=(pieces(), tmp_path / "r.csv"))
    writing.start()
    while writing.is_alive():
        found += [each for each in [session.progress] if each and each not in found[-1:]]
    assert len(found) > 2
    assert all(abs(each.bytes - 9 * each.rows) < 20 + each.bytes // 1000 for each in found)
    assert [each.bytes for each in found] == sorted(each.bytes for each in found)


def test_a_cancel_that_comes_too_late_does_no_harm(engine: QueryEngine, tmp_path: Path) -> None:
    """However it meets the end of a write and of its session, `cancel` returns, and no file is left by then."""
    plan = Plan("SELECT count(*) AS n FROM range(300000) t(i) WHERE hash(i) = 7", ("n",))
    for number in range(100):
        session, path, caught = engine.session(), tmp_path / f"{number}.csv", _caught()

        def write(session: Session = session, path: Path = path, caught: _caught = caught) -> None:
            caught(lambda: session.write(single_piece(plan), path))
            session.close()

        writing = threading.Thread(target=write)
        writing.start()
        session.cancel()
        writing.join(PATIENCE)
        assert path.exists() == (not caught.errors)


def test_too_little_memory_is_said(plan: Plan, tmp_path: Path) -> None:
    """A report that can't be made within the limit fails in words, and the engine goes on."""
    with QueryEngine("16MiB", 2, tmp_path / "spill") as engine:
        with pytest.raises(InternalError, match="memory"):
            engine.session().write(single_piece(plan), tmp_path / "r.csv")
        assert engine.session().write(single_piece(Plan("SELECT 1 AS n", ("n",))), tmp_path / "r.csv").rows == 1


def test_the_engine_stays_within_its_folders(plan: Plan, plays: Snapshot, tmp_path: Path) -> None:
    """With `within`, it reads and writes there and in its spill folder, and nowhere else; settings are locked."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.csv").write_text("a\n1\n")
    with QueryEngine("200MiB", 2, tmp_path / "spill", within=(inside, plays.root)) as engine:
        assert engine.session().write(single_piece(plan), inside / "r.csv").rows > 0
        for sql in (f"FROM read_csv('{outside}/secret.csv')", f"FROM read_csv('{inside}/../out/secret.csv')"):
            with pytest.raises(ReelportError):
                engine.session().write(single_piece(Plan(sql, ("a",))), inside / "s.csv")
    assert [path.name for path in outside.iterdir()] == ["secret.csv"]


def test_an_amount_of_memory_is_understood_or_refused(tmp_path: Path) -> None:
    """Sizes are written as 2GB, 512 MiB or 1.5gib; anything else is a usage error."""
    for size in ("2GB", "512 MiB", "1.5gib", "800000000"):
        with QueryEngine(size, 1, tmp_path) as engine:
            assert engine.session().write(single_piece(Plan("SELECT 1 AS n", ("n",))), tmp_path / "r.csv").rows == 1
    for size in ("", "much", "-1GB", "2XB"):
        with pytest.raises(UsageError):
            QueryEngine(size, 1, tmp_path)


class _caught:  # noqa: N801 - it is called like a function
    """Runs a thing and keeps what it raised."""

    def __init__(self) -> None:
        self.errors: list[ReelportError] = []

    def __call__(self, run: Callable[[], object]) -> None:
        try:
            run()
        except ReelportError as error:
            self.errors.append(error)
