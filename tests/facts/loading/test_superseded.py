"""What a replacement superseded never comes back by itself: rules told one by one, and as a law over any sequence."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reelport.errors import BadInput, UsageError
from reelport.facts.input.files import Progress
from reelport.facts.loading.compaction import compact
from reelport.facts.loading.load import load, load_arrow
from reelport.facts.loading.undo import DayUndone, plan_undo, undo
from reelport.facts.loading.vacuum import vacuum
from reelport.facts.loading.verification import verify
from reelport.facts.log.history import list_loads
from reelport.facts.log.log_entry import DayLeftOut
from reelport.facts.log.log_files import open_store
from reelport.facts.log.role_copies import is_data_file
from reelport.facts.log.snapshot import pin

pytestmark = pytest.mark.long

Ask = Callable[..., list[tuple[object, ...]]]
Write = Callable[..., Path]
SEEN = "SELECT day(day), owner_channel_id FROM t ORDER BY ALL"
FIRST, SECOND, THIRD = (date(2023, 7, day) for day in (1, 2, 3))
LATER = date(2023, 9, 1)


@pytest.fixture
def files(earnings: Write) -> tuple[Path, Path]:
    """A of three days, and B, which restates the second."""
    a = earnings("a.csv", *((f"2023-07-0{day}", "a", 1) for day in (1, 2, 3)))
    return a, earnings("b.csv", ("2023-07-02", "b", 1))


def test_a_load_that_comes_back_leaves_out_replaced_days(root: Path, ask: Ask, files: tuple[Path, Path]) -> None:
    """Undone and loaded again, A takes its own days but the one that B replaced, and says which and why."""
    a, b = files
    first = load(root, "earnings", [a])
    second = load(root, "earnings", [b], replace=(SECOND, SECOND))
    undo(root, first.batch)
    compact(root, today=LATER)
    vacuum(root, now=datetime.now(UTC) + timedelta(hours=73))
    again = load(root, "earnings", [a])
    assert (again.batch, again.rows, again.days) == (first.batch, 2, (FIRST, THIRD))
    assert again.left_out == (DayLeftOut(SECOND, 1, second.batch),)
    assert ask("earnings", SEEN) == [(1, "a"), (2, "b"), (3, "a")]
    assert list_loads(root)[-1].left_out == again.left_out
    kept = {name for name in open_store(root / "earnings").list_names() if is_data_file(name)}
    assert kept == {file.path for file in pin(root, ["earnings"]).data_files("earnings")}
    assert [one.findings for one in verify(root)] == [()]


def test_a_load_whose_days_were_all_replaced_is_refused(root: Path, ask: Ask, files: tuple[Path, Path]) -> None:
    """Nothing of it could land: the refusal names the days and says how to have them all the same."""
    a, b = files
    batch = load(root, "earnings", [a]).batch
    load(root, "earnings", [b], replace=(FIRST, THIRD))
    undo(root, batch)
    with pytest.raises(BadInput, match=r"nothing was loaded: 3 rows left out.*2023-07-01 \(1, replaced by.*--replace"):
        load(root, "earnings", [a])
    assert ask("earnings", SEEN) == [(2, "b")]
    assert not load(root, "earnings", [a], replace=(FIRST, THIRD)).left_out
    assert ask("earnings", SEEN) == [(1, "a"), (2, "a"), (3, "a")]


def test_an_undone_replacement_gives_its_days_back(root: Path, ask: Ask, files: tuple[Path, Path]) -> None:
    """Once B itself is undone, A is whole again: by the undo while A stands, or by loading A when it doesn't."""
    a, b = files
    first = load(root, "earnings", [a])
    whole = ask("earnings", SEEN)
    for undone in (False, True):
        second = load(root, "earnings", [b], replace=(SECOND, SECOND))
        if undone:
            undo(root, first.batch)
        undo(root, second.batch)
        assert load(root, "earnings", [a]).already is not undone
        assert ask("earnings", SEEN) == whole


def test_a_replacement_is_not_undone_under_what_it_kept_out(root: Path, ask: Ask, files: tuple[Path, Path]) -> None:
    """A came back without B's day, which undoing B could not give it: A is named, and undone first."""
    a, b = files
    first = load(root, "earnings", [a])
    second = load(root, "earnings", [b], replace=(SECOND, SECOND))
    undo(root, first.batch)
    load(root, "earnings", [a])
    with pytest.raises(UsageError, match=first.batch):
        undo(root, second.batch)
    undo(root, first.batch)
    undo(root, second.batch)
    load(root, "earnings", [a])
    assert ask("earnings", SEEN) == [(1, "a"), (2, "a"), (3, "a")]


def test_the_same_bytes_under_a_mapping_are_another_batch(
    tmp_path: Path, root: Path, ask: Ask, files: tuple[Path, Path]
) -> None:
    """A batch is its bytes and its mapping, whatever its files are called: under another mapping it is new data."""
    a, b = files
    load(root, "earnings", [a])
    load(root, "earnings", [b], replace=(SECOND, SECOND))
    renamed = a.rename(a.with_name("renamed.csv"))
    assert load(root, "earnings", [renamed]).already
    mapping = tmp_path / "m.sql"
    mapping.write_text("SELECT * FROM input")
    assert load(root, "earnings", [renamed], mapping=mapping).rows == 3
    assert ask("earnings", "SELECT count(*) FROM t WHERE day = '2023-07-02'") == [(2,)]


def test_the_older_of_two_runs_of_a_replacement_stays(root: Path, ask: Ask, files: tuple[Path, Path]) -> None:
    """A replacement that ran twice is undone run by run: the rows of the first come back with the one between."""
    a, b = files
    span = (SECOND, SECOND)
    load(root, "earnings", [a])
    batch = load(root, "earnings", [b], replace=span).batch
    between = load_arrow(root, "earnings", _rows("c", [2]), "c", replace=span)
    load(root, "earnings", [b], replace=span)
    undo(root, batch)
    assert ask("earnings", SEEN) == [(1, "a"), (2, "c"), (3, "a")]
    undo(root, between.batch)
    assert ask("earnings", SEEN) == [(1, "a"), (2, "b"), (3, "a")]
    undo(root, batch)
    assert ask("earnings", SEEN) == [(1, "a"), (2, "a"), (3, "a")]


def test_a_replacement_that_lands_meanwhile_counts(root: Path, ask: Ask, files: tuple[Path, Path]) -> None:
    """What is left out is decided at the version that the load builds on, whatever was there when it began."""
    a, b = files
    undo(root, load(root, "earnings", [a]).batch)

    def replace(now: Progress) -> None:
        if now.stage == "committing":
            load(root, "earnings", [b], replace=(SECOND, SECOND))

    assert [one.day for one in load(root, "earnings", [a], progress=replace).left_out] == [SECOND]
    assert ask("earnings", SEEN) == [(1, "a"), (2, "b"), (3, "a")]


def test_the_plan_of_an_undo_is_what_it_then_does(root: Path, files: tuple[Path, Path]) -> None:
    """Rows that go and rows that come back are told day by day, and planning changes nothing."""
    a, b = files
    load(root, "earnings", [a])
    batch = load(root, "earnings", [b], replace=(SECOND, THIRD)).batch
    plan = plan_undo(root, batch[:5])
    assert plan.days == (DayUndone(SECOND, 1, 1), DayUndone(THIRD, 0, 1))
    assert plan_undo(root, batch) == plan
    done = undo(root, batch)
    assert (done.removed, done.restored) == (1, 2)


@dataclass
class _Event:
    """A load or a replacement that took place."""

    name: str
    held: tuple[int, ...]
    span: frozenset[int] = frozenset()
    left_out: frozenset[int] = frozenset()
    undone: bool = False
    vacuumed: bool = False

    def touches(self, days: frozenset[int]) -> bool:
        return bool(days & (self.span | self.left_out | frozenset(self.held)))


@dataclass
class _Model:
    """A list of what took place. A load that comes back counts from where it first was."""

    events: list[_Event] = field(default_factory=list)

    def standing(self, name: str) -> list[_Event]:
        return [event for event in self.events if event.name == name and not event.undone]

    def _place(self, event: _Event) -> int:
        if event.span:
            return next(place for place, other in enumerate(self.events) if other is event)
        return min(place for place, other in enumerate(self.events) if other.name == event.name)

    def closed(self, day: int) -> int:
        """The place after which a load counts on that day."""
        over = (place for place, event in enumerate(self.events) if day in event.span and not event.undone)
        return max(over, default=-1)

    def load(self, name: str, days: tuple[int, ...]) -> bool:
        """Whether it lands."""
        first = min((place for place, event in enumerate(self.events) if event.name == name), default=99)
        held = tuple(day for day in days if self.closed(day) < first)
        if held:
            self.events.append(_Event(name, held, left_out=frozenset(days) - frozenset(held)))
        return bool(held)

    def may_undo(self, event: _Event) -> bool:
        place = next(place for place, other in enumerate(self.events) if other is event)
        later = self.events[place + 1 :]
        return not event.span or not any(one.touches(event.span) for one in later if not one.undone)

    def rows(self) -> Counter[tuple[int, str]]:
        standing = [event for event in self.events if not event.undone]
        return Counter(
            (day, event.name) for event in standing for day in event.held if self._place(event) >= self.closed(day)
        )


def _rows(name: str, days: Sequence[int]) -> pa.Table:
    rows = [{"day": date(2023, 7, day), "owner_channel_id": name, "eur": 1, "usd": 1} for day in days]
    return pa.Table.from_pylist(rows)


def _seen(root: Path) -> Counter[tuple[int, str]]:
    found: Counter[tuple[int, str]] = Counter()
    for path in pin(root, ["earnings"]).files("earnings"):
        rows = pq.ParquetFile(path).read(["day", "owner_channel_id"]).to_pylist()
        found.update((row["day"].day, row["owner_channel_id"]) for row in rows)
    return found


def _load(root: Path, model: _Model, name: str, days: tuple[int, ...]) -> None:
    if model.standing(name):
        assert load_arrow(root, "earnings", _rows(name, days), name, memory="50MB").already
    elif model.load(name, days):
        done = load_arrow(root, "earnings", _rows(name, days), name, memory="50MB")
        assert {one.day.day for one in done.left_out} == set(model.events[-1].left_out)
    else:
        with pytest.raises(BadInput, match="nothing was loaded"):
            load_arrow(root, "earnings", _rows(name, days), name, memory="50MB")


def _undo(root: Path, model: _Model, name: str) -> None:
    standing = model.standing(name)
    if standing and model.may_undo(standing[-1]):
        try:
            undo(root, name)
        except UsageError as error:
            assert "vacuumed" in str(error)  # noqa: PT017 - it may, but only after a vacuum
            assert standing[-1].vacuumed
        else:
            standing[-1].undone = True
    elif model.events:
        with pytest.raises(UsageError):
            undo(root, name)


LOADED = {"a": (1, 2), "b": (2, 3)}
REPLACING = {"r": frozenset({2}), "s": frozenset({1, 2}), "t": frozenset({2, 3})}
STEPS = st.one_of(
    st.tuples(st.just("load"), st.sampled_from(sorted(LOADED))),
    st.tuples(st.just("replace"), st.sampled_from(sorted(REPLACING))),
    st.tuples(st.just("undo"), st.sampled_from(sorted(LOADED | REPLACING))),
    st.tuples(st.sampled_from(["compact", "vacuum"]), st.just("")),
)
A, R, AWAY, BACK = ("load", "a"), ("replace", "r"), ("undo", "a"), ("undo", "r")


@settings(max_examples=max(settings().max_examples // 10, 1))
@given(steps=st.lists(STEPS, min_size=3, max_size=9))
@example([A, R, AWAY, A])
@example([A, AWAY, R, ("compact", ""), ("vacuum", ""), A, BACK, AWAY, BACK, A])
@example([A, R, ("replace", "s"), R, ("compact", ""), BACK, ("undo", "s"), AWAY, BACK, A])
def test_any_sequence_gives_what_a_list_kept_by_hand_gives(steps: list[tuple[str, str]]) -> None:
    """Loads, replacements, undos, compactions and vacuums agree at every step with a list of what took place."""
    with tempfile.TemporaryDirectory() as folder:
        root, model = Path(folder) / "facts", _Model()
        for kind, name in steps:
            match kind:
                case "load":
                    _load(root, model, name, LOADED[name])
                case "replace":
                    span = REPLACING[name]
                    days = (date(2023, 7, min(span)), date(2023, 7, max(span)))
                    held = (min(span),)
                    load_arrow(root, "earnings", _rows(name, held), name, replace=days, memory="50MB")
                    model.events.append(_Event(name, held, span))
                case "undo":
                    _undo(root, model, name)
                case "compact":
                    compact(root, today=LATER, memory="50MB")
                case _:
                    vacuum(root, now=datetime.now(UTC) + timedelta(hours=73))
                    for event in model.events:
                        event.vacuumed = True
            assert _seen(root) == model.rows()
