"""A row of the ledger: one report, from the intent to ask for it to the file that was made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from reelport.client.ledger import owners
from reelport.query import ReportQuery

LIFE = timedelta(hours=48)
"""How long a report lives from its ask."""

HOLD = timedelta(hours=2)
"""How long a report may take, and so for how long an ask whose answer was lost may hold a slot."""


class State(StrEnum):
    """Where a report stands as far as this machine knows; in the order in which it gets there."""

    sentence: str

    INTENT = "intent", "Written down before the ask is sent: its answer isn't here yet."
    REQUESTED = "requested", "The service took it and gave its token."
    RUNNING = "running", "A look found it being made."
    FINISHED = "finished", "A look found it made: it can be downloaded."
    DOWNLOADED = "downloaded", "Its file is under its name."
    VERIFIED = "verified", "What the file is known by is written down: bytes, SHA-256, rows."
    FAILED = "failed", "It could not be made."
    EXPIRED = "expired", "The service has it no more."
    UNKNOWN = "unknown", "The answer to its ask was lost: it may have been taken."
    FORGOTTEN = "forgotten", "Left alone by order: it holds no slot and serves nobody."

    def __new__(cls, word: str, sentence: str) -> Self:
        """A state is the word in the file, and knows what it means."""
        state = str.__new__(cls, word)
        state._value_ = word
        state.sentence = sentence
        return state


_STATES = {state.value: state for state in State}

TOKEN_STATES = (State.REQUESTED, State.RUNNING, State.FINISHED, State.DOWNLOADED, State.VERIFIED)
"""States in which a report can be had by its token."""

RUNNING_STATES = (State.REQUESTED, State.RUNNING)
"""States in which a report holds a slot at the service for all we know."""


@dataclass(frozen=True, slots=True)
class Row:
    """One report. Times are UTC; `delivered` says that the command which wanted it ended well."""

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
        """The row that a record of the file is. Raises ValueError, KeyError or TypeError when it is none."""
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
        """Until when an ask without an answer may hold a slot."""
        return self.created + HOLD

    @property
    def answered(self) -> bool:
        """Whether the service answered an ask in a way that doesn't tell whether it was taken: a failure, a page."""
        return self.state is State.UNKNOWN and self.looked is not None

    def worker(self, now: datetime) -> str | None:
        """The process that is at work on it, as `host:pid`, if that lives."""
        return owners.describe_owner(self.owner) if self.owner is not None and self.lives(now) else None

    def over(self) -> bool:
        """Whether its range had ended, by the days of UTC, when it was asked for."""
        return self.query.end < (self.asked or self.created).date()

    def lives(self, now: datetime) -> bool:
        """Whether its owner is there. The rows of dead owners may be taken up by anybody."""
        return self.owner is not None and not owners.is_gone(self.owner, self.leased_until, now)

    def in_flight(self, now: datetime, *, reelport: bool) -> bool:
        """Whether it holds one of its key's slots.

        A Reelport service answers a lost ask with the same report when it is sent again: none is held for it.
        """
        if self.state in RUNNING_STATES:
            return now < self.expires
        if self.state is State.INTENT and self.lives(now):
            return True
        return self.state in {State.INTENT, State.UNKNOWN} and not reelport and now < self.held_until
