"""A copy of a report, wherever it is kept: what the two kinds of destination have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol

from reelport.errors import WindowEmptied
from reelport.sync.columns import OWN, Field, literal, quoted, within
from reelport.sync.contract import Agreement, time_of
from reelport.sync.copy_state import State
from reelport.sync.days import Days
from reelport.sync.spec import Spec
from reelport.sync.staging import STAGE, Delivery
from reelport.wording import format_count

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a window came to: rows before, rows now, and what there is to say of columns and values."""

    before: int
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A copy open for reading: a connection, its rows as SQL, its report's fields."""

    con: DuckDBPyConnection
    relation: str
    fields: tuple[Field, ...]


class Copies(Protocol):
    """A destination. A reader sees it as it was before a window was replaced, or as it was after."""

    def state(self, spec: Spec) -> State:
        """What it holds of a spec, as far as its rows let it be trusted; the empty state when nothing."""

    def replace(self, spec: Spec, delivery: Delivery, *, allow_empty: bool = False) -> Replaced:
        """Put a delivery in the place of all rows of its window, and its days into the state, in one step.

        Raises, with nothing changed, SchemaDrift by the contract, WindowEmptied when there were rows and
        come none (unless that is allowed), and StorageError.
        """

    def doubt(self, spec: Spec, days: Days | None = None) -> None:
        """Take none of these days, or no day, of a spec as verified any more: each is read again. Its rows stay."""

    def view(self, spec: Spec) -> AbstractContextManager[View | None]:
        """The copy of a spec, for reading; None while there is none."""


def stamped(spec: Spec, delivery: Delivery, agreement: Agreement, now: datetime | None = None) -> str:
    """A SELECT of the rows that go in: what each says of itself, then its report's columns."""
    window = delivery.window
    moment = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    own = (
        literal(spec.name),
        f"DATE '{window.start}'",
        f"DATE '{window.end}'",
        literal(delivery.token),
        f"TIMESTAMPTZ '{moment}'",
    )
    stamps = ", ".join(f"{value} AS {name}" for value, name in zip(own, OWN, strict=True))
    return f"SELECT {stamps}, {agreement.select()} FROM {STAGE} WHERE {agreement.rows}"  # noqa: S608 - all is quoted


def window_of(spec: Spec, fields: tuple[Field, ...], delivery: Delivery) -> str:
    """Whether a row of the copy goes: it is of the delivery's window, or was placed by another column in its time."""
    time = time_of(spec, fields)
    inside = within(quoted(time.name), time.type, delivery.window.start, delivery.window.end)
    return f"({inside} OR {quoted(time.name)} IS NULL)"


def stale(spec: Spec, fields: tuple[Field, ...], delivery: Delivery, state: State) -> str:
    """Whether a row of the copy goes besides: it is of another meaning or service, and no window will replace it."""
    if state.fits(spec, delivery.service):
        return "false"
    time = time_of(spec, fields)
    return f"NOT {within(quoted(time.name), time.type, *replaced(spec, delivery))}"


def replaced(spec: Spec, delivery: Delivery) -> tuple[date, date]:
    """The first and the last day that windows replace, as of the day that the delivery was asked for."""
    return spec.start, max(delivery.window.end, spec.end(delivery.asked.date()))


def guard(spec: Spec, delivery: Delivery, before: int, rows: int, *, allow_empty: bool) -> None:
    """Raise WindowEmptied for a window that would lose all of its rows, unless that is allowed."""
    if before and not rows and not allow_empty:
        there = format_count(before, "row")
        raise WindowEmptied(
            f"{spec.name}: the window {delivery.window} came back empty, and the copy has {there} there; nothing was "
            "changed. If it is right that they vanish, run the same again with --allow-empty."
        )
