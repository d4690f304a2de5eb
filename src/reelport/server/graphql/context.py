"""What the fields of one GraphQL request may use: who asks, when, of which state, and where to tell errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import Engine

from reelport.server.access.callers import Caller
from reelport.server.credentials import ServiceSecret
from reelport.server.graphql.faults import Fault
from reelport.server.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """One request. `base` is what links begin with; `faults` collects what fields were refused for.

    `expiry_now` is the time that expiry goes by.
    It is `repeatable` when it is answered again in a moment where the state was busy.
    `unfinished` collects the public names of the reports that a query has looked at and that are still to be made,
    `complete_days` the last complete days of those that are made.
    """

    db: Engine
    settings: Settings
    service_secret: ServiceSecret
    caller: Caller
    now: datetime
    expiry_now: datetime
    base: str
    repeatable: bool = False
    faults: list[Fault] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)
    complete_days: set[date] = field(default_factory=set)
