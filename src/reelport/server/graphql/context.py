"""The context of a GraphQL request: caller, time, database, and collected errors."""

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
    """The context of one request. `base` is the beginning of download links.

    `repeatable`: the request is retried when the database was busy.
    Resolvers add to the last four: `faults` are the errors of refused fields, `unfinished` and `finished` the public
    ids of such reports that the answer tells of, `complete_days` the last complete days of finished ones.
    """

    db: Engine
    settings: Settings
    service_secret: ServiceSecret
    caller: Caller
    now: datetime
    base: str
    repeatable: bool = False
    faults: list[Fault] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    complete_days: set[date] = field(default_factory=set)
