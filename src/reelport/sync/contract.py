"""The contract of a copy: how a report is loaded beside its columns, what it replaces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from reelport.catalog import Metric
from reelport.client.files.csv_checks import build_repeated
from reelport.client.ranges.windows import Window
from reelport.errors import SchemaDrift, ServiceError, WindowEmptied
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.spec import Contract, Spec
from reelport.sync.staging import (
    OWN,
    STAGE,
    TEXT,
    Delivery,
    Field,
    Misfit,
    Stage,
    cast_sql,
    fields_of,
    fits_sql,
    within_sql,
)
from reelport.sync.verified_days import State
from reelport.wording import format_count

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_VARIANT = "__text"  # suffix of the text column that keeps values which don't fit the type of their own column


@dataclass(frozen=True, slots=True)
class Agreement:
    """A copy's fields from now on, SQL for each over the staged report, rows to load, notes."""

    fields: tuple[Field, ...]
    values: tuple[str, ...]
    rows: str = "true"
    notes: tuple[str, ...] = ()

    def select(self) -> str:
        """Format the columns for a SELECT."""
        pairs = zip(self.values, self.fields, strict=True)
        return ", ".join(f"{value} AS {quote_name(field.name)}" for value, field in pairs)


def agree(spec: Spec, kept: tuple[Field, ...], stage: Stage, window: Window, *, widens: bool = True) -> Agreement:
    """Decide by the contract how a staged report is loaded beside the fields `kept`.

    `kept` is empty while there is no copy: then whole numbers beyond 64 bits are DECIMAL(38,0) from the start. Without
    `widens`, numbers too fine or too large for a column are kept as text, as words among numbers are. Raises
    SchemaDrift where the contract forbids the change, or a row has no day; RepeatedRows; ServiceError for a row outside
    of the window.
    """
    asked = fields_of(spec.columns)
    base = kept or asked
    if spec.contract is not Contract.EVOLVE and spec.time not in {field.name for field in base}:
        raise SchemaDrift(f"The copy has no column {spec.time} to tell its days apart, and {spec.contract} adds none.")
    names = {field.name for field in base}
    new = tuple(field for field in fields_of(stage.columns) if field.name not in names)
    lost = [field.name for field in asked if field.name not in stage.columns]
    _require_days(spec, base, stage, window)
    misfits = stage.misfits((*base, *new))
    if misfits or stage.columns != spec.columns:
        _refuse_repeats(spec, stage)
    if not kept:
        large = {one.field: wider for one in misfits if (wider := one.wider) and wider.digits == one.field.digits}
        base, new = (tuple(large.get(field, field) for field in fields) for fields in (base, new))
        misfits = tuple(one for one in misfits if one.field not in large)
    if spec.contract is Contract.FREEZE and (new or lost or misfits):
        wrong = [f"there is a new column {field.name}" for field in new]
        wrong += [f"there is no column {name}" for name in lost] + [str(misfit) for misfit in misfits]
        raise SchemaDrift(f"The contract of {spec.name} is freeze, and nothing was changed: {'; '.join(wrong)}.")
    notes = [f"the report has no column {name}: left empty" for name in lost]
    match spec.contract:
        case Contract.DISCARD_VALUE:
            notes += [f"column {field.name} is left out" for field in new]
            notes += [f"{misfit}: left empty" for misfit in misfits]
            return _build_agreement(base, stage, notes=notes)
        case Contract.DISCARD_ROW:
            return _discard_rows(base, new, misfits, stage, notes)
        case _:
            notes += [f"new column {field.name}" for field in new if field not in asked]
            return _evolve(base, new, misfits, stage, notes, widens=widens)


def _require_days(spec: Spec, base: tuple[Field, ...], stage: Stage, window: Window) -> None:
    time = time_field(spec, base)
    if time.name not in stage.columns:
        raise SchemaDrift(f"The report has no column {time.name}: its rows can't be told apart by day.")
    text = quote_name(time.name)
    nowhere = stage.count(f"{text} IS NULL OR NOT {fits_sql(time)}")
    if nowhere:
        raise SchemaDrift(f"The report has {format_count(nowhere, 'row')} without a day in {time.name}.")
    outside = stage.count(f"NOT ({within_sql(f'({cast_sql(time)})', time.type, window.start, window.end)})")
    if outside:
        raise ServiceError(f"The report has {format_count(outside, 'row')} outside of {window}.")


def _refuse_repeats(spec: Spec, stage: Stage) -> None:
    """Raise RepeatedRows for two rows of a key.

    A report with the columns that were asked for was checked while it came.
    """
    if not {name.lower() for name in spec.dimensions} <= set(stage.columns):
        return
    keys = [quote_name(name) for name in stage.columns if name.upper() not in Metric.__members__]
    known = " AND ".join(f"{key} IS NOT NULL" for key in keys)  # an empty cell may stand for several things
    listed = ", ".join(keys)
    twice = f"SELECT {listed} FROM {STAGE} WHERE {known} GROUP BY {listed} HAVING count(*) > 1"  # noqa: S608 - quoted
    if found := stage.con.execute(twice).fetchone():
        raise build_repeated(",".join(found))


def time_field(spec: Spec, fields: tuple[Field, ...]) -> Field:
    """Return the time field that tells a spec's days apart."""
    found = next((field for field in (*fields, *fields_of(spec.columns)) if field.name == spec.time), None)
    assert found is not None  # noqa: S101 - a spec without a time is refused when it is read
    return found


def _evolve(
    base: tuple[Field, ...],
    new: tuple[Field, ...],
    misfits: tuple[Misfit, ...],
    stage: Stage,
    notes: list[str],
    *,
    widens: bool,
) -> Agreement:
    fields = {field.name: field for field in (*base, *new)}
    texts: dict[str, str] = {}
    for misfit in misfits:
        name = misfit.field.name
        if widens and (wider := misfit.wider) is not None:
            fields[name] = wider
            notes.append(f"{misfit}: it is {wider.type} from now on")
        else:
            texts[name + _VARIANT] = f"CASE WHEN NOT {fits_sql(misfit.field)} THEN {quote_name(name)} END"
            fields.setdefault(name + _VARIANT, Field(name + _VARIANT, TEXT))
            notes.append(f"{misfit}: kept in {name}{_VARIANT}")
    return _build_agreement(tuple(fields.values()), stage, texts, notes=notes)


def _discard_rows(
    base: tuple[Field, ...], new: tuple[Field, ...], misfits: tuple[Misfit, ...], stage: Stage, notes: list[str]
) -> Agreement:
    reasons = [f"{quote_name(field.name)} IS NOT NULL" for field in new]
    reasons += [f"({quote_name(one.field.name)} IS NOT NULL AND NOT {fits_sql(one.field)})" for one in misfits]
    if not reasons:
        return _build_agreement(base, stage, notes=notes)
    out = " OR ".join(reasons)
    notes += [f"column {field.name} has no place" for field in new] + [str(misfit) for misfit in misfits]
    notes.append(f"{format_count(stage.count(out), 'row')} left out")
    return replace(_build_agreement(base, stage, notes=notes), rows=f"NOT ({out})")


def _build_agreement(
    fields: tuple[Field, ...], stage: Stage, texts: dict[str, str] | None = None, *, notes: list[str]
) -> Agreement:
    texts = texts or {}
    values = tuple(
        texts.get(field.name) or (cast_sql(field) if field.name in stage.columns else f"CAST(NULL AS {field.type})")
        for field in fields
    )
    return Agreement(fields, values, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class View:
    """A copy open for reading: DuckDB connection, rows as a relation, fields."""

    con: DuckDBPyConnection
    relation: str
    fields: tuple[Field, ...]


def select_stamped(spec: Spec, delivery: Delivery, agreement: Agreement) -> str:
    """SQL that selects the rows to load: the columns that sync adds, then the report's."""
    window = delivery.window
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    own = (
        quote_text(spec.name),
        f"DATE '{window.start}'",
        f"DATE '{window.end}'",
        quote_text(delivery.token),
        f"TIMESTAMPTZ '{moment}'",
    )
    stamps = ", ".join(f"{value} AS {name}" for value, name in zip(own, OWN, strict=True))
    return f"SELECT {stamps}, {agreement.select()} FROM {STAGE} WHERE {agreement.rows}"  # noqa: S608 - all is quoted


def in_window_sql(spec: Spec, fields: tuple[Field, ...], delivery: Delivery) -> str:
    """SQL condition: the row lies in the delivery's window, or has no time."""
    time = time_field(spec, fields)
    inside = within_sql(quote_name(time.name), time.type, delivery.window.start, delivery.window.end)
    return f"({inside} OR {quote_name(time.name)} IS NULL)"


def is_stale_sql(spec: Spec, fields: tuple[Field, ...], delivery: Delivery, state: State) -> str:
    """SQL condition: a row came from another query or service, and no window will replace it."""
    if state.is_current(spec, delivery.service):
        return "false"
    time = time_field(spec, fields)
    return f"NOT {within_sql(quote_name(time.name), time.type, *replaced_span(spec, delivery))}"


def replaced_span(spec: Spec, delivery: Delivery) -> tuple[date, date]:
    """Return first and last day that windows replace, as of the delivery's ask."""
    return spec.start, max(delivery.window.end, spec.end(delivery.asked.date()))


def refuse_emptied(spec: Spec, delivery: Delivery, before: int, rows: int, *, allow_empty: bool) -> None:
    """Raise WindowEmptied for a window that would lose all of its rows, unless `allow_empty`."""
    if before and not rows and not allow_empty:
        kept = format_count(before, "row")
        raise WindowEmptied(
            f"{spec.name}: the window {delivery.window} came back empty, and the copy has {kept} there; nothing was "
            "changed. If it is right that they vanish, run the same again with --allow-empty."
        )
