"""Tables in an object store: the same rows as in a folder, and nothing lost by its faults."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import forked
from tests.cases import thin_out
from tests.facts.conftest import remote_tables
from tests.storage.object_server import Fault, FaultyProxy

from reelport.errors import OutcomeUnknown, StorageError, StoreUnavailable
from reelport.facts.data_files.duckdb_session import open_workspace
from reelport.facts.data_files.sorted_files import StagedFiles
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log.commits import Change, commit
from reelport.facts.log.delta_log import open_delta, open_table, read_newest, translate_delta_errors
from reelport.facts.log.history import list_loads
from reelport.facts.log.log_entry import LogEntry
from reelport.facts.log.log_files import DamagedCommit, RemoteTables, attach_tables, commit_name, open_store
from reelport.facts.log.snapshot import newest_versions, pin
from reelport.facts.tables import BATCH, TABLES
from reelport.killpoints import VARIABLE
from reelport.server.settings import read_settings
from reelport.storage.file_cache import FileCache, holding
from reelport.storage.retries import retry_for

pytestmark = pytest.mark.long

Ask = Callable[..., list[tuple[object, ...]]]
Write = Callable[..., Path]
COUNT = "SELECT count(*) FROM t"
DAYS = (date(2023, 7, 2), date(2023, 7, 3))


def rows(video: str, views: int = 1, days: int = 3) -> list[tuple[str, str, str, int]]:
    """A play a day of a video."""
    return [(f"2023-07-{day:02}T05:00", video, "c1", views) for day in range(1, days + 1)]


def work(root: Path, plays: Write) -> None:
    """Load, replace, undo, compact and vacuum."""
    for number in range(3):
        load(root, "plays", [plays(f"{number}.csv", *rows(f"v{number}"))])
    load(root, "plays", [plays("new.csv", *rows("new")[1:])], replace=DAYS)
    replacement = list_loads(root)[-1]
    load(root, "plays", [plays("other.csv", *rows("other", 7, 2))])
    undo(root, list_loads(root)[-1].batch)
    undo(root, replacement.batch)
    undo(root, list_loads(root)[1].batch)
    compact(root, today=date(2024, 1, 1))
    vacuum(root, now=datetime.now(UTC) + timedelta(hours=73))


def restate(root: Path, plays: Write) -> None:
    """Load, replace and undo."""
    load(root, "plays", [plays("0.csv", *rows("v0", 1, 6))])
    load(root, "plays", [plays("new.csv", *rows("new")[1:])], replace=DAYS)
    undo(root, list_loads(root)[-1].batch)


def see(root: Path) -> list[tuple[object, ...]]:
    """Read the rows of the plays, in order."""
    with holding():
        tables = [pq.read_table(path, partitioning=None) for path in pin(root, ["plays"]).files("plays")]
    columns = pa.concat_tables(tables).select(["started_at", "video_id", "views"])
    return sorted(tuple(row.values()) for row in columns.to_pylist())


@pytest.mark.parametrize("change", thin_out([restate, work], 2))
def test_tables_hold_what_those_of_a_folder_hold(
    object_server: str, root: Path, tmp_path: Path, plays: Write, change: Callable[[Path, Write], None]
) -> None:
    """After the same work, though the cache has room for nothing but what is just read; seen from elsewhere, too."""
    assert object_server
    local, elsewhere = tmp_path / "local" / "facts", tmp_path / "elsewhere" / "facts"
    attach_tables(root, remote_tables(root))
    attach_tables(elsewhere, RemoteTables(remote_tables(root).address, FileCache(tmp_path / "cache", 100, "facts/")))
    for place in (local, root):
        with holding():
            change(place, plays)
    assert [(one.findings, one.left) for one in verify(root)] == [((), ())]
    assert len(see(local)) == 6
    assert see(local) == see(root) == see(elsewhere)
    assert not list(root.rglob("*.parquet"))
    loads = [[replace(one, at=None) for one in list_loads(place)] for place in (local, root, elsewhere)]
    assert loads[0] == loads[1] == loads[2]


@pytest.mark.parametrize("fault", thin_out([Fault.LOST, Fault.SLOW_DOWN, Fault.RESET], 3))
def test_a_commit_that_the_store_fails_is_made_once(
    faulty_server: FaultyProxy, root: Path, ask: Ask, plays: Write, fault: Fault
) -> None:
    """Though the answer of one that was taken is lost: its files stay, and nothing is doubled."""
    attach_tables(root, remote_tables(root))
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    for number, days in enumerate((None, DAYS), 1):
        faulty_server.fail(fault, times=1, method="PUT", part="_delta_log")
        found = load(root, "plays", [plays(f"{number}.csv", *rows(f"v{number}")[1:])], replace=days)
        assert (faulty_server.choose("PUT", "_delta_log"), found.already) == (None, False)
    assert ask("plays", "SELECT video_id, count(*) FROM t GROUP BY ALL ORDER BY ALL") == [("v0", 1), ("v2", 2)]
    assert [one.findings for one in verify(root)] == [()]


def test_a_commit_that_the_store_fails_while_another_takes_its_place_is_made_anew(
    faulty_server: FaultyProxy, root: Path, ask: Ask, plays: Write
) -> None:
    """The log tells whose commit it is, so nothing is unknown, and the load goes on behind the other."""
    attach_tables(root, remote_tables(root))
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    mine, other = plays("mine.csv", *rows("v1")), plays("other.csv", *rows("v2"))
    begun: list[str] = []

    def choose(method: str, path: str) -> Fault | None:
        if begun or method != "PUT" or "_delta_log" not in path:
            return None
        begun.append(path)
        load(root, "plays", [other])
        return Fault.RESET

    faulty_server.choose = choose
    with retry_for(0):
        assert not load(root, "plays", [mine]).already
    assert ask("plays", "SELECT video_id, count(*) FROM t GROUP BY ALL ORDER BY ALL") == [
        ("v0", 3),
        ("v1", 3),
        ("v2", 3),
    ]
    assert [one.findings for one in verify(root)] == [()]


@pytest.mark.parametrize("part", ["_last_checkpoint", "list-type"])
def test_a_load_asks_again_for_what_was_cut(
    faulty_server: FaultyProxy, root: Path, ask: Ask, plays: Write, part: str
) -> None:
    """The libraries send a request again only until an answer begins."""
    attach_tables(root, remote_tables(root))
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    faulty_server.fail(Fault.HALF, times=2, method="GET", part=part)
    load(root, "plays", [plays("1.csv", *rows("v1"))])
    assert faulty_server.count(Fault.HALF) == 2
    assert ask("plays", COUNT) == [(6,)]


def test_a_commit_of_which_nothing_is_known_keeps_its_files(
    faulty_server: FaultyProxy, root: Path, ask: Ask, plays: Write
) -> None:
    """The store takes it and answers nothing any more: the load says so, and the next one finds it."""
    attach_tables(root, remote_tables(root))
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    path = plays("1.csv", *rows("v1"))
    gone: list[str] = []

    def choose(method: str, path: str) -> Fault | None:
        if gone:
            return Fault.RESET
        if method == "PUT" and "_delta_log" in path:
            gone.append(path)
            return Fault.LOST
        return None

    faulty_server.choose = choose
    with retry_for(0), pytest.raises(OutcomeUnknown, match="load list"):
        load(root, "plays", [path])
    faulty_server.choose = lambda _method, _path: None
    assert load(root, "plays", [path]).already
    assert ask("plays", COUNT) == [(6,)]
    assert [one.findings for one in verify(root)] == [()]


def test_an_expired_token_is_told_and_not_repeated(faulty_server: FaultyProxy, root: Path, plays: Write) -> None:
    """The store quotes it in its answer, and the Delta library in its error."""
    attach_tables(root, remote_tables(root))
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    faulty_server.choose = lambda _method, _path: Fault.EXPIRED
    with pytest.raises(StorageError, match="these credentials have expired") as refused:
        open_table(root / "plays", 1)
    assert refused.value.__cause__ is None
    with pytest.raises(StorageError, match="these credentials have expired"), translate_delta_errors(root / "plays"):
        open_delta(root / "plays", 1)


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET, Fault.DENIED, Fault.EXPIRED])
def test_a_store_that_is_away_is_told_from_a_damaged_log(
    faulty_server: FaultyProxy, root: Path, plays: Write, fault: Fault
) -> None:
    """By the Delta library's words, too."""
    attach_tables(root, remote_tables(root))
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    faulty_server.choose = lambda _method, _path: fault
    with retry_for(0), pytest.raises(StoreUnavailable), translate_delta_errors(root / "plays"):
        open_delta(root / "plays", 1)
    faulty_server.choose = lambda _method, _path: None
    open_store(root / "plays").put(commit_name(1), b"no JSON")
    with pytest.raises(
        DamagedCommit, match=r"^s3://.*/_delta_log/0{19}1\.json is cut or damaged; run reelport verify$"
    ):
        read_newest(root, TABLES["plays"])


def test_a_load_goes_on_behind_a_listing_that_lags(
    faulty_server: FaultyProxy, root: Path, tmp_path: Path, ask: Ask, plays: Write
) -> None:
    """It builds on an older version, is refused, and builds on the newest once that is listed."""
    attach_tables(root, remote_tables(root))
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    stale = [0]

    def choose(_method: str, path: str) -> Fault | None:
        if "list-type" not in path or "_delta_log" not in path or stale[0] > 12:
            return None
        stale[0] += 1
        return Fault.STALE

    faulty_server.choose = choose
    assert newest_versions(root)["plays"] == 1
    others = tmp_path / "others" / "facts"
    attach_tables(others, RemoteTables(remote_tables(root).address, FileCache(tmp_path / "cache", 100, "facts/")))
    for number, place in ((1, others), (2, root)):
        load(place, "plays", [plays(f"{number}.csv", *rows(f"v{number}"))])
    assert stale[0] > 12
    assert ask("plays", COUNT) == [(9,)]
    assert [one.findings for one in verify(root)] == [()]


def test_loads_at_the_same_time_all_land_once(object_server: str, root: Path, ask: Ask, plays: Write) -> None:
    """Six of three batches, each twice: they are refused when another was first, and go on from there."""
    assert object_server
    attach_tables(root, remote_tables(root))
    paths = [plays(f"{number}.csv", *rows(f"v{number}")) for number in range(3)]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda path: load(root, "plays", [path]).already, paths * 2))
    assert sorted(done) == [False] * 3 + [True] * 3
    assert ask("plays", COUNT) == [(9,)]
    assert [one.findings for one in verify(root)] == [()]


def test_nobody_else_sees_or_deletes_the_drafts_of_a_living_process(
    object_server: str, root: Path, ask: Ask, plays: Write
) -> None:
    """Not another process's load, which deletes those of killed ones, nor a vacuum of all that is old enough."""
    assert object_server
    attached = remote_tables(root)
    attach_tables(root, attached)
    load(root, "plays", [plays("0.csv", *rows("v0"))])
    now = read_newest(root, TABLES["plays"])
    with open_workspace(root) as space, StagedFiles(now.folder, now.table, now.version, space.folder) as staged:
        staged.write_day(DAYS[0], "by-hand", pq.ParquetFile(now.path(now.files[0])).read().drop([BATCH]))
        staged.end_file()
        (draft,) = space.folder.rglob("*.parquet")
        words = ["-m", "reelport", "load", "plays", str(plays("1.csv", *rows("v1"))), "--data", str(root.parent)]
        settings = {"REELPORT_FACTS_URL": str(attached.address)}
        done = forked.run(words, env=os.environ | settings, loads=forked.COMMANDS)
        assert done.returncode == 0, done.stderr
        vacuum(root, now=datetime.now(UTC) + timedelta(hours=73))
        assert draft.exists()
        assert draft.relative_to(space.folder).as_posix() not in list(open_store(now.folder).list_names())
        assert [(one.findings, one.left) for one in verify(root)] == [((), ())]
        files = staged.finish()
        commit(root, now.table, lambda _: Change(LogEntry("load", "by-hand", rows=1), files))
        staged.keep()
    assert ask("plays", COUNT) == [(7,)]
    assert [(one.findings, one.left) for one in verify(root)] == [((), ())]


@pytest.mark.parametrize("step", thin_out(["load-write", "load-upload", "load-commit"], 3))
def test_a_killed_load_lands_once_when_it_is_run_again(
    object_server: str, root: Path, ask: Ask, plays: Write, step: str
) -> None:
    """By a command of the platform, over tables that its settings name; the drafts of the killed one are gone."""
    assert object_server
    address = remote_tables(root).address
    path = plays("0.csv", *rows("v0"))
    words = ["-m", "reelport", "load", "plays", str(path), "--data", str(root.parent)]
    settings = {"REELPORT_FACTS_URL": str(address), VARIABLE: step}
    done = forked.run(words, env=os.environ | settings, loads=forked.COMMANDS)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any((root / ".work").rglob("*.parquet")) == (step != "load-commit")
    attached = read_settings(data=root.parent, facts_url=str(address)).facts_root
    assert load(attached, "plays", [path]).already == (step == "load-commit")
    assert not any((root / ".work").rglob("*.parquet"))
    assert ask("plays", COUNT) == [(3,)]
    vacuum(root, now=datetime.now(UTC) + timedelta(hours=73))
    assert [(one.findings, one.left) for one in verify(root)] == [((), ())]
    assert not [
        name for name in open_store(root / "plays").list_names() if not name.startswith(("_delta_log/", "month="))
    ]


CHANGE = """
import os
import sys
from datetime import date
from pathlib import Path

from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo
from reelport.facts.log.history import list_loads
from reelport.server.settings import read_settings

change, step, path, root, address = sys.argv[1:]
root = read_settings(data=Path(root).parent, facts_url=address).facts_root


def arm(now):
    if now.stage == "committing":  # what the load itself wrote is done
        os.environ["REELPORT_STOP_AT"] = step


if change == "compact":
    os.environ["REELPORT_STOP_AT"] = step
    compact(root, today=date(2024, 1, 1))
elif change == "undo":
    os.environ["REELPORT_STOP_AT"] = step
    undo(root, list_loads(root, "plays")[0].batch)
elif change == "replace":
    load(root, "plays", [Path(path)], replace=(date(2023, 7, 2), date(2023, 7, 3)), progress=arm)
else:
    load(root, "channels", [Path(path)], progress=arm)
"""
"""A change over tables of an object store that is killed in the files which it writes anew."""


@pytest.mark.parametrize(
    ("change", "step"),
    thin_out(
        [
            ("compact", "load-write"),
            ("compact", "load-upload"),
            ("replace", "load-write"),
            ("merge", "load-write"),
            ("undo", "load-write"),
        ],
        5,
    ),
)
def test_what_a_killed_change_wrote_anew_goes_with_the_next_load(
    object_server: str, root: Path, tmp_path: Path, plays: Write, change: str, step: str
) -> None:
    """Also under the name that a month's file gets once all its days are known."""
    assert object_server
    attached = remote_tables(root)
    attach_tables(root, attached)
    for number in range(2):
        load(root, "plays", [plays(f"{number}.csv", *rows(f"v{number}"))])
    compact(root, today=date(2024, 1, 1))
    load(root, "plays", [plays("2.csv", *rows("v2"))])
    path = plays("new.csv", *rows("new")[1:])
    if change == "merge":
        path = tmp_path / "channels.csv"
        path.write_text("id,slug,name\nc1,one,One\n")
    done = forked.run(["-c", CHANGE, change, step, path, root, str(attached.address)], loads=forked.COMMANDS)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any((root / ".work").rglob("*.parquet"))
    load(root, "plays", [plays("3.csv", *rows("v3"))])
    assert not any((root / ".work").rglob("*.parquet"))
