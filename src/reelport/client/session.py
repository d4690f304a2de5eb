"""What one client knows and is handed: its settings, its token, a clock and chance."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reelport import check
from reelport.client.config import Settings
from reelport.errors import Problem, QueryRefused
from reelport.query import ReportQuery

_SECRET = 6
"""Shorter texts than this are no secrets, and would blot out half of a sentence."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day (UTC), and seconds that only ever grow."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    seconds: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Grant:
    """A bearer token and the second (of the clock) from which it is to be renewed. It doesn't print the token."""

    token: str = field(repr=False)
    renew_at: float


@dataclass(slots=True)
class Session:
    """One client's settings and its present token. `chance` gives numbers from 0 to below 1."""

    settings: Settings
    clock: Clock = field(default_factory=Clock)
    chance: Callable[[], float] = random.random
    grant: Grant | None = None

    def checked(self, query: ReportQuery) -> tuple[Problem, ...]:
        """The query's warnings. Raises QueryRefused with every problem when one of them is fatal."""
        found = check.problems(query, today=self.clock.now().date(), rules=self.settings.rules)
        if any(problem.fatal for problem in found):
            raise QueryRefused(found)
        return found

    def redacted(self, text: str) -> str:
        """A text from outside without the key or the token in it, and not too long to print."""
        held = [self.settings.key.id, self.settings.key.secret, self.grant.token if self.grant else ""]
        for secret in held:
            text = text.replace(secret, "[redacted]") if len(secret) >= _SECRET else text
        return " ".join(text.split())[:1000]
