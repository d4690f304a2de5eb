"""Reports as a dlt source (`reelport[dlt]`), for every destination that dlt has: one resource a spec.

    import dlt
    from reelport.sync.dlt import load

    pipeline = dlt.pipeline("partner", destination="duckdb", dataset_name="reports")
    load(pipeline, "reelport.toml")

A window is replaced: dlt deletes what has its days (`merge_key`) and inserts what came. A day without rows has a
tombstone (`_deleted`, a `hard_delete` column), so that an emptied day vanishes too. Which days are there is kept
in dlt's state, which goes to the destination with the rows.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.common.pipeline import LoadInfo, SupportsPipeline
from dlt.common.schema.typing import TLoaderMergeStrategy
from dlt.extract import DltResource, DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from reelport.client.client import Client
from reelport.client.deadline import DEADLINE
from reelport.client.events import Event
from reelport.client.flows.fetch import mark_delivered
from reelport.client.flows.runner import to_seconds
from reelport.client.ranges.windows import Window, recut
from reelport.client.settings.profiles import resolve
from reelport.errors import QueryRefused, ReelportError, ServiceError, UsageError, WindowEmptied
from reelport.sync import spec_file
from reelport.sync.days import NONE, Days
from reelport.sync.events import Began, Loaded, OfWindow, SyncEvent, Tell, aloud
from reelport.sync.fetching import dismissed, fetched
from reelport.sync.planning import lacking, windows
from reelport.sync.spec import Spec
from reelport.sync.staging import Delivery
from reelport.sync.sync_log import listener
from reelport.sync.sync_run import limited, named_days
from reelport.sync.tombstones import DAY, DELETED, KEY, Batch, Held, batch
from reelport.wording import format_count

if TYPE_CHECKING:
    import pyarrow as pa

_STRATEGY: TLoaderMergeStrategy = "delete-insert"
_HINTS: dict[str, Any] = {DELETED: {"data_type": "bool", "hard_delete": True}, DAY: {"data_type": "date"}}


@dataclass(slots=True)
class _Order:
    """What the resources of one run share, and what they tell of it: windows that are left, days and files that came.

    With `at_most` windows a run its files count as delivered only when it is over. `named` days, by report, are read
    in place of what is lacking.
    """

    client: Client
    tell: Tell
    deadline: float
    allow_empty: bool
    every_day: bool = False
    at_most: int | None = None
    named: dict[str, Days] = field(default_factory=dict)
    brought: list[Path] = field(default_factory=list)
    read: dict[str, Days] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)


@dlt.source(name="reelport", max_table_nesting=0)
def reports(
    file: str = spec_file.NAME,
    only: Sequence[str] = (),
    *,
    url: str | None = None,
    profile: str | None = None,
    key: str | None = None,
    secret: dlt.TSecretStrValue | None = None,
    insecure: bool = False,
    allow_empty: bool = False,
    every_day: bool = False,
) -> Iterator[DltResource]:
    """The reports of a file (its destinations are not used) as resources: all windows of a run in one load package.

    What isn't given comes from `[sources.reelport]` of dlt's configuration, then from REELPORT_… and profiles.
    Raises UsageError with every problem of the file, and AccessError without a key, before anything is sent.
    """
    client = Client(settings=resolve(os.environ, profile=profile, url=url, key=key, secret=secret, insecure=insecure))
    order = _Order(client, listener(client.session, aloud), DEADLINE, allow_empty, every_day)
    yield from _resources(spec_file.read(file, only=only, placed=False), order)


def load(
    pipeline: dlt.Pipeline,
    file: str | os.PathLike[str] = spec_file.NAME,
    *,
    only: Sequence[str] = (),
    client: Client | None = None,
    tell: Tell = aloud,
    deadline: float = DEADLINE,
    allow_empty: bool = False,
    every_day: bool = False,
    start: date | None = None,
    end: date | None = None,
) -> list[LoadInfo]:
    """Bring the reports of a file up to date in a pipeline, a load package a window: rows and state come together.

    What an earlier run left half done is loaded first. With `every_day` every day is read, if not by this run then by
    the next; with `start`, `end` or both the days from one to the other are, and no others. Raises the error of the
    first window that can't be had; windows before it are loaded. UsageError for rows of another service, unless all
    are read again, and for a range that a report doesn't keep.
    """
    specs, limit = spec_file.read(file, only=only, placed=False), to_seconds(deadline)
    named = named_days(specs, datetime.now(UTC).date(), start, end, every_day=every_day)
    with nullcontext(client) if client else Client(settings=resolve(os.environ)) as speaker:
        heard = listener(speaker.session, tell)
        return _loaded(pipeline, specs, _Order(speaker, heard, limit, allow_empty, every_day, at_most=1, named=named))


def _loaded(pipeline: dlt.Pipeline, specs: Sequence[Spec], order: _Order) -> list[LoadInfo]:
    """Load window after window, until none is left."""
    done: list[LoadInfo] = []
    while True:
        order.left.clear()
        done.append(_run(pipeline, DltSource(dlt.Schema("reelport"), "reelport", list(_resources(specs, order)))))
        order.client.drive(mark_delivered(order.client.session, order.brought))
        order.brought.clear()
        # Without a word from every resource dlt has loaded what it still had, and asked for nothing.
        if len(order.left) == len(specs) and not any(order.left.values()):
            return done


def _run(pipeline: dlt.Pipeline, source: DltSource) -> LoadInfo:
    try:
        return pipeline.run(source)
    except PipelineStepFailed as failure:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, ReelportError):
                raise cause from failure
            cause = cause.__cause__ or cause.__context__
        raise


def _resources(specs: Sequence[Spec], order: _Order) -> Iterator[DltResource]:
    for spec in specs:
        yield dlt.resource(
            _generator(_Rows(spec, order)),
            name=spec.name,
            write_disposition={"disposition": "merge", "strategy": _STRATEGY},
            merge_key=KEY,
            columns=_HINTS,
            schema_contract="evolve",
        )


def _refuse_appending(pipeline: SupportsPipeline) -> None:
    """Raise UsageError where dlt would append: restated rows would be there twice, and vanished ones for ever."""
    destination = pipeline.destination
    if destination is None:
        return
    known = destination.capabilities().supported_merge_strategies or []
    if _STRATEGY not in known:
        raise UsageError(
            f"dlt replaces no rows at the destination {destination.destination_name}: it would add restated rows to "
            "those that are there. Choose one that merges, or for Parquet files `reelport sync run`."
        )


def _generator(rows: _Rows) -> Callable[[], Iterator[pa.Table]]:
    def tables() -> Iterator[pa.Table]:  # dlt takes functions, no methods
        yield from rows.tables()

    return tables


@dataclass(frozen=True, slots=True)
class _Rows:
    """One spec's resource."""

    spec: Spec
    order: _Order

    def tables(self) -> Iterator[pa.Table]:
        """What is lacking, a table a window, and the state that goes with it."""
        spec, order = self.spec, self.order
        _refuse_appending(dlt.current.pipeline())
        kept = dlt.current.resource_state(spec.name)
        session = order.client.session
        held = self._held(Held.from_text(kept.get("held")), session.settings.url)
        spec = limited(spec, session)
        missing = lacking(spec, held.trusted(spec), session.settings.url, datetime.now(UTC).date())
        days = order.named.get(spec.name, missing)
        todo = windows(spec, days - order.read.get(spec.name, NONE))
        now = todo if order.at_most is None else todo[: order.at_most]
        order.left[spec.name] = len(todo) - len(now)
        for number, window in enumerate(now, start=1):
            order.tell(Began(spec.name, window, number, len(todo)))
            left = [window]
            while left:
                piece = left.pop()
                try:
                    found, held = self._window(piece, held)
                except QueryRefused:
                    shorter = recut(piece, session.windows, months=spec.monthly)
                    if len(shorter) == 1:
                        raise
                    left += reversed(shorter)  # The service has said that it takes fewer days in one report.
                    continue
                yield found.table
                kept["held"] = held.to_text()
                order.read[spec.name] = order.read.get(spec.name, NONE) | Days.between(piece.start, piece.end)

    def _held(self, held: Held, here: str) -> Held:
        """What is held, as far as it counts. Raises UsageError where it came from elsewhere."""
        if self.order.every_day and self.spec.name not in self.order.read:
            return replace(held, state=held.state.doubted())
        there = held.state.service
        if there and there != here:
            raise UsageError(
                f"{self.spec.name}: the dataset holds rows from {there}, and this is {here}. Take another dataset, or "
                "read every day again, from here: every_day=True."
            )
        named = self.order.named.get(self.spec.name, NONE) - self.order.read.get(self.spec.name, NONE)
        return replace(held, state=held.state.doubted(named))

    def _window(self, window: Window, held: Held) -> tuple[Batch, Held]:
        """A window's table, and what is held once it is loaded."""
        spec, order = self.spec, self.order
        days = Days.between(window.start, window.end)
        session = order.client.session
        with tempfile.TemporaryDirectory(prefix="reelport-") as name:
            folder = Path(name)
            fresh = bool(((held.state.present | order.named.get(spec.name, NONE)) & days).spans)
            flow = fetched(session, spec, window, folder, self._heard(window), deadline=order.deadline, fresh=fresh)
            delivery = order.client.drive(flow)
            try:
                found = self._batch(delivery, held, folder)
            except ServiceError:
                order.client.drive(dismissed(session, delivery))
                raise
        order.brought.append(delivery.file)
        if order.at_most is None:
            order.client.drive(mark_delivered(session, [delivery.file]))
        order.tell(Loaded(spec.name, window, 0, found.rows, delivery.token, found.notes))
        stayed = held.filled - days - held.stale(spec, delivery)
        return found, Held(held.state.after(spec, delivery), found.fields, stayed | found.filled, spec.time or "")

    def _batch(self, delivery: Delivery, held: Held, folder: Path) -> Batch:
        """A delivery as a table. Raises WindowEmptied where rows would vanish, unless that is allowed."""
        found = batch(self.spec, delivery, held, folder)
        filled = held.filled & Days.between(delivery.window.start, delivery.window.end)
        if filled.spans and not found.rows and not self.order.allow_empty:
            there = format_count(len(filled), "day")
            raise WindowEmptied(
                f"{self.spec.name}: the window {delivery.window} came back empty, and the copy has rows of {there}; "
                "nothing was changed. If it is right that they vanish, allow it: allow_empty=True."
            )
        return found

    def _heard(self, window: Window) -> Callable[[Event], None]:
        return lambda event: self.order.tell(OfWindow(self.spec.name, window, event))


__all__ = ["SyncEvent", "load", "reports"]
