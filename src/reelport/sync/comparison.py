"""Compare a copy with fresh reports: how long numbers change. Changes nothing."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from reelport.catalog import Metric
from reelport.client.client import Client
from reelport.client.flows.fetch import mark_delivered
from reelport.client.ranges.windows import Window
from reelport.client.session import Session
from reelport.client.settings.config import DEADLINE
from reelport.client.steps import Flow, fork, to_seconds
from reelport.errors import ReelportError, UsageError
from reelport.sql_quoting import quote_name
from reelport.sync.contract import View, agree, time_field
from reelport.sync.coverage import cut_windows
from reelport.sync.destinations import open_destination
from reelport.sync.events import Tell, label_events, one_at_a_time, warn, with_log
from reelport.sync.spec import Days, Span, Spec, month_first, month_last
from reelport.sync.staging import STAGE, Delivery, Field, day_sql, load_stage, within_sql
from reelport.sync.sync_run import fetch_window, limit_window, refuse_other_services
from reelport.sync.verified_days import State

_AT_LEAST = 14  # days compared by default, or twice the lookback where that is more
Number = int | Decimal


@dataclass(frozen=True, slots=True)
class Moved:
    """A day (for months, the first) on which the copy and the service differ.

    `gone` counts rows that only the copy has, `come` rows that only the service has. A changed row counts in both.
    `sums` has each additive metric's sum before and now.
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
    """The result of comparing days of a copy; `absent` are days that it doesn't have."""

    spec: Spec
    windows: tuple[Window, ...]
    absent: Days
    moved: tuple[Moved, ...]
    reach: int

    @property
    def days(self) -> int:
        """How many days were compared."""
        return sum(window.days for window in self.windows)

    @property
    def span(self) -> Span:
        """The first and the last day that was compared."""
        return self.windows[0].start, self.windows[-1].end

    @property
    def lookback(self) -> int | None:
        """The shortest lookback, in days, that caught every change; None without one."""
        return self.reach if self.moved else None

    @property
    def overdue(self) -> Span | None:
        """The first and last changed day that no run reads again by itself, if any."""
        late = [each.day for each in self.moved if each.verified]
        return (late[0], min(_last_day(self.spec, late[-1]), self.span[1])) if late else None


def verify(
    spec: Spec,
    client: Client,
    *,
    tell: Tell = warn,
    start: date | None = None,
    end: date | None = None,
    deadline: float = DEADLINE,
) -> Comparison:
    """Read days of a copy again, the last by default; report differences, change nothing.

    As many windows are read at a time as the key has slots. UsageError when the copy has none of these days.
    """
    limit = to_seconds(deadline)
    copies = open_destination(spec.place)
    session = client.session
    refuse_other_services([spec], session)
    state = copies.state(spec)
    spec = limit_window(spec, session)
    days, absent = _choose_days(spec, state, start, end)
    windows = cut_windows(spec, days)
    with tempfile.TemporaryDirectory(prefix="reelport-") as folder:
        tell = one_at_a_time(with_log(session, tell))
        reads = [_fetch_again(session, spec, window, Path(folder), tell, limit) for window in windows]
        found = client.drive(fork(reads, session.settings.slots))
        for error in found:
            if isinstance(error, ReelportError):
                raise error
        deliveries = [delivery for delivery in found if isinstance(delivery, Delivery)]
        with copies.view(spec) as view:
            if view is None:
                raise UsageError(f"{spec.name}: there is no copy yet. `reelport sync run` makes one.")
            moved = tuple(day for delivery in deliveries for day in _compare(spec, state, view, delivery))
    last = spec.end(datetime.now(UTC).date())
    reach = max(((last - _last_day(spec, each.day)).days + 1 for each in moved), default=0)
    return Comparison(spec, windows, absent, moved, max(reach, 0))


def _fetch_again(
    session: Session, spec: Spec, window: Window, folder: Path, tell: Tell, deadline: float
) -> Flow[Delivery]:
    listener = label_events(tell, spec.name, window)
    delivery = yield from fetch_window(session, spec, window, folder, listener, deadline=deadline, fresh=True)
    yield from mark_delivered(session, [delivery.file])
    return delivery


def _choose_days(spec: Spec, state: State, start: date | None, end: date | None) -> tuple[Days, Days]:
    if not state.present.spans or not state.has_meaning_of(spec):
        raise UsageError(f"{spec.name}: there is nothing to compare with yet. `reelport sync run` reads it.")
    last = end or state.present.spans[-1][1]
    first = start or max(last - timedelta(days=max(_AT_LEAST, 2 * spec.lookback) - 1), spec.start)
    wanted = Days.between(first, last)
    if spec.monthly and wanted.spans:
        wanted = Days.between(month_first(first), month_last(last))
    present = state.present & wanted
    if not present.spans:
        raise UsageError(f"{spec.name}: none of the days {first} to {last} is there. There are {state.present}.")
    return present, Days.between(first, last) - present


def _compare(spec: Spec, state: State, view: View, delivery: Delivery) -> tuple[Moved, ...]:
    staged = load_stage(view.con, delivery.file)
    agreement = agree(spec, view.fields, staged, delivery.window)
    # A column that is new, or whose type has changed, can't be compared; the other columns are.
    shared = tuple(field for field in view.fields if field.name in staged.columns and field in agreement.fields)
    new = f"SELECT {agreement.select()} FROM {STAGE} WHERE {agreement.rows}"  # noqa: S608 - names are quoted
    additive = {metric.name.lower() for metric in Metric if metric.additive}
    sums = tuple(field.name for field in shared if field.name in additive)
    rows = view.con.execute(
        _differences_sql(time_field(spec, view.fields), shared, sums, view.relation, new, delivery.window)
    )
    moved = []
    for day, before, now, gone, come, *pairs in rows.fetchall():
        totals = dict(zip(sums, zip(pairs[::2], pairs[1::2], strict=True), strict=True))
        moved.append(Moved(day, _last_day(spec, day) in state.verified, before, now, gone, come, totals))
    return tuple(moved)


def _differences_sql(
    time: Field, shared: tuple[Field, ...], sums: tuple[str, ...], old: str, new: str, window: Window
) -> str:
    """SQL of differing days: rows before, now, gone, come; each sum before and now."""
    names = ", ".join(quote_name(field.name) for field in shared)
    inside = within_sql(quote_name(time.name), time.type, window.start, window.end)
    day = day_sql(time)
    totals = "".join(f", sum({quote_name(name)}) AS {quote_name(name)}" for name in sums)
    pairs = "".join(f", coalesce(b.{quote_name(name)}, 0), coalesce(n.{quote_name(name)}, 0)" for name in sums)
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


def _last_day(spec: Spec, day: date) -> date:
    return month_last(day) if spec.monthly else day
