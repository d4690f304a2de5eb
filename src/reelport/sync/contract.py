"""What a report and its copy agree on: which fields the copy gets, what of each row goes in, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reelport.client.ranges.windows import Window
from reelport.errors import SchemaDrift, ServiceError
from reelport.sync.columns import TEXT, Field, cast, fields_of, fits, quoted, within
from reelport.sync.spec import Contract, Spec
from reelport.sync.staging import Misfit, Stage
from reelport.wording import format_count

_VARIANT = "__text"
"""Ends the name of a field for values of another kind than the column's."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the copy's fields are from now on, where their values come from, which rows, and what to tell of it.

    `values` has one SQL expression over the stage for each field.
    """

    fields: tuple[Field, ...]
    values: tuple[str, ...]
    rows: str = "true"
    notes: tuple[str, ...] = ()

    def select(self) -> str:
        """The columns as a SELECT names them."""
        pairs = zip(self.values, self.fields, strict=True)
        return ", ".join(f"{value} AS {quoted(field.name)}" for value, field in pairs)


def agree(spec: Spec, kept: tuple[Field, ...], stage: Stage, window: Window, *, widens: bool = True) -> Agreement:
    """How a staged report goes into a copy of these fields (none: there is no copy yet), by the spec's contract.

    Where the copy's columns can't be widened, finer numbers go where words among numbers do.
    Raises SchemaDrift where the contract has it stop, and where no contract could help: a row must say
    its day. Raises ServiceError for a row outside of the window.
    """
    asked = fields_of(spec.columns)
    base = kept or asked
    if spec.contract is not Contract.EVOLVE and spec.time not in {field.name for field in base}:
        raise SchemaDrift(f"The copy has no column {spec.time} to tell its days apart, and {spec.contract} adds none.")
    names = {field.name for field in base}
    new = tuple(field for field in fields_of(stage.columns) if field.name not in names)
    lost = [field.name for field in asked if field.name not in stage.columns]
    _placed(spec, base, stage, window)
    misfits = stage.misfits((*base, *new))
    if spec.contract is Contract.FREEZE:
        _frozen(spec, new, lost, misfits)
    notes = [f"the report has no column {name}: left empty" for name in lost]
    match spec.contract:
        case Contract.DISCARD_VALUE:
            notes += [f"column {field.name} is left out" for field in new]
            notes += [f"{misfit}: left empty" for misfit in misfits]
            return _agreement(base, stage, notes=notes)
        case Contract.DISCARD_ROW:
            return _without_rows(base, new, misfits, stage, notes)
        case _:
            notes += [f"new column {field.name}" for field in new if field not in asked]
            return _evolved(base, new, misfits, stage, notes, widens=widens)


def _placed(spec: Spec, base: tuple[Field, ...], stage: Stage, window: Window) -> None:
    """Raise unless every row says its day, and lies inside the window."""
    time = time_of(spec, base)
    if time.name not in stage.columns:
        raise SchemaDrift(f"The report has no column {time.name}: its rows can't be told apart by day.")
    text = quoted(time.name)
    nowhere = stage.count(f"{text} IS NULL OR NOT {fits(time)}")
    if nowhere:
        raise SchemaDrift(f"The report has {format_count(nowhere, 'row')} without a day in {time.name}.")
    outside = stage.count(f"NOT ({within(f'({cast(time)})', time.type, window.start, window.end)})")
    if outside:
        raise ServiceError(f"The report has {format_count(outside, 'row')} outside of {window}.")


def time_of(spec: Spec, fields: tuple[Field, ...]) -> Field:
    """The field that tells a spec's days apart."""
    found = next((field for field in (*fields, *fields_of(spec.columns)) if field.name == spec.time), None)
    assert found is not None  # noqa: S101 - a spec without a time is refused when it is read
    return found


def _frozen(spec: Spec, new: tuple[Field, ...], lost: list[str], misfits: tuple[Misfit, ...]) -> None:
    wrong = [f"there is a new column {field.name}" for field in new]
    wrong += [f"there is no column {name}" for name in lost]
    wrong += [str(misfit) for misfit in misfits]
    if wrong:
        raise SchemaDrift(f"The contract of {spec.name} is freeze, and nothing was changed: {'; '.join(wrong)}.")


def _evolved(
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
        if widens and misfit.numbers and misfit.field.is_number:
            fields[name] = misfit.field.widened(misfit.digits)
            notes.append(f"{misfit}: it is {fields[name].type} from now on")
        else:
            texts[name + _VARIANT] = f"CASE WHEN NOT {fits(misfit.field)} THEN {quoted(name)} END"
            fields.setdefault(name + _VARIANT, Field(name + _VARIANT, TEXT))
            notes.append(f"{misfit}: kept in {name}{_VARIANT}")
    return _agreement(tuple(fields.values()), stage, texts, notes=notes)


def _without_rows(
    base: tuple[Field, ...], new: tuple[Field, ...], misfits: tuple[Misfit, ...], stage: Stage, notes: list[str]
) -> Agreement:
    reasons = [f"{quoted(field.name)} IS NOT NULL" for field in new]
    reasons += [f"({quoted(one.field.name)} IS NOT NULL AND NOT {fits(one.field)})" for one in misfits]
    if not reasons:
        return _agreement(base, stage, notes=notes)
    out = " OR ".join(reasons)
    notes += [f"column {field.name} has no place" for field in new] + [str(misfit) for misfit in misfits]
    notes.append(f"{format_count(stage.count(out), 'row')} left out")
    return replace(_agreement(base, stage, notes=notes), rows=f"NOT ({out})")


def _agreement(
    fields: tuple[Field, ...], stage: Stage, texts: dict[str, str] | None = None, *, notes: list[str]
) -> Agreement:
    texts = texts or {}
    values = tuple(
        texts.get(field.name) or (cast(field) if field.name in stage.columns else f"CAST(NULL AS {field.type})")
        for field in fields
    )
    return Agreement(fields, values, notes=tuple(notes))
