"""A row of the ledger: one report, from the intent to ask for it to its downloaded file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from reelport.client.ledger import owners
from reelport.query import ReportQuery

LIFE = timedelta(hours=48)
"""How long the service keeps a report, counted from the ask."""

HOLD = timedelta(hours=2)
"""How long making a report may take, and so how long an ask whose answer was lost may hold a slot."""


class State(StrEnum):
    """A report's state as far as this machine knows, in the order in which states follow."""

    sentence: str

    INTENT = "intent", "Recorded before the ask is sent; no answer has come yet."
    REQUESTED = "requested", "The service took it and gave its token."
    RUNNING = "running", "A look found it in progress."
    FINISHED = "finished", "A look found it finished: it can be downloaded."
    DOWNLOADED = "downloaded", "Its file is in place, as an earlier version recorded it."
    VERIFIED = "verified", "Its file is in place; size, SHA-256 and rows are recorded."
    FAILED = "failed", "The service could not make it."
    EXPIRED = "expired", "The service no longer has it."
    UNKNOWN = "unknown", "The answer to its ask was lost: the service may have taken it."
    FORGOTTEN = "forgotten", "The user forgot it: it holds no slot and is never reused."

    def __new__(cls, word: str, sentence: str) -> Self:
        """Make a state from its word in the file and a sentence that explains it."""
        state = str.__new__(cls, word)
        state._value_ = word
        state.sentence = sentence
        return state


_STATES = {state.value: state for state in State}

TOKEN_STATES = (State.REQUESTED, State.RUNNING, State.FINISHED, State.DOWNLOADED, State.VERIFIED)
"""States in which the token can fetch the report."""

RUNNING_STATES = (State.REQUESTED, State.RUNNING)
"""States in which a report probably holds a slot at the service."""


@dataclass(frozen=True, slots=True)
class Row:
    """One report. Times are UTC; `delivered` means that the command that wanted it succeeded."""

    id: int
    service: str
    identity: str
    fingerprint: str
    query: ReportQuery
    state: State
    delivered: bool
    token: str | None
    owner: str | None
    leased_until: datetime | None
    created: datetime
    asked: datetime | None
    looked: datetime | None
    finished: datetime | None
    path: Path | None
    bytes: int | None
    sha256: str | None
    rows: int | None
    proof: str | None
    error: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read a row from a record. ValueError, KeyError or TypeError for a malformed one."""
        times = {"leased_until", "created", "asked", "looked", "finished"}
        values = {each.name: record[each.name] for each in fields(cls)}
        values |= {name: None if values[name] is None else datetime.fromisoformat(values[name]) for name in times}
        values["query"] = ReportQuery.from_wire(json.loads(values["query"]))
        values["state"] = _STATES[values["state"]]
        values["delivered"] = bool(values["delivered"])
        values["path"] = None if values["path"] is None else Path(values["path"])
        return cls(**values)

    @property
    def expires(self) -> datetime:
        """When the service deletes the report, counted from the ask."""
        return (self.asked or self.created) + LIFE

    @property
    def held_until(self) -> datetime:
        """When an ask without an answer stops counting as holding a slot."""
        return self.created + HOLD

    @property
    def answered(self) -> bool:
        """Whether the service's answer doesn't say if it took the ask: a failure, an HTML page."""
        return self.state is State.UNKNOWN and self.looked is not None

    def find_worker(self, now: datetime) -> str | None:
        """Return the live process that works on the row, as `host:pid`; None without one."""
        return owners.describe_owner(self.owner) if self.owner is not None and self.is_alive(now) else None

    def is_range_over(self) -> bool:
        """Whether the range had ended (in UTC days) when the report was asked for."""
        return self.query.end < (self.asked or self.created).date()

    def is_alive(self, now: datetime) -> bool:
        """Whether the row's owner is alive. Any process may take over the rows of dead owners."""
        return self.owner is not None and not owners.is_gone(self.owner, self.leased_until, now)

    def is_in_flight(self, now: datetime, *, reelport: bool) -> bool:
        """Whether the row holds one of its key's slots.

        A lost ask holds no slot at a Reelport service, which answers the same ask with the same report.
        """
        if self.state in RUNNING_STATES:
            return now < self.expires
        if self.state is State.INTENT and self.is_alive(now):
            return True
        return self.state in {State.INTENT, State.UNKNOWN} and not reelport and now < self.held_until


def list_prunable(rows: Iterable[Row], before: datetime, now: datetime) -> tuple[Row, ...]:
    """Return the rows of reports asked for before a moment that nothing needs."""
    return tuple(row for row in rows if (row.asked or row.created) < before and not is_needed(row, now))


def is_needed(row: Row, now: datetime) -> bool:
    """Whether a process works on the row, it holds a slot, or a command can resume it.

    A lost ask counts as holding its slot at any host: the ledger doesn't record which hosts are Reelport services.
    """
    undelivered = row.state in TOKEN_STATES and not row.delivered and now < row.expires
    return undelivered or row.is_alive(now) or row.is_in_flight(now, reelport=False)
