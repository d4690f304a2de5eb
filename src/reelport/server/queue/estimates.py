"""Estimates when unfinished reports are ready, of how long each takes alone.

A report takes its rows to read, by the speed of the last reports like it. Reports that are made at the same time share
their worker. Once parts of a report's days are written, their share of all days counts instead.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, Row

from reelport.engine.compile import tables_of
from reelport.engine.resolved_query import resolve_query
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.query import ReportQuery
from reelport.server.queue import jobs, liveness
from reelport.server.settings import Settings
from reelport.server.state.database import reading, writing
from reelport.server.state.statements import Statements

_SQL = Statements("queue/estimates")
_BASE_SECONDS = 0.03
"""What a report takes whose rows are none."""
_SECONDS_PER_ROW = 5e-9
"""What a row takes before a report like it was made here; each dimension doubles it, roughly."""
_KEPT = 1000
"""Kinds of reports whose speed is remembered."""
_MOST = 500
"""Unfinished reports that are looked at, the oldest. Those behind them have no estimate."""
_NEW = 50
"""Reports whose rows are counted at a time."""
_CHANGE = 0.1
"""The share of what is left by which an estimate must change before it is stored anew."""
_TRUSTED_SHARE = 0.15
"""The share of a report's days from which on its own speed counts alone: about a month of half a year."""
_LEAST_SHARE = 0.05
"""What is left at least, as a share of what was spent: the end comes later than it seems."""
QUEUE_SECONDS = 1.0
"""Seconds between two estimates of the queue, in one worker of all."""


class Speeds:
    """How many seconds a row took in the last reports of each kind. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: OrderedDict[Hashable, float] = OrderedDict()

    def knows(self, query: ReportQuery, channels: frozenset[str]) -> bool:
        """Whether a report with the same columns and channels was made here."""
        return next(_list_kinds(query, channels)) in self._seconds

    def learn(self, query: ReportQuery, channels: frozenset[str], rows: int, seconds: float) -> None:
        """Learn from a report that was made: rows to read, and seconds it took alone."""
        found = max(seconds - _BASE_SECONDS, 0.0) / max(rows, 1)
        with self._lock:
            for kind in _list_kinds(query, channels):
                before = self._seconds.pop(kind, found)
                self._seconds[kind] = (before + found) / 2
            while len(self._seconds) > _KEPT:
                self._seconds.popitem(last=False)

    def expect(self, query: ReportQuery, channels: frozenset[str], rows: int) -> float:
        """Expect how many seconds a report takes alone, by those that are most like it."""
        with self._lock:
            known = (self._seconds[kind] for kind in _list_kinds(query, channels) if kind in self._seconds)
            return _BASE_SECONDS + rows * next(known, _SECONDS_PER_ROW * 2 ** len(query.dimensions))


def _list_kinds(query: ReportQuery, channels: frozenset[str]) -> Iterator[Hashable]:
    columns = query.metrics, query.dimensions, tuple(name for name, _ in query.filters), query.product
    yield columns, channels
    yield columns
    yield len(query.dimensions)


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly a report writes its days.

    A `share` of them was written after `spent` seconds; all of them take `whole` seconds at the pace of the last ones.
    """

    share: float = 0.0
    spent: float = 0.0
    whole: float = 0.0

    def go_on(self, share: float, spent: float) -> Pace:
        """Add further days that are written."""
        last = (spent - self.spent) / (share - self.share)
        return Pace(share, spent, (self.whole + last) / 2 if self.share else last)


def expect_rest(expected: float, spent: float, pace: Pace) -> float:
    """Expect how many seconds a running report still takes alone.

    It was expected to take `expected` and has taken `spent`.
    """
    # Half as long again where it has taken longer than expected: nothing else is known.
    rest = expected - spent if expected > spent else spent / 2
    if pace.share:
        trust = min(pace.share / _TRUSTED_SHARE, 1.0)
        rest = trust * ((1 - pace.share) * pace.whole - (spent - pace.spent)) + (1 - trust) * rest
    return max(rest, _LEAST_SHARE * spent)


@dataclass(frozen=True, slots=True)
class Work:
    """An unfinished report and the seconds that it still takes alone."""

    report_id: str
    partner: int
    seconds: float


def predict_ends(
    running: Iterable[Work],
    waiting: Sequence[Work],
    served: Mapping[int, int],
    *,
    workers: int,
    slots: int,
    partner_limit: int,
) -> dict[str, float]:
    """Predict in how many seconds each report ends, as the queue serves them.

    `waiting` are in the order of asking. The next is of the partner that was served least recently, by `served`, and
    has fewer than `partner_limit` running. Reports that run at the same time share their worker's speed.
    """
    queues: dict[int, list[Work]] = {}
    for work in reversed(waiting):
        queues.setdefault(work.partner, []).append(work)
    order = sorted(queues, key=lambda partner: served.get(partner, 0))
    left = {work: work.seconds for work in running}
    at_once, passed, ends = max(workers, 1) * slots, 0.0, dict[str, float]()
    while left or queues:
        held = Counter(work.partner for work in left)
        while len(left) < at_once:
            partner = next((each for each in order if held[each] < partner_limit), None)
            if partner is None:
                break
            work = queues[partner].pop()
            left[work] = work.seconds
            held[partner] += 1
            order.remove(partner)
            if queues[partner]:
                order.append(partner)
            else:
                del queues[partner]
        speed = min(1.0, max(workers, 1) / len(left))
        step = min(left.values())
        passed += step / speed
        ends |= {work.report_id: passed for work in left if left[work] <= step}
        left = {work: seconds - step for work, seconds in left.items() if seconds > step}
    return ends


@dataclass(slots=True)
class Estimates:
    """The estimates that one worker makes, of its own reports and of the queue.

    `has_waiting` is whether a report waited when the queue was last read.
    """

    settings: Settings
    speeds: Speeds = field(default_factory=Speeds)
    has_waiting: bool = False

    def expect(self, query: ReportQuery, channels: frozenset[str], versions: Mapping[str, int] | None) -> float:
        """Expect how many seconds a report takes alone. StorageError for unread tables."""
        snapshot = pin(self.settings.facts_root, tables_of(query), versions)
        return self.speeds.expect(query, channels, count_rows(query, channels, snapshot))

    def learn(
        self, query: ReportQuery, channels: frozenset[str], versions: Mapping[str, int] | None, seconds: float
    ) -> None:
        """Learn from a report that was made. StorageError as `expect`."""
        snapshot = pin(self.settings.facts_root, tables_of(query), versions)
        self.speeds.learn(query, channels, count_rows(query, channels, snapshot), seconds)

    def expect_ends(self, rests: Mapping[str, float]) -> dict[str, float]:
        """Expect in how many seconds the reports of this worker end, of what each takes alone."""
        if self.has_waiting:  # Whenever one ends, another takes its place.
            return {report_id: len(rests) * rest for report_id, rest in rests.items()}
        works = [Work(report_id, 0, rest) for report_id, rest in rests.items()]
        return predict_ends(works, (), {}, workers=1, slots=1, partner_limit=1)

    def estimate_queue(self, db: Engine) -> None:
        """Store when waiting reports are ready, unless another worker does it now."""
        with reading(db) as connection:
            rows = _SQL.run(connection, "unfinished", {"most": _MOST}).all()
        self.has_waiting = not all(row.is_running for row in rows)
        if not self.has_waiting or not jobs.claim_chore(db, "estimates", QUEUE_SECONDS):
            return
        expected = {row.report_id: row.expected_ms / 1000 for row in rows if row.expected_ms is not None}
        new = dict(self._expect_new([row for row in rows if not row.is_running and row.expected_ms is None]))
        begun = [
            Work(row.report_id, row.organization_id, max(expected.get(row.report_id, 0.0), _BASE_SECONDS))
            for row in rows
            if row.is_running
        ]
        waiting = [
            Work(row.report_id, row.organization_id, (expected | new)[row.report_id])
            for row in rows
            if not row.is_running and row.report_id in expected | new
        ]
        ends = predict_ends(
            begun,
            waiting,
            {row.organization_id: row.served_at for row in rows},
            workers=len(liveness.list_ready(db, self.settings)),
            slots=self.settings.slots,
            partner_limit=self.settings.running_limit,
        )
        changed = [
            {"report_id": row.report_id, "expected": jobs.to_milliseconds((expected | new)[row.report_id])}
            | {"ready": jobs.to_milliseconds(ends[row.report_id])}
            for row in rows
            if not row.is_running and row.report_id in ends and _is_changed(row, ends[row.report_id])
        ]
        if changed:
            with writing(db, synced=False) as connection:
                _SQL.run(connection, "estimate", changed)

    def _expect_new(self, rows: Sequence[Row[*tuple[object, ...]]]) -> Iterator[tuple[str, float]]:
        snapshots: dict[frozenset[str], Snapshot] = {}
        for row in rows[:_NEW]:
            query, channels = ReportQuery.from_wire(json.loads(row.query)), frozenset(json.loads(row.channels))
            tables = tables_of(query)
            if tables not in snapshots:
                snapshots[tables] = pin(self.settings.facts_root, tables)
            yield row.report_id, self.speeds.expect(query, channels, count_rows(query, channels, snapshots[tables]))


def count_rows(query: ReportQuery, channels: frozenset[str], snapshot: Snapshot) -> int:
    """Count the rows in the files that a report reads. No file is opened."""
    return sum(each.count_rows(snapshot) for each in resolve_query(query, Tenant(channels)).sources)


def _is_changed(row: Row[*tuple[object, ...]], seconds: float) -> bool:
    if row.ready_at is None or row.expected_ms is None:
        return True
    return bool(abs((row.ready_at - row.now) / 1000 - seconds) > _CHANGE * seconds)
