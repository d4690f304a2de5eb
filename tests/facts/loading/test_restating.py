"""Days restated, loads undone and settled days merged: always one commit, and never another row than meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from tests.cases import thin_out

from reelport.errors import BadInput, UsageError
from reelport.facts.data_files.duckdb_session import parquet_source
from reelport.facts.loading.compaction import CompactedMonth, compact
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import plan_undo, undo
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log.history import list_loads
from reelport.facts.log.log_entry import MONTH_FILE
from reelport.facts.log.log_files import open_store
from reelport.facts.log.snapshot import pin

Ask = Callable[..., list[tuple[object, ...]]]
Write = Callable[..., Path]
JULY = (date(2023, 7, 1), date(2023, 7, 31))
LATER = date(2023, 9, 1)
SEEN = "SELECT CAST(day AS VARCHAR), owner_channel_id, CAST(eur AS DOUBLE) FROM t ORDER BY ALL"


@pytest.fixture(autouse=True)
def _right(root: Path) -> Iterator[None]:
    """Whatever a test does, the tables end as their records say."""
    yield
    assert [one.findings for one in verify(root) if one.findings] == []


def _july(earnings: Write, name: str = "july.csv") -> Path:
    return earnings(name, *((f"2023-07-{day:02}", owner, day) for day in range(1, 11) for owner in ("a", "b")))


def test_replaced_days_hold_the_new_rows_only(root: Path, ask: Ask, earnings: Write) -> None:
    """Days of the range that the batch doesn't fill are emptied, and days outside stay."""
    load(root, "earnings", [_july(earnings)])
    new = earnings("new.csv", ("2023-07-03", "c", 99))
    load(root, "earnings", [new], replace=(date(2023, 7, 2), date(2023, 7, 9)))
    assert ask("earnings", SEEN) == [
        ("2023-07-01", "a", 1.0),
        ("2023-07-01", "b", 1.0),
        ("2023-07-03", "c", 99.0),
        ("2023-07-10", "a", 10.0),
        ("2023-07-10", "b", 10.0),
    ]


@pytest.mark.parametrize("compacted", thin_out([True, False], 2))
def test_a_then_b_then_a_again_gives_a(root: Path, ask: Ask, earnings: Write, compacted: bool) -> None:
    """Load A, replace by B, replace by A again: the rows are A's, from day files and from month files."""
    first, other = _july(earnings), earnings("b.csv", ("2023-07-05", "z", 1))
    load(root, "earnings", [first])
    seen = ask("earnings", SEEN)
    for path in (other, first, other, first):
        if compacted:
            compact(root, today=LATER)
        load(root, "earnings", [path], replace=JULY)
    assert ask("earnings", SEEN) == seen


def test_a_day_inside_a_month_file_is_restated(root: Path, ask: Ask, earnings: Write) -> None:
    """The month file is written again without the day, still sorted, and the day is its own file."""
    load(root, "earnings", [_july(earnings)])
    compact(root, today=LATER)
    load(root, "earnings", [earnings("n.csv", ("2023-07-05", "a", 55))], replace=(date(2023, 7, 5), date(2023, 7, 5)))
    assert ask("earnings", "SELECT sum(eur) FROM t") == [(2 * 55 - 10 + 55,)]
    names = sorted(Path(path).name for path in pin(root, ["earnings"]).files("earnings"))
    assert [name.startswith(MONTH_FILE) for name in names] == [False, True]
    assert len(pin(root, ["earnings"]).files("earnings", date(2023, 7, 5), date(2023, 7, 5))) == 2


def test_a_replacement_takes_no_bad_rows_and_none_outside(root: Path, ask: Ask, earnings: Write) -> None:
    """One bad row, or one of another day, refuses the replacement, and everything stays as it was."""
    load(root, "earnings", [_july(earnings)])
    seen = ask("earnings", SEEN)
    with pytest.raises(BadInput, match="a replacement takes no bad rows"):
        load(root, "earnings", [earnings("n.csv", ("2023-07-05", "a", 1), ("2023-07-05", "a", "x"))], replace=JULY)
    with pytest.raises(BadInput, match="outside the days to replace \\(2023-08-01\\)"):
        load(root, "earnings", [earnings("n.csv", ("2023-07-05", "a", 1), ("2023-08-01", "a", 1))], replace=JULY)
    with pytest.raises(UsageError, match="reversed"):
        load(root, "earnings", [_july(earnings)], replace=(JULY[1], JULY[0]))
    assert ask("earnings", SEEN) == seen


def test_a_header_alone_empties_days(tmp_path: Path, root: Path, ask: Ask, earnings: Write) -> None:
    """A file without rows is a right answer for days that turned out empty."""
    load(root, "earnings", [_july(earnings)])
    path = tmp_path / "none.csv"
    path.write_text("day,owner_channel_id,eur,usd\n")
    load(root, "earnings", [path], replace=(date(2023, 7, 2), date(2023, 7, 31)))
    assert ask("earnings", "SELECT DISTINCT CAST(day AS VARCHAR) FROM t") == [("2023-07-01",)]


@pytest.mark.parametrize("compacted", thin_out([True, False], 2))
def test_undo_removes_exactly_the_rows_of_the_batch(root: Path, ask: Ask, earnings: Write, compacted: bool) -> None:
    """The rows of other batches on the same days stay, merged or not, and the batch can be loaded again."""
    kept = load(root, "earnings", [_july(earnings)])
    seen = ask("earnings", SEEN)
    other = earnings("b.csv", ("2023-07-03", "a", 7), ("2023-07-30", "b", 7))
    batch = load(root, "earnings", [other]).batch
    if compacted:
        compact(root, today=LATER)
    done = undo(root, batch[:6])
    assert (done.removed, done.restored) == (2, 0)
    assert ask("earnings", SEEN) == seen
    with pytest.raises(UsageError, match="undone already"):
        undo(root, batch)
    assert [(one.batch, one.undone) for one in list_loads(root)] == [(kept.batch, False), (batch, True)]
    assert not load(root, "earnings", [other]).already
    assert len(ask("earnings", SEEN)) == len(seen) + 2


@pytest.mark.parametrize("merge", thin_out(["after", "before", "never"], 3))
def test_undoing_a_replacement_restores_what_it_replaced(root: Path, ask: Ask, earnings: Write, merge: str) -> None:
    """What lay in the range comes back, and what lies outside stays."""
    load(root, "earnings", [_july(earnings)])
    seen = ask("earnings", SEEN)
    if merge == "before":
        compact(root, today=LATER)
    span = (date(2023, 7, 4), date(2023, 7, 6))
    batch = load(root, "earnings", [earnings("n.csv", ("2023-07-05", "a", 1))], replace=span).batch
    if merge == "after":
        compact(root, today=LATER)
    done = undo(root, batch)
    assert (done.removed, done.restored) == (1, 6)
    assert ask("earnings", SEEN) == seen


@pytest.mark.long
def test_undoing_a_replacement_brings_back_no_undone_batch(root: Path, ask: Ask, earnings: Write) -> None:
    """A batch that was undone meanwhile isn't among what comes back."""
    first = load(root, "earnings", [_july(earnings)])
    load(root, "earnings", [earnings("k.csv", ("2023-07-05", "k", 1))])
    second = load(root, "earnings", [earnings("n.csv", ("2023-07-05", "n", 1))], replace=JULY)
    undo(root, first.batch)
    undo(root, second.batch)
    assert ask("earnings", SEEN) == [("2023-07-05", "k", 1.0)]


def test_undoing_a_replacement_is_refused_after_a_later_load_of_its_days(root: Path, earnings: Write) -> None:
    """The later load is named: undone first, it clears the way."""
    load(root, "earnings", [_july(earnings)])
    second = load(root, "earnings", [earnings("n.csv", ("2023-07-05", "n", 1))], replace=JULY)
    third = load(root, "earnings", [earnings("o.csv", ("2023-07-20", "o", 1))])
    with pytest.raises(UsageError, match=third.batch):
        undo(root, second.batch)
    undo(root, third.batch)
    assert undo(root, second.batch).restored == 20


def test_undoing_a_replacement_is_refused_after_its_old_files_are_gone(root: Path, earnings: Write) -> None:
    """After a vacuum the refusal says so and what to do instead."""
    load(root, "earnings", [_july(earnings)])
    batch = load(root, "earnings", [earnings("n.csv", ("2023-07-05", "n", 1))], replace=JULY).batch
    _age(root, hours=100)
    assert vacuum(root, now=datetime.now(UTC) + timedelta(hours=100))[0].files == 10
    with pytest.raises(UsageError, match="vacuumed"):
        undo(root, batch)


def test_an_object_load_is_undone_while_it_is_the_last(tmp_path: Path, root: Path, ask: Ask) -> None:
    """Undoing goes back to the table as it was, newest load first."""
    path = tmp_path / "c.csv"
    batches = []
    for slug in ("one", "two", "three"):
        path.write_text(f"id,slug\nc1,{slug}\n{slug},x-{slug}\n")
        batches.append(load(root, "channels", [path]).batch)
    with pytest.raises(UsageError, match="undo those first"):
        undo(root, batches[1])
    undo(root, batches[2])
    undo(root, batches[1])
    assert ask("channels", "SELECT id, slug FROM t ORDER BY id") == [("c1", "one"), ("one", "x-one")]
    undo(root, batches[0])
    assert ask("channels") == []
    assert not load(root, "channels", [path]).already


def test_an_undo_of_objects_counts_what_it_changes(tmp_path: Path, root: Path) -> None:
    """Rows that stay as they are count neither as removed nor as restored; one that is renamed counts as both."""
    path = tmp_path / "c.csv"
    path.write_text("id,slug\nc1,one\nc2,two\nc3,three\n")
    load(root, "channels", [path])
    path.write_text("id,slug\nc3,third\nc4,four\nc5,five\n")
    batch = load(root, "channels", [path]).batch
    assert [(one.day, one.removed, one.restored) for one in plan_undo(root, batch).days] == [(None, 3, 1)]
    done = undo(root, batch)
    assert (done.removed, done.restored) == (3, 1)


def test_an_unknown_or_ambiguous_batch_is_refused(root: Path) -> None:
    """A batch is named by enough of its beginning, and never by nothing: an empty variable would undo a lone load."""
    for number in "12":
        load_arrow(root, "channels", pa.table({"id": [number], "slug": [number]}), f"by-hand-{number}")
    with pytest.raises(UsageError, match="no load has a batch"):
        undo(root, "nope")
    with pytest.raises(UsageError, match="names 2 batches"):
        undo(root, "by-hand")
    with pytest.raises(UsageError, match="has no name"):
        undo(root, "")


def test_compaction_keeps_rows_and_pinned_readers(root: Path, ask: Ask, earnings: Write) -> None:
    """Merged days are one sorted file a month; a snapshot taken before reads the old files still."""
    august = earnings("aug.csv", *((f"2023-08-{day:02}", "a", day) for day in range(1, 32)))
    load(root, "earnings", [_july(earnings), august])
    pinned, seen = pin(root, ["earnings"]), ask("earnings", SEEN)
    done = compact(root, today=date(2023, 8, 20), settled_after=3)
    assert [(one.month, one.files, one.rows) for one in done] == [("2023-07", 10, 20), ("2023-08", 16, 16)]
    assert ask("earnings", SEEN) == seen
    with duckdb.connect() as session:
        source = parquet_source(list(pinned.files("earnings")))
        assert session.execute(f"SELECT count(*) FROM {source}").fetchall() == [(len(seen),)]
    assert compact(root, today=date(2023, 8, 20), settled_after=3) == ()
    assert len(compact(root, today=date(2023, 8, 25), settled_after=3)) == 1


def test_a_month_that_changes_while_another_is_merged_is_left_as_it_is(root: Path, ask: Ask, earnings: Write) -> None:
    """Its files are others by then: nothing of it is merged, and the undo stands."""
    load(root, "earnings", [_july(earnings)])
    august = load(root, "earnings", [earnings("aug.csv", *((f"2023-08-{day:02}", "a", day) for day in range(1, 9)))])

    def undo_august(merged: CompactedMonth) -> None:
        assert merged.month == "2023-07"
        undo(root, august.batch)

    assert len(compact(root, today=LATER, progress=undo_august)) == 1
    assert {str(day)[:7] for day, *_ in ask("earnings", SEEN)} == {"2023-07"}


def test_vacuum_keeps_whatever_a_report_may_still_read(root: Path, ask: Ask, earnings: Write) -> None:
    """Files in use stay however old, replaced ones for 72 hours, and a killed load's leavings go after that."""
    load(root, "earnings", [_july(earnings)])
    _age(root, hours=1000)
    compact(root, today=LATER)
    store, orphan = open_store(root / "earnings"), "month=2023-07/2023-07-01-killed.parquet"
    store.put(orphan, b"PAR1")
    now = datetime.now(UTC)
    assert vacuum(root, now=now)[0].files == 0
    assert store.find(orphan) is not None
    seen = ask("earnings", SEEN)
    assert vacuum(root, now=now + timedelta(hours=73))[0].files == 11
    assert ask("earnings", SEEN) == seen
    with pytest.raises(UsageError, match="at least 72 hours"):
        vacuum(root, now=now, hours=1)


def _age(root: Path, hours: int) -> None:
    """Make every data file look as if it were written that long ago."""
    then = datetime.now(UTC).timestamp() - hours * 3600
    for path in root.rglob("month=*/*.parquet"):
        os.utime(path, (then, then))
