"""Schema contract: which columns a copy gets when a report's differ from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reelport.client.ranges.windows import Window
from reelport.errors import SchemaDrift, ServiceError
from reelport.sql_quoting import quote_name
from reelport.sync.columns import TEXT, Field, cast_sql, fields_of, fits_sql, within_sql
from reelport.sync.spec import Contract, Spec
from reelport.sync.staging import Misfit, Stage
from reelport.wording import format_count

_VARIANT = "__text"
"""Suffix of the text column that keeps values which don't fit the type of their own column."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A copy's fields from now on, how to fill them, rows to load, and notes.

    `values` has one SQL expression over the staged report for each field; `rows` is an SQL condition.
    """

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
    `widens`, numbers that are too fine or too large for a column that is there are kept as text, as words among numbers
    are. Raises SchemaDrift where the contract forbids the change, or a row has no day; ServiceError for a row outside
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
    if not kept:
        large = {one.field: wider for one in misfits if (wider := one.wider) and wider.digits == one.field.digits}
        base, new = (tuple(large.get(field, field) for field in fields) for fields in (base, new))
        misfits = tuple(one for one in misfits if one.field not in large)
    if spec.contract is Contract.FREEZE:
        _refuse_changes(spec, new, lost, misfits)
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
    """Raise SchemaDrift for rows without a day, ServiceError for rows outside of the window."""
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


def time_field(spec: Spec, fields: tuple[Field, ...]) -> Field:
    """Return the time field that tells a spec's days apart."""
    found = next((field for field in (*fields, *fields_of(spec.columns)) if field.name == spec.time), None)
    assert found is not None  # noqa: S101 - a spec without a time is refused when it is read
    return found


def _refuse_changes(spec: Spec, new: tuple[Field, ...], lost: list[str], misfits: tuple[Misfit, ...]) -> None:
    wrong = [f"there is a new column {field.name}" for field in new]
    wrong += [f"there is no column {name}" for name in lost]
    wrong += [str(misfit) for misfit in misfits]
    if wrong:
        raise SchemaDrift(f"The contract of {spec.name} is freeze, and nothing was changed: {'; '.join(wrong)}.")


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
