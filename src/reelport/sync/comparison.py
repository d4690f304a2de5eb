"""Read days again and hold them against the copy, which stays as it is: that tells how long numbers move."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from reelport.catalog import Metric
from reelport.client.client import Client
from reelport.client.deadline import DEADLINE
from reelport.client.events import Event
from reelport.client.flows.fetch import mark_delivered
from reelport.client.flows.runner import to_seconds
from reelport.client.ranges.windows import Window, cut
from reelport.client.session import Session
from reelport.client.steps import Flow
from reelport.errors import UsageError
from reelport.sync.columns import Field, day_of, quoted, within
from reelport.sync.contract import agree, time_of
from reelport.sync.copies import View
from reelport.sync.copy_state import State
from reelport.sync.days import Days, Span, month_first, month_last
from reelport.sync.destinations import open_copies
from reelport.sync.events import OfWindow, Tell, aloud
from reelport.sync.fetching import fetched
from reelport.sync.spec import Spec
from reelport.sync.staging import STAGE, Delivery, stage
from reelport.sync.sync_log import listener
from reelport.sync.sync_run import limited, refuse_strangers

_AT_LEAST = 14
"""Days that are compared when nothing is said of it, or twice the lookback where that is more."""

Number = int | Decimal


@dataclass(frozen=True, slots=True)
class Moved:
    """A day (of months, the first) on which the copy and the service differ.

    `gone` rows of the copy are no rows of the service (any more), `come` rows the other way round: a row that has
    changed is one of both. `sums` has the metrics that add up: before, now.
    """

    day: date
    verified: bool
    before: int
    now: int
    gone: int
    come: int
    sums: dict[str, tuple[Number, Number]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What reading a window again has shown."""

    spec: Spec
    window: Window
    days: int
    moved: tuple[Moved, ...]
    reach: int

    @property
    def lookback(self) -> int | None:
        """The least lookback that would have caught all that moved; None when nothing did."""
        return self.reach if self.moved else None

    @property
    def overdue(self) -> Span | None:
        """The first and the last day that have moved and that no run reads by itself; None when there is none."""
        late = [each.day for each in self.moved if each.verified]
        return (late[0], min(_last(self.spec, late[-1]), self.window.end)) if late else None


def verify(
    spec: Spec,
    client: Client,
    *,
    tell: Tell = aloud,
    start: date | None = None,
    end: date | None = None,
    deadline: float = DEADLINE,
    today: date | None = None,
) -> Comparison:
    """Read days of a copy again, the last ones unless others are named, and say how they differ; changes nothing.

    UsageError when the copy has none of these days.
    """
    today, limit = today or datetime.now(UTC).date(), to_seconds(deadline)
    copies = open_copies(spec.place)
    session = client.session
    refuse_strangers([spec], session)
    state = copies.state(spec)
    spec = limited(spec, session)
    window = _window(spec, state, start, end)
    with tempfile.TemporaryDirectory(prefix="reelport-") as folder:
        heard = listener(session, tell)
        delivery = client.drive(_read(session, spec, window, Path(folder), heard, limit))
        with copies.view(spec) as view:
            if view is None:
                raise UsageError(f"{spec.name}: there is no copy yet. `reelport sync run` makes one.")
            moved = _compared(spec, state, view, delivery)
    reach = max(((spec.end(today) - _last(spec, each.day)).days + 1 for each in moved), default=0)
    return Comparison(spec, window, (window.end - window.start).days + 1, moved, max(reach, 0))


def _read(session: Session, spec: Spec, window: Window, folder: Path, tell: Tell, deadline: float) -> Flow[Delivery]:
    """The window's report, asked for anew."""

    def heard(event: Event) -> None:
        tell(OfWindow(spec.name, window, event))

    delivery = yield from fetched(session, spec, window, folder, heard, deadline=deadline, fresh=True)
    yield from mark_delivered(session, [delivery.file])
    return delivery


def _window(spec: Spec, state: State, start: date | None, end: date | None) -> Window:
    """The days to compare: those that were named, or the last that are there; no more than one report has."""
    if not state.present.spans or not state.serves(spec):
        raise UsageError(f"{spec.name}: there is nothing to compare with yet. `reelport sync run` reads it.")
    last = end or state.present.spans[-1][1]
    size = spec.window if start else min(spec.window, max(_AT_LEAST, 2 * spec.lookback))
    first = start or max(last - timedelta(days=size - 1), spec.start)
    there = state.present & Days.between(first, last)
    if not there.spans:
        raise UsageError(f"{spec.name}: none of the days {first} to {last} is there. There are {state.present}.")
    low, high = there.spans[-1]
    if spec.monthly:
        whole = Window(max(month_first(low), spec.start), min(month_last(high), state.present.spans[-1][1]))
        return cut(whole, spec.window, months=True)[-1]
    return Window(max(low, high - timedelta(days=spec.window - 1)), high)


def _compared(spec: Spec, state: State, view: View, delivery: Delivery) -> tuple[Moved, ...]:
    """The days that differ, in order."""
    staged = stage(view.con, delivery.file)
    agreement = agree(spec, view.fields, staged, delivery.window)
    # A column that is new, or holds other values now, can't be compared: the rest of each row is.
    shared = tuple(field for field in view.fields if field.name in staged.columns and field in agreement.fields)
    new = f"SELECT {agreement.select()} FROM {STAGE} WHERE {agreement.rows}"  # noqa: S608 - names are quoted
    sums = tuple(field.name for field in shared if _adds_up(field.name))
    rows = view.con.execute(_differences(time_of(spec, view.fields), shared, sums, view.relation, new, delivery.window))
    return tuple(_moved(spec, state, row, sums) for row in rows.fetchall())


def _differences(
    time: Field, shared: tuple[Field, ...], sums: tuple[str, ...], old: str, new: str, window: Window
) -> str:
    """SQL for a row a day that differs: the day, rows before and now, rows gone and come, each sum before and now."""
    names = ", ".join(quoted(field.name) for field in shared)
    inside = within(quoted(time.name), time.type, window.start, window.end)
    day = day_of(quoted(time.name), time.type)
    totals = "".join(f", sum({quoted(name)}) AS {quoted(name)}" for name in sums)
    pairs = "".join(f", coalesce(b.{quoted(name)}, 0), coalesce(n.{quoted(name)}, 0)" for name in sums)
    return f"""
        WITH old AS (SELECT {names} FROM {old} WHERE {inside}),
             new AS (SELECT {names} FROM ({new})),
             before AS (SELECT {day} AS day, count(*) AS rows{totals} FROM old GROUP BY 1),
             now AS (SELECT {day} AS day, count(*) AS rows{totals} FROM new GROUP BY 1),
             gone AS (SELECT {day} AS day, count(*) AS rows FROM (FROM old EXCEPT ALL FROM new) GROUP BY 1),
             come AS (SELECT {day} AS day, count(*) AS rows FROM (FROM new EXCEPT ALL FROM old) GROUP BY 1)
        SELECT day, coalesce(b.rows, 0), coalesce(n.rows, 0), coalesce(g.rows, 0), coalesce(c.rows, 0){pairs}
        FROM before b FULL JOIN now n USING (day) FULL JOIN gone g USING (day) FULL JOIN come c USING (day)
        WHERE g.rows > 0 OR c.rows > 0 ORDER BY day
        """  # noqa: S608 - names are quoted


def _moved(spec: Spec, state: State, row: Sequence[Any], sums: tuple[str, ...]) -> Moved:
    day, before, now, gone, come, *pairs = row
    totals = dict(zip(sums, zip(pairs[::2], pairs[1::2], strict=True), strict=True))
    return Moved(day, _last(spec, day) in state.verified, before, now, gone, come, totals)


def _last(spec: Spec, day: date) -> date:
    return month_last(day) if spec.monthly else day


def _adds_up(name: str) -> bool:
    row = Metric.__members__.get(name.upper())
    return row is not None and row.additive
