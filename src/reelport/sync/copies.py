"""A copy at either kind of destination: view, SQL, checks of replacing a window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from reelport.errors import WindowEmptied
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.columns import OWN, Field, within_sql
from reelport.sync.contract import Agreement, time_field
from reelport.sync.copy_state import State
from reelport.sync.spec import Spec
from reelport.sync.staging import STAGE, Delivery
from reelport.wording import format_count

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Replaced:
    """The result of replacing a window: rows before, rows now, and notes on columns and values."""

    before: int
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A copy open for reading: DuckDB connection, rows as a relation, fields."""

    con: DuckDBPyConnection
    relation: str
    fields: tuple[Field, ...]


def select_stamped(spec: Spec, delivery: Delivery, agreement: Agreement, now: datetime | None = None) -> str:
    """SQL that selects the rows to load: the columns that sync adds, then the report's."""
    window = delivery.window
    moment = (now or datetime.now(UTC)).isoformat(timespec="seconds")
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
