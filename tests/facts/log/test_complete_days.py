"""Days are complete by their rows, not by a clock that runs ahead; a missing day holds others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load
from reelport.facts.loading.undo import undo
from reelport.facts.log.complete_days import LOOKED_AT, complete_days, find_missing_days, last_complete_day
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.delta_log import list_files_at
from reelport.facts.log.loaded_tables import tables_report
from reelport.facts.log.log_files import commit_name
from reelport.facts.log.month_names import name_month, parse_days
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import TABLES

Write = Callable[..., Path]
TODAY = date(2026, 11, 29)
DAY = timedelta(days=1)
EMPTY = date(2026, 11, 11)
NEAR = st.sets(st.integers(-90, 40).map(lambda days: TODAY + timedelta(days=days)))


def ends(files: Collection[DataFile], today: date = TODAY) -> tuple[date | None, date | None]:
    """The first and last complete day, where no day was emptied on purpose."""
    return complete_days(files, today, find_missing_days(files, today))


def day_file(day: date, *, hourly: bool = False) -> DataFile:
    """The file of a whole day."""
    moments: tuple[date, date] = (day, day)
    if hourly:
        moments = (datetime.combine(day, time(0, 5), UTC), datetime.combine(day, time(23, 5), UTC))
    return DataFile(f"month={day:%Y-%m}/{day}-0123456789ab-0123456789ab.parquet", 1, 1, f"{day:%Y-%m}", *moments)


def month_files(days: Collection[date], *, hourly: bool = False, marked: bool = True) -> list[DataFile]:
    """The same days as files of months; such as earlier versions wrote where they aren't `marked`."""
    months = defaultdict(list)
    for day in sorted(days):
        months[f"{day:%Y-%m}"].append(day)
    made = []
    for month, found in months.items():
        first, last = day_file(found[0], hourly=hourly).first, day_file(found[-1], hourly=hourly).last
        stem = name_month(found) if marked else "month"
        made.append(DataFile(f"month={month}/{stem}-0123456789ab.parquet", 1, len(found), month, first, last))
    return made


def day_files(days: Iterable[date], *, hourly: bool = False) -> list[DataFile]:
    return [day_file(day, hourly=hourly) for day in days]


def between(first: date, last: date) -> set[date]:
    return {first + timedelta(days=place) for place in range((last - first).days + 1)}


@given(NEAR, st.booleans())
def test_rows_of_the_future_change_nothing(days: set[date], hourly: bool) -> None:
    """Whatever lies after today: what is complete is what it would be without."""
    past = {day for day in days if day <= TODAY}
    files, known = day_files(days, hourly=hourly), day_files(past, hourly=hourly)
    assert ends(files) == ends(known, TODAY)
    assert find_missing_days(files, TODAY) == find_missing_days(known, TODAY)


@given(NEAR)
def test_months_tell_what_days_tell(days: set[date]) -> None:
    """A month file of daily facts, of some days before today and some after, tells what the files of its days would."""
    assert ends(month_files(days)) == ends(day_files(days), TODAY)
    assert find_missing_days(month_files(days), TODAY) == find_missing_days(day_files(days), TODAY)


@given(NEAR)
def test_months_of_hours_never_tell_more(days: set[date]) -> None:
    """Where rows of the future hide the hour of the last row before, that row's day counts as not over."""
    told, wanted = (ends(files, TODAY)[1] for files in (month_files(days, hourly=True), day_files(days)))
    assert told is None or (wanted is not None and told <= wanted)
    past = {day for day in days if day < TODAY.replace(day=1)}
    assert ends(month_files(past, hourly=True)) == ends(day_files(past, hourly=True), TODAY)


@given(NEAR, st.booleans(), st.booleans())
def test_no_complete_day_is_beyond_the_rows_today_or_a_missing_day(days: set[date], hourly: bool, months: bool) -> None:
    """And the first one is the first with rows, or there is none."""
    files = month_files(days, hourly=hourly) if months else day_files(days, hourly=hourly)
    first, last = ends(files, TODAY)
    missing = find_missing_days(files, TODAY)
    assert (first is None) == (last is None)
    if first is not None and last is not None:
        assert min(days) == first <= last < TODAY
        assert last in days or last < TODAY - DAY or TODAY in days
        assert all(last < day for day in missing)
    assert not days.intersection(missing)
    assert all(TODAY - timedelta(days=LOOKED_AT) < day < TODAY for day in missing) or max(days) < TODAY


@given(st.sets(st.integers(1, 31), min_size=1))
def test_a_months_name_tells_its_days(days: set[int]) -> None:
    """Each of them, and no other."""
    name = f"month=2026-10/{name_month(date(2026, 10, day) for day in days)}-0123456789ab.parquet"
    assert parse_days(name) == frozenset(days)


def test_other_names_tell_no_days() -> None:
    """Those of day files, and of month files of earlier versions."""
    assert parse_days("month=2026-10/month-0123456789ab.parquet") is None
    assert parse_days("month=2026-10/2026-10-01-0123456789ab-0123456789ab.parquet") is None


def test_a_missing_day_holds_back_the_days_after_it() -> None:
    """Until it comes, or until it is too long ago."""
    days = between(date(2026, 11, 1), date(2026, 11, 28)) - {EMPTY}
    assert find_missing_days(day_files(days), TODAY) == (EMPTY,)
    assert ends(day_files(days), TODAY) == (date(2026, 11, 1), EMPTY - DAY)
    assert ends(day_files(days | {EMPTY}), TODAY) == (date(2026, 11, 1), TODAY - DAY)
    later = EMPTY + timedelta(days=LOOKED_AT)
    days |= between(TODAY, later)
    assert ends(day_files(days), later + DAY)[1] == later


def test_a_table_with_many_days_without_rows_has_none_missing() -> None:
    """Rows once a week or a month, on working days, or on most days of a small platform: that is how it is."""
    start = date(2026, 1, 1)
    every = sorted(between(start, TODAY - DAY))
    for kept in (
        [day for day in every if day.day == 1],
        [day for day in every if day.weekday() == 0],
        [day for day in every if day.weekday() < 5],
        [day for day in every if day.toordinal() % 17],
    ):
        assert find_missing_days(day_files(kept), TODAY) == ()
        assert ends(day_files(kept), TODAY)[1] == kept[-1]


def test_an_older_month_file_with_days_to_come_vouches_for_its_first_day_alone() -> None:
    """Nothing tells which days before today it has."""
    files = month_files({date(2026, 11, 3), date(2026, 11, 20), date(2026, 11, 30)}, marked=False)
    assert ends(files, TODAY) == (date(2026, 11, 3), date(2026, 11, 3))


def test_compacted_days_still_tell_the_one_that_is_missing(root: Path, earnings: Write) -> None:
    """In the log itself, as the Delta library reads it and as a worker does; also once the day's load is undone."""
    rows = [(str(day), "c1", 1) for day in sorted(between(date(2026, 10, 20), date(2026, 11, 20)) - {EMPTY})]
    load(root, "earnings", [earnings("a.csv", *rows)])
    before = {one.table: one for one in tables_report(root, TODAY)}["earnings"]
    assert (before.complete_to, before.missing_days) == (EMPTY - DAY, (EMPTY,))
    assert {done.month for done in compact(root, today=TODAY)} == {"2026-10", "2026-11"}
    after = {one.table: one for one in tables_report(root, TODAY)}["earnings"]
    assert (after.files, after.complete_to, after.missing_days) == (2, EMPTY - DAY, (EMPTY,))
    version = pin(root, ["earnings"]).versions["earnings"]
    assert find_missing_days(list_files_at(root / "earnings", TABLES["earnings"], version), TODAY) == (EMPTY,)
    late = load(root, "earnings", [earnings("late.csv", (str(EMPTY), "c1", 1))])
    compact(root, today=TODAY)
    assert not {one.table: one.missing_days for one in tables_report(root, TODAY)}["earnings"]
    undo(root, late.batch)
    assert {one.table: one.missing_days for one in tables_report(root, TODAY)}["earnings"] == (EMPTY,)


def test_a_day_that_a_replacement_emptied_is_not_missing(root: Path, earnings: Write) -> None:
    """Until the replacement is undone: that is how an operator says that a day has no rows."""
    rows = [(str(day), "c1", 1) for day in sorted(between(date(2026, 11, 1), date(2026, 11, 20)) - {EMPTY})]
    load(root, "earnings", [earnings("a.csv", *rows)])
    done = load(root, "earnings", [earnings("none.csv")], replace=(EMPTY, EMPTY))
    told = {one.table: one for one in tables_report(root, TODAY)}["earnings"]
    assert (told.complete_to, told.missing_days) == (date(2026, 11, 20), ())
    assert last_complete_day(pin(root, ["earnings"]), TODAY) == date(2026, 11, 20)
    undo(root, done.batch)
    assert last_complete_day(pin(root, ["earnings"]), TODAY) == EMPTY - DAY


def test_a_moment_without_the_log_leaves_no_wrong_day_behind(root: Path, earnings: Write) -> None:
    """While the replacement's commit can't be read its day counts as missing, and no longer."""
    rows = [(str(day), "c1", 1) for day in sorted(between(date(2026, 11, 1), date(2026, 11, 20)) - {EMPTY})]
    load(root, "earnings", [earnings("a.csv", *rows)])
    load(root, "earnings", [earnings("none.csv")], replace=(EMPTY, EMPTY))
    replaced = pin(root, ["earnings"]).versions["earnings"]
    load(root, "earnings", [earnings("b.csv", ("2026-11-20", "c2", 1))])
    snapshot = pin(root, ["earnings"])
    commit = root / "earnings" / commit_name(replaced)
    commit.rename(commit.with_suffix(".away"))
    assert last_complete_day(snapshot, TODAY) == EMPTY - DAY
    commit.with_suffix(".away").rename(commit)
    assert last_complete_day(snapshot, TODAY) == date(2026, 11, 20)
