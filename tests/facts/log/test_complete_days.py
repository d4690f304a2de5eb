"""Days are complete by what was told of them, not by a clock that runs ahead; a missing day holds back others."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fact_rows import make_earnings

from reelport.errors import UsageError
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import undo
from reelport.facts.log.delta_log import list_files_at
from reelport.facts.log.freshness import find_completeness, last_complete_day, read_completeness, tables_report
from reelport.facts.log.log_entry import DataFile, merge_spans, name_month, parse_days
from reelport.facts.log.log_files import commit_name
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import EARNINGS, TABLES, USAGE

from .small_log import load_days

pytestmark = pytest.mark.long

Write = Callable[..., Path]
TODAY = date(2026, 11, 29)
DAY = timedelta(days=1)
EMPTY = date(2026, 11, 11)
AT_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEAR_DAY = st.integers(-90, 40).map(lambda days: TODAY + timedelta(days=days))
NEAR = st.sets(NEAR_DAY)
LONG = st.builds(
    lambda first, count, lost: between(first, first + timedelta(days=count)) - lost, NEAR_DAY, st.integers(0, 60), NEAR
)
"""Days in a row, of which some are lost."""


def ends(files: Iterable[DataFile], today: date = TODAY) -> tuple[date | None, date | None]:
    """The first and last complete day, where no replacement stands."""
    found = find_completeness(files, (), today)
    return found.first, found.last


def missing(files: Iterable[DataFile], today: date = TODAY) -> tuple[date, ...]:
    """The missing days, where no replacement stands."""
    return find_completeness(files, (), today).missing


def day_file(day: date, *, hourly: bool = False) -> DataFile:
    """The file of a whole day."""
    moments: tuple[date, date] = (day, day)
    if hourly:
        moments = (datetime.combine(day, time(0, 5), UTC), datetime.combine(day, time(23, 5), UTC))
    return DataFile(f"month={day:%Y-%m}/{day}-0123456789ab-0123456789ab.parquet", 1, 1, f"{day:%Y-%m}", *moments)


def month_files(days: Collection[date], *, hourly: bool = False) -> list[DataFile]:
    """The same days as files of months."""
    months = defaultdict(list)
    for day in sorted(days):
        months[f"{day:%Y-%m}"].append(day)
    made = []
    for month, found in months.items():
        first, last = day_file(found[0], hourly=hourly).first, day_file(found[-1], hourly=hourly).last
        made.append(
            DataFile(f"month={month}/{name_month(found)}-0123456789ab.parquet", 1, len(found), month, first, last)
        )
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
    assert ends(files) == ends(known)
    assert missing(files, TODAY) == missing(known, TODAY)


@given(NEAR)
def test_months_tell_what_days_tell(days: set[date]) -> None:
    """A month file of daily facts, of some days before today and some after, tells what the files of its days would."""
    assert ends(month_files(days)) == ends(day_files(days), TODAY)
    assert missing(month_files(days), TODAY) == missing(day_files(days), TODAY)


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
    first, last = ends(files)
    assert (first is None) == (last is None)
    if first is not None and last is not None:
        assert min(days) == first <= last < TODAY
        assert last in days or last < TODAY - DAY or TODAY in days
        assert all(last < day for day in missing(files))
    assert not days.intersection(missing(files))


@given(st.sets(st.integers(1, 31), min_size=1))
def test_a_months_name_tells_its_days(days: set[int]) -> None:
    """Each of them, and no other."""
    name = f"month=2026-10/{name_month(date(2026, 10, day) for day in days)}-0123456789ab.parquet"
    assert parse_days(name) == frozenset(days)


def test_other_names_tell_no_days() -> None:
    """Those of day files, and of a month file that is being written."""
    assert parse_days("month=2026-10/month-0123456789ab.parquet") is None
    assert parse_days("month=2026-10/2026-10-01-0123456789ab-0123456789ab.parquet") is None


def judge(told: Collection[date], today: date) -> tuple[date | None, tuple[date, ...]]:
    """The last complete day and the missing ones, day by day as the rule says it."""
    known = {day for day in told if day <= today}
    in_a_row, is_expected, found = 0, False, []
    for day in sorted(between(min(known), max(known))) if known else ():
        in_a_row = in_a_row + 1 if day in known else 0
        if is_expected and day not in known:
            found.append(day)
        is_expected = is_expected or in_a_row == 14
    last = min([*found[:1], max(known) + DAY, today]) - DAY if known else None
    return (last if last is not None and last >= min(known) else None), tuple(found)


@given(LONG, st.lists(st.tuples(NEAR_DAY, st.integers(0, 9)), max_size=3), st.integers(0, 60))
def test_files_and_replacements_tell_days_together(days: set[date], given_: list[tuple[date, int]], ago: int) -> None:
    """A day that is restated is told as one with rows is, but for days that weren't over."""
    today = TODAY - timedelta(days=ago)
    restated = merge_spans((first, first + timedelta(days=more)) for first, more in given_)
    silent = {day for span in restated for day in between(*span) if day < today}
    found = find_completeness(day_files(days), restated, today)
    last, lacking = judge(days | silent, today)
    assert found.missing == lacking
    first = min((day for day in days if day <= today), default=min(silent, default=today))
    assert (found.first, found.last) == ((first, last) if last is not None and first <= last else (None, None))


@given(LONG, LONG)
def test_to_say_that_a_day_was_empty_lets_no_other_day_go(days: set[date], said: set[date]) -> None:
    """Whether it had rows before or none, and wherever other gaps lie; the day itself isn't missing any more."""
    files = day_files(days)
    for day in said:
        before, after = find_completeness(files, (), TODAY), find_completeness(files, [(day, day)], TODAY)
        assert set(before.missing) - {day} <= set(after.missing)
        assert day not in after.missing
        emptied = find_completeness(day_files(days - {day}), [(day, day)], TODAY)
        assert emptied.missing == after.missing


@given(LONG, LONG, st.integers(0, 400))
def test_what_comes_later_lets_no_day_go(days: set[date], later: set[date], passed: int) -> None:
    """Neither rows of later days, with more gaps or none, nor time."""
    before, today = find_completeness(day_files(days), (), TODAY), TODAY + timedelta(days=passed)
    shift = max(days, default=TODAY) + DAY - min(later, default=TODAY)
    after = find_completeness(day_files(days | {day + shift for day in later}), (), today)
    assert after.missing[: len(before.missing)] == before.missing
    assert not before.missing or (after.first, after.last) == (before.first, before.last)


def test_a_missing_day_holds_back_the_days_after_it() -> None:
    """However long ago it was; until it comes, or is said to have been empty."""
    days = between(date(2026, 10, 1), TODAY - DAY) - {EMPTY}
    assert missing(day_files(days)) == (EMPTY,)
    assert ends(day_files(days)) == (date(2026, 10, 1), EMPTY - DAY)
    assert ends(day_files(days | {EMPTY})) == (date(2026, 10, 1), TODAY - DAY)
    later = date(2029, 1, 1)
    days |= between(TODAY, later)
    assert ends(day_files(days), later + DAY)[1] == EMPTY - DAY
    assert find_completeness(day_files(days), [(EMPTY, EMPTY)], later + DAY).last == later


def test_the_first_gap_counts_wherever_it_lies() -> None:
    """Of ninety days any after the first two weeks, alone or with two others, of which one is said to be empty."""
    whole = sorted(between(date(2026, 9, 1), TODAY))
    for place in range(14, len(whole) - 1):
        assert ends(day_files({*whole} - {whole[place]})) == (whole[0], whole[place - 1])
    lost = whole[30], whole[50], whole[70]
    for said in lost:
        last = find_completeness(day_files({*whole}.difference(lost)), [(said, said)], TODAY).last
        assert last == min(day for day in lost if day != said) - DAY


def test_each_day_is_expected_after_two_weeks_without_a_gap() -> None:
    """Of them some may have been said to be empty; one day less is no sign of how the table is."""
    first = date(2026, 10, 1)
    for count in (13, 14):
        days = between(first, first + timedelta(days=count - 1))
        gap = first + timedelta(days=count)
        expected = (gap,) if count == 14 else ()
        assert missing(day_files(days | {gap + DAY})) == expected
        assert find_completeness(day_files({max(days), gap + DAY}), [(first, max(days))], TODAY).missing == expected


def test_a_table_with_days_of_rest_has_none_missing() -> None:
    """Rows once a week or a month, or on working days and once on a weekend: that is how it is."""
    every = sorted(between(date(2026, 1, 1), TODAY - DAY))
    working = [day for day in every if day.weekday() < 5]
    for kept in (
        [day for day in every if day.day == 1],
        [day for day in every if day.weekday() == 0],
        working,
        sorted({*working, date(2026, 7, 4), date(2026, 7, 5)}),
    ):
        assert missing(day_files(kept)) == ()
        assert ends(day_files(kept))[1] == kept[-1]


def test_a_restated_day_is_whole() -> None:
    """Its last hour needn't have rows: who replaces a day that is over says all that there is of it."""
    days = between(date(2026, 11, 1), date(2026, 11, 20))
    cut = [*day_files(days, hourly=True), DataFile("x", 1, 1, "2026-11", AT_NOON, AT_NOON)]
    assert ends(cut) == (date(2026, 11, 1), date(2026, 11, 20))
    said = [(AT_NOON.date(), AT_NOON.date())]
    assert find_completeness(cut, said, TODAY).last == AT_NOON.date()
    assert find_completeness(cut, said, AT_NOON.date()).last == date(2026, 11, 20)
    assert find_completeness(cut, [(AT_NOON.date() + DAY, TODAY)], TODAY).last == TODAY - DAY
    assert find_completeness(cut[-1:], [], TODAY).first is None
    assert find_completeness(cut[-1:], said, TODAY).first == AT_NOON.date()


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
    assert missing(list_files_at(root / "earnings", TABLES["earnings"], version)) == (EMPTY,)
    late = load(root, "earnings", [earnings("late.csv", (str(EMPTY), "c1", 1))])
    compact(root, today=TODAY)
    assert not {one.table: one.missing_days for one in tables_report(root, TODAY)}["earnings"]
    undo(root, late.batch)
    assert {one.table: one.missing_days for one in tables_report(root, TODAY)}["earnings"] == (EMPTY,)


def earn(root: Path, batch: str, days: Collection[date], replace: tuple[date, date] | None = None) -> None:
    """Load earnings of these days."""
    load_arrow(root, "earnings", make_earnings(sorted(days)), batch, replace=replace)


@dataclass
class Model:
    """What was done to a table, told by hand: the loads that stand, each with its days and those that it replaced."""

    loads: dict[str, tuple[Collection[date], tuple[date, date] | None]] = field(default_factory=dict)

    def rows(self) -> set[date]:
        """The days with rows: a replacement empties its days of earlier loads."""
        filled: set[date] = set()
        for days, span in self.loads.values():
            filled = (filled - (between(*span) if span else set())) | {*days}
        return filled

    def restated(self) -> set[date]:
        """The days that a replacement restates."""
        return {day for _, span in self.loads.values() if span for day in between(*span)}


ALL = 2**21 - 1
WAIT = ("wait", 0, 20, 1)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["load", "load", "replace", "empty", "empty", "undo", "compact", "wait"]),
        st.integers(0, 45),
        st.integers(0, 20),
        st.integers(1, ALL),
    ),
    min_size=2,
    max_size=9,
)


@given(st.integers(0, 20), STEPS)
@example(20, [WAIT, WAIT, ("load", 22, 10, ALL), ("empty", 21, 0, 1), ("load", 34, 9, ALL), ("empty", 5, 0, 1)])
@example(20, [WAIT, WAIT, ("load", 22, 9, ALL), ("empty", 21, 0, 1), ("compact", 0, 0, 1), ("undo", 2, 0, 1)])
@example(5, [WAIT, ("replace", 6, 12, 5), ("load", 20, 9, ALL), ("replace", 6, 3, 1), ("undo", 3, 0, 1)])
def test_any_history_tells_its_days(begun: int, steps: list[tuple[str, int, int, int]]) -> None:
    """Loads, replacements, days said to be empty, undos and compactions, while days go by: as told by hand."""
    start, model = date(2023, 5, 25), Model()
    today = start + timedelta(days=begun)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (what, place, length, bits) in enumerate([("load", 0, begun, ALL), *steps]):
            first, batch = start + timedelta(days=place), f"b{number}"
            span = (first, first + timedelta(days=length))
            days = [first + timedelta(days=bit) for bit in range(length + 1) if bits >> bit & 1] or [first]
            match what:
                case "load":
                    earn(root, batch, days)
                    model.loads[batch] = (days, None)
                case "replace" | "empty":
                    span, days = (span, days) if what == "replace" else ((first, first), [])
                    earn(root, batch, days, span)
                    model.loads[batch] = (days, span)
                case "undo" if model.loads:
                    chosen = list(model.loads)[place % len(model.loads)]
                    with suppress(UsageError):  # a later load changed the same rows
                        undo(root, chosen)
                        del model.loads[chosen]
                case "compact":
                    compact(root, today=today, settled_after=2)
                case _:
                    today += timedelta(days=length)
            pinned = pin(root, ["earnings"])
            found = read_completeness(root, "earnings", pinned.versions["earnings"], pinned.listing["earnings"], today)
            rows, silent = model.rows(), {day for day in model.restated() if day < today}
            last, lacking = judge(rows | silent, today)
            assert found.missing == lacking
            begin = min((day for day in rows if day <= today), default=min(silent, default=today))
            assert (found.first, found.last) == ((begin, last) if last and begin <= last else (None, None))


def test_a_day_that_a_replacement_emptied_is_not_missing(root: Path, earnings: Write) -> None:
    """Until the replacement is undone: that is how an operator says that a day has no rows."""
    rows = [(str(day), "c1", 1) for day in sorted(between(date(2026, 10, 20), date(2026, 11, 20)) - {EMPTY})]
    load(root, "earnings", [earnings("a.csv", *rows)])
    done = load(root, "earnings", [earnings("none.csv")], replace=(EMPTY, EMPTY))
    told = {one.table: one for one in tables_report(root, TODAY)}["earnings"]
    assert (told.complete_to, told.missing_days) == (date(2026, 11, 20), ())
    assert last_complete_day(pin(root, ["earnings"]), ["earnings"], TODAY) == date(2026, 11, 20)
    undo(root, done.batch)
    assert last_complete_day(pin(root, ["earnings"]), ["earnings"], TODAY) == EMPTY - DAY


def test_a_report_is_complete_up_to_the_first_of_its_tables_days(root: Path) -> None:
    """The table that is furthest behind tells; one without a complete day leaves none."""
    load_days(root, EARNINGS, "a", range(1, 9))
    load_days(root, USAGE, "b", range(1, 5))
    today = date(2023, 8, 1)
    for tables in ["earnings", "usage"], ["usage", "earnings"], ["usage"]:
        assert last_complete_day(pin(root, [*tables, "videos"]), tables, today) == date(2023, 7, 4)
    assert last_complete_day(pin(root, ["earnings", "ads"]), ["earnings", "ads"], today) is None


def test_a_moment_without_the_log_leaves_no_wrong_day_behind(root: Path, earnings: Write) -> None:
    """While the replacement's commit can't be read its day counts as missing, and no longer."""
    rows = [(str(day), "c1", 1) for day in sorted(between(date(2026, 10, 20), date(2026, 11, 20)) - {EMPTY})]
    load(root, "earnings", [earnings("a.csv", *rows)])
    load(root, "earnings", [earnings("none.csv")], replace=(EMPTY, EMPTY))
    replaced = pin(root, ["earnings"]).versions["earnings"]
    load(root, "earnings", [earnings("b.csv", ("2026-11-20", "c2", 1))])
    snapshot = pin(root, ["earnings"])
    commit = root / "earnings" / commit_name(replaced)
    commit.rename(commit.with_suffix(".away"))
    assert last_complete_day(snapshot, ["earnings"], TODAY) == EMPTY - DAY
    commit.with_suffix(".away").rename(commit)
    assert last_complete_day(snapshot, ["earnings"], TODAY) == date(2026, 11, 20)
