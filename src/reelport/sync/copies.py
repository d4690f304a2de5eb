"""A copy at either kind of destination: its state, its view, and replacing a window."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Self

from reelport.errors import NewerData, StorageError, WindowEmptied
from reelport.sql_quoting import quote_name, quote_text
from reelport.sync.columns import OWN, Field, within_sql
from reelport.sync.contract import Agreement, time_field
from reelport.sync.days import NONE, Days, month_last
from reelport.sync.spec import Spec
from reelport.sync.staging import STAGE, Delivery
from reelport.wire import NO_DAY
from reelport.wording import format_count

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FORMAT = 1


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


@dataclass(frozen=True, slots=True)
class State:
    """A spec's copy: service and query of its rows, days present, days verified.

    A verified day was read after its numbers had become final, and isn't read again. `vouched` days are those up to
    which the service called its facts complete when they were read. `service` is the address that the rows came from,
    `identity` the hash of their query (see `Spec.identity`).
    """

    service: str = ""
    identity: str = ""
    present: Days = NONE
    verified: Days = NONE
    vouched: Days = NONE

    def has_meaning_of(self, spec: Spec) -> bool:
        """Whether the rows were made by the query that the spec has now."""
        return self.identity == spec.identity

    def is_current(self, spec: Spec, service: str) -> bool:
        """Whether the rows were made by the spec's query, at this service."""
        return self.has_meaning_of(spec) and self.service == service

    def without_verified(self, days: Days | None = None) -> Self:
        """Return the state with these days, or all of them, not verified."""
        return replace(self, verified=NONE if days is None else self.verified - days)

    def trust(self, spec: Spec, last_row: date | None) -> Self:
        """Return the state, unverified after the last row unless the service vouched.

        `last_row` is the last day with rows in the copy; None when it has none. Later days may be empty only because
        their facts haven't arrived yet.
        """
        if last_row is None:
            return replace(self, verified=self.verified & self.vouched)
        last = month_last(last_row) if spec.monthly else last_row
        return replace(self, verified=self.verified & (Days.between(date.min, last) | self.vouched))

    def after(self, spec: Spec, delivery: Delivery) -> Self:
        """Return the state after the delivery's window has been replaced."""
        days = delivery.days
        fits = self.is_current(spec, delivery.service)
        present = self.present if fits else NONE
        verified = self.verified if fits else NONE
        still = days & Days.between(date.min, spec.last_final_day(delivery.asked.date()))
        complete = _complete_days(spec, delivery, days)
        return replace(
            self,
            service=delivery.service,
            identity=spec.identity,
            present=present | days,
            verified=(verified - days) | (still if delivery.last_complete_day is None else still & complete),
            vouched=((self.vouched if fits else NONE) - days) | complete,
        )

    def to_json(self) -> str:
        """Format the state as one line of JSON."""
        return json.dumps(
            {
                "format": _FORMAT,
                "service": self.service,
                "identity": self.identity,
                "present": self.present.to_json(),
                "verified": self.verified.to_json(),
                "vouched": self.vouched.to_json(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave. NewerData for a newer format, StorageError if damaged."""
        try:
            found = json.loads(text)
            if found["format"] > _FORMAT:
                raise NewerData("The state of this copy was written by a newer version of reelport: use that one.")
            return cls(
                str(found["service"]),
                str(found["identity"]),
                Days.from_json(found["present"]),
                Days.from_json(found["verified"]),
                Days.from_json(found.get("vouched", ())),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"The state of this copy can't be read ({error}): was it changed by hand?") from None


def _complete_days(spec: Spec, delivery: Delivery, days: Days) -> Days:
    """Return the delivery's days with complete facts; none where it isn't told."""
    last = delivery.last_complete_day
    return NONE if last is None or last == NO_DAY else days & Days.between(date.min, spec.last_whole_day(last))
