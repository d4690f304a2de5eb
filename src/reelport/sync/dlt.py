"""Reports as a dlt source (`reelport[dlt]`): one resource for each spec.

    import dlt
    from reelport.sync.dlt import load

    pipeline = dlt.pipeline("partner", destination="duckdb", dataset_name="reports")
    load(pipeline, "reelport.toml")

Each load replaces a window: dlt deletes the rows of its days (`merge_key`) and inserts the new ones. A day without rows
gets a tombstone (`_deleted`, a `hard_delete` column), so that an emptied day vanishes too. The days that a copy has are
kept in dlt's state, which dlt stores in the destination with the rows.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import dlt
from dlt.common.pipeline import LoadInfo, SupportsPipeline
from dlt.common.schema.typing import TLoaderMergeStrategy
from dlt.extract import DltResource, DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from reelport.client.client import Client
from reelport.client.flows.fetch import mark_delivered
from reelport.client.ranges.windows import Window
from reelport.client.settings.config import DEADLINE
from reelport.client.settings.profiles import resolve
from reelport.client.steps import to_seconds
from reelport.errors import ReelportError, ServiceError, StorageError, UsageError, WindowEmptied
from reelport.sync import spec_file
from reelport.sync.contract import agree, replaced_span, select_stamped, time_field
from reelport.sync.coverage import cut_windows, missing_days
from reelport.sync.events import Began, Loaded, SyncEvent, Tell, label_events, warn, with_log
from reelport.sync.spec import NONE, Days, Spec, month_last
from reelport.sync.staging import Delivery, Field, day_sql, load_stage, open_duckdb
from reelport.sync.sync_run import discard_report, fetch_window, limit_window, named_days
from reelport.sync.verified_days import State
from reelport.wording import format_count

if TYPE_CHECKING:
    import pyarrow as pa

_STRATEGY: TLoaderMergeStrategy = "delete-insert"
_DAY = "_day"  # name of the column with a row's day (for a month, its first): the merge key
_DELETED = "_deleted"  # name of the column that marks a tombstone: it deletes its day, and isn't kept
_KEY = ("_spec", _DAY)  # the merge key: a load replaces all rows with the same values
_HINTS: dict[str, Any] = {_DELETED: {"data_type": "bool", "hard_delete": True}, _DAY: {"data_type": "date"}}
_TOMBSTONE = f"INSERT INTO batch BY NAME SELECT ? AS _spec, CAST(? AS DATE) AS {_DAY}, true AS {_DELETED}"


@dataclass(slots=True)
class _Run:
    """What a run's resources share: options, windows `left`, days `read`, files `brought`.

    With `at_most` windows a run, files count as delivered only when the run is over. `named` days are read in place of
    the missing ones.
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
    """Give a file's reports as dlt resources: all windows go into one load package.

    The destinations of the file are not used. An option that isn't given comes from `[sources.reelport]` of dlt's
    configuration, then from REELPORT_… and profiles. Raises UsageError with every problem of the file, and AccessError
    without a key, before anything is sent.
    """
    client = Client(settings=resolve(os.environ, profile=profile, url=url, key=key, secret=secret, insecure=insecure))
    run = _Run(client, with_log(client.session, warn), DEADLINE, allow_empty, every_day)
    yield from _build_resources(spec_file.read(file, only=only, placed=False), run)


def load(
    pipeline: dlt.Pipeline,
    file: str | os.PathLike[str] = spec_file.NAME,
    *,
    only: Sequence[str] = (),
    client: Client | None = None,
    tell: Tell = warn,
    deadline: float = DEADLINE,
    allow_empty: bool = False,
    every_day: bool = False,
    start: date | None = None,
    end: date | None = None,
) -> list[LoadInfo]:
    """Bring reports up to date in a pipeline: a load package, with state, for each window.

    The unfinished work of an earlier run is loaded first. With `every_day` every day is read again; if that run ends
    early, the next one continues. With `start`, `end` or both, only the days between them are read. Raises the error
    of the first window that can't be read; windows before it are loaded. Raises UsageError for rows of another
    service, unless all days are read again, and for a range in which a report keeps no day.
    """
    specs, limit = spec_file.read(file, only=only, placed=False), to_seconds(deadline)
    named = named_days(specs, datetime.now(UTC).date(), start, end, every_day=every_day)
    with nullcontext(client) if client else Client(settings=resolve(os.environ)) as connected:
        listener = with_log(connected.session, tell)
        return _load_windows(
            pipeline, specs, _Run(connected, listener, limit, allow_empty, every_day, at_most=1, named=named)
        )


def _load_windows(pipeline: dlt.Pipeline, specs: Sequence[Spec], run: _Run) -> list[LoadInfo]:
    done: list[LoadInfo] = []
    while True:
        run.left.clear()
        done.append(
            _run_pipeline(pipeline, DltSource(dlt.Schema("reelport"), "reelport", list(_build_resources(specs, run))))
        )
        run.client.drive(mark_delivered(run.client.session, run.brought))
        run.brought.clear()
        # Where a resource hasn't reported, dlt has loaded an earlier run's package and called none.
        if len(run.left) == len(specs) and not any(run.left.values()):
            return done


def _run_pipeline(pipeline: dlt.Pipeline, source: DltSource) -> LoadInfo:
    try:
        return pipeline.run(source)
    except PipelineStepFailed as failure:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, ReelportError):
                raise cause from failure
            cause = cause.__cause__ or cause.__context__
        raise


def _build_resources(specs: Sequence[Spec], run: _Run) -> Iterator[DltResource]:
    for spec in specs:
        yield dlt.resource(
            _make_reader(spec, run),
            name=spec.name,
            write_disposition={"disposition": "merge", "strategy": _STRATEGY},
            merge_key=_KEY,
            columns=_HINTS,
            schema_contract="evolve",
        )


def _refuse_appending(pipeline: SupportsPipeline) -> None:
    """Raise UsageError where dlt would append: restated rows double, vanished ones stay."""
    destination = pipeline.destination
    if destination is None:
        return
    known = destination.capabilities().supported_merge_strategies or []
    if _STRATEGY not in known:
        raise UsageError(
            f"dlt replaces no rows at the destination {destination.destination_name}: it would add restated rows to "
            "those that are there. Choose one that merges, or for Parquet files `reelport sync run`."
        )


def _make_reader(spec: Spec, run: _Run) -> Callable[[], Iterator[pa.Table]]:
    """Make the function without parameters, as dlt takes it, that reads missing windows.

    It gives a table for each, and keeps the new state in dlt's.
    """

    def read_windows() -> Iterator[pa.Table]:
        _refuse_appending(dlt.current.pipeline())
        kept = dlt.current.resource_state(spec.name)
        session = run.client.session
        held = _check_held(spec, run, _HeldCopy.from_text(kept.get("held")), session.settings.url)
        limited = limit_window(spec, session)
        last_row = held.filled.spans[-1][1] if held.filled.spans else None
        state, today = held.state.trust(spec, last_row), datetime.now(UTC).date()
        days = run.named.get(spec.name, missing_days(limited, state, session.settings.url, today))
        todo = cut_windows(limited, days - run.read.get(spec.name, NONE))
        now = todo if run.at_most is None else todo[: run.at_most]
        run.left[spec.name] = len(todo) - len(now)
        for number, window in enumerate(now, start=1):
            run.tell(Began(spec.name, window, number, len(todo)))
            table, held = _read_window(spec, run, window, held)
            yield table
            kept["held"] = held.to_text()
            run.read[spec.name] = run.read.get(spec.name, NONE) | Days.of_window(window)

    return read_windows


def _check_held(spec: Spec, run: _Run, held: _HeldCopy, here: str) -> _HeldCopy:
    if run.every_day and spec.name not in run.read:
        return replace(held, state=held.state.without_verified())
    origin = held.state.service
    if origin and origin != here:
        raise UsageError(
            f"{spec.name}: the dataset holds rows from {origin}, and this is {here}. Take another dataset, or "
            "read every day again, from here: every_day=True."
        )
    named = run.named.get(spec.name, NONE) - run.read.get(spec.name, NONE)
    return replace(held, state=held.state.without_verified(named))


def _read_window(spec: Spec, run: _Run, window: Window, held: _HeldCopy) -> tuple[pa.Table, _HeldCopy]:
    """Read a window: give its table, and the copy as it is once the table is loaded."""
    session = run.client.session
    with tempfile.TemporaryDirectory(prefix="reelport-") as name:
        folder = Path(name)
        known = held.state.present | run.named.get(spec.name, NONE)
        fresh = bool((known & Days.of_window(window)).spans)
        tell = label_events(run.tell, spec.name, window)
        flow = fetch_window(session, spec, window, folder, tell, deadline=run.deadline, fresh=fresh)
        delivery = run.client.drive(flow)
        try:
            table, after, loaded = _make_batch(spec, delivery, held, folder, allow_empty=run.allow_empty)
        except ServiceError as error:
            run.client.drive(discard_report(session, delivery, error))
            raise
    run.brought.append(delivery.file)
    if run.at_most is None:
        run.client.drive(mark_delivered(session, [delivery.file]))
    run.tell(loaded)
    return table, after


__all__ = ["SyncEvent", "load", "reports"]


@dataclass(frozen=True, slots=True)
class _HeldCopy:
    """What a copy holds, by dlt's state; `time` is the column that gave its days."""

    state: State
    fields: tuple[Field, ...] = ()
    filled: Days = NONE
    time: str = ""

    def stale_days(self, spec: Spec, delivery: Delivery) -> Days:
        """Return the days outside of the delivery whose rows must be deleted with it.

        Rows placed by another time column would be repeated; rows of another query or service that no window replaces
        would stay for ever.
        """
        if self.time and self.time != spec.time:
            return self.filled
        if self.state.is_current(spec, delivery.service):
            return NONE
        return self.filled - Days.between(*replaced_span(spec, delivery))

    def to_text(self) -> str:
        columns = {field.name: field.type for field in self.fields}
        filled = self.filled.to_json()
        return json.dumps({"state": self.state.to_json(), "columns": columns, "filled": filled, "time": self.time})

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """Read what `to_text` gave; the empty copy for None. StorageError if damaged."""
        if text is None:
            return cls(State())
        try:
            found = json.loads(text)
            fields = tuple(Field(name, kind) for name, kind in found["columns"].items())
            return cls(State.from_json(found["state"]), fields, Days.from_json(found["filled"]), str(found["time"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"The state of this copy can't be read ({error}): was it changed by hand?") from None


def _make_batch(
    spec: Spec, delivery: Delivery, held: _HeldCopy, spill: Path, *, allow_empty: bool
) -> tuple[pa.Table, _HeldCopy, Loaded]:
    days = delivery.days | held.stale_days(spec, delivery)
    with open_duckdb(spill) as con:
        staged = load_stage(con, delivery.file)
        agreement = agree(spec, held.fields, staged, delivery.window, widens=False)
        time = time_field(spec, agreement.fields)
        placed = day_sql(time)
        rows = select_stamped(spec, delivery, agreement)
        con.execute(f"CREATE TEMP TABLE batch AS SELECT *, {placed} AS {_DAY}, false AS {_DELETED} FROM ({rows})")  # noqa: S608 - quoted
        found = con.execute(f"SELECT {_DAY}, count(*) FROM batch GROUP BY 1").fetchall()  # noqa: S608 - our own names
        vanish = held.filled & delivery.days
        if vanish.spans and not found and not allow_empty:
            raise WindowEmptied(
                f"{spec.name}: the window {delivery.window} came back empty, and the copy has rows of "
                f"{format_count(len(vanish), 'day')}; nothing was changed. If it is right that they vanish, allow it: "
                "allow_empty=True."
            )
        firsts = {first for first, _ in found}
        if empty := [[spec.name, day] for day in days if day not in firsts]:
            con.executemany(_TOMBSTONE, empty)
        table = con.sql("FROM batch").to_arrow_table()
    for name in _KEY:
        at = table.schema.get_field_index(name)
        table = table.cast(table.schema.set(at, table.schema.field(at).with_nullable(False)))
    filled = Days.of((first, month_last(first) if spec.monthly else first) for first, _ in found)
    after = _HeldCopy(
        held.state.after(spec, delivery), agreement.fields, (held.filled - days) | filled, spec.time or ""
    )
    counted = sum(count for _, count in found)
    return table, after, Loaded(spec.name, delivery.window, 0, counted, delivery.token, agreement.notes)
