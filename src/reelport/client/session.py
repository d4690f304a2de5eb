"""What one client knows and is handed: its settings, its token, whom it speaks to, a clock and chance."""

from __future__ import annotations

import html
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

from reelport import check
from reelport.catalog import Limit
from reelport.check import Rules
from reelport.client.ledger import Ledger
from reelport.client.settings.config import Settings
from reelport.client.steps import Reply
from reelport.errors import Problem, QueryRefused, ReelportError, UsageError
from reelport.query import ReportQuery
from reelport.wire import VERSION_HEADER

_SECRET = 6
"""Shorter texts than this are no secrets, and would blot out half of a sentence."""

_REMEMBERED = 8
"""Tokens that are kept out of what is printed after they were renewed."""

_VERSION = VERSION_HEADER.lower()


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day (UTC), and seconds that only ever grow."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    seconds: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Grant:
    """A bearer token, the second (of the clock) from which it is to be renewed, and what it may be renewed with.

    `scopes` are those that it was granted, None where the service doesn't say.
    """

    token: str = field(repr=False)
    renew_at: float
    refresh: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] | None = None


@dataclass(slots=True)
class Access:
    """What is learned of a service while it is spoken to: sessions of one client share it.

    `tries` counts how often a token was asked for, and `failure` is what the last of these tries ended in. `days` is
    the most that one report may cover as the service said, now or, once it is `recalled`, to an earlier process.
    `given` are the last tokens that were had: an answer to an earlier one may still tell it.
    """

    grant: Grant | None = None
    reelport: bool | None = None
    tries: int = 0
    failure: ReelportError | None = None
    days: int | None = None
    recalled: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    given: tuple[str, ...] = field(default=(), repr=False)

    def renew(self, grant: Grant) -> None:
        """Take a new grant in the place of the present one."""
        self.grant = grant
        had = (grant.token, *([grant.refresh] if grant.refresh else ()))
        # A new tuple, for other threads may be reading the present one.
        self.given = (*self.given, *had)[-_REMEMBERED:]


@dataclass(slots=True)
class Session:
    """One client's settings, its present access and its memory. `chance` gives numbers from 0 to below 1.

    Without a ledger nothing is remembered from one process to the next.
    """

    settings: Settings
    clock: Clock = field(default_factory=Clock)
    chance: Callable[[], float] = random.random
    access: Access = field(default_factory=Access)
    ledger: Ledger | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.settings, Settings):
            raise UsageError(
                f"Settings are reelport.client.settings.config.Settings, and not {repr(self.settings)[:80]}."
            )
        if self.settings.vendor:
            self.access.reelport = False

    @property
    def grant(self) -> Grant | None:
        """The present token."""
        return self.access.grant

    @property
    def reelport(self) -> bool | None:
        """Whether a Reelport service is spoken to; None as long as it has not been heard."""
        return self.access.reelport

    @property
    def slots(self) -> int:
        """How many reports of this key may be in flight at a time."""
        return self.settings.slots

    @property
    def windows(self) -> int:
        """How many days one report may cover: as set, else what the service was found to take, else 180."""
        return self.settings.windows or self.access.days or Limit.RANGE_DAYS.default

    @property
    def rules(self) -> Rules:
        """What a query is held to before it is sent: all rules only where a Reelport service was heard."""
        return Rules(days=self.windows, strict=self.reelport is True)

    def heard(self, reply: Reply) -> None:
        """Learn from a reply that a Reelport service spoke. One without its header may be a gateway's."""
        if _VERSION in reply.headers and not self.settings.vendor:
            self.access.reelport = True

    def met(self) -> None:
        """Conclude, once a Reporting API has truly answered, that it is another vendor's unless it said otherwise."""
        if self.access.reelport is None:
            self.access.reelport = False

    def recall(self) -> None:
        """Read once what an earlier process learned of the service's address. Raises StorageError."""
        if self.ledger is not None and not self.access.recalled:
            found = self.ledger.find_day_limit(self.settings.url)
            with self.access.turn:
                self.access.recalled, self.access.days = True, self.access.days or found

    def learn(self, days: int) -> bool:
        """Take it that one report covers so many days at most, and tell whether that is news."""
        with self.access.turn:
            news = self.access.days is None or days < self.access.days
            self.access.days = days if news else self.access.days
        return news

    def checked(self, query: ReportQuery) -> tuple[Problem, ...]:
        """The query's warnings. Raises QueryRefused with every problem when one of them is fatal."""
        refuse_what_is_no_query(query)
        found = check.problems(query, today=self.clock.now().date(), rules=self.rules)
        if any(problem.fatal for problem in found):
            raise QueryRefused(found)
        return found

    def redacted(self, text: str) -> str:
        """A text from outside as it can be printed: not too long, and with no secret, token or control character."""
        grant = self.grant
        present = (grant.token, grant.refresh or "") if grant else ()
        held = [*self.settings.key.secrets, *present, *self.access.given]
        spelled = {word for secret in held if len(secret) >= _SECRET for word in _spellings(secret)}
        for word in sorted(spelled, key=len, reverse=True):
            text = text.replace(word, "[redacted]")
        return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split())[:1000])

    def with_settings(self, settings: Settings) -> Session:
        """A session that speaks with other settings to the same service, and shares what is learned of it."""
        return replace(self, settings=settings)


def _spellings(secret: str) -> tuple[str, ...]:
    """A secret as it may be echoed: plain, in an address, in a form, in HTML."""
    return secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)


def refuse_what_is_no_query(value: object) -> None:
    """Raise UsageError for a value that is no ReportQuery."""
    if not isinstance(value, ReportQuery):
        raise UsageError(f"A query is a ReportQuery, made by ReportQuery.of(…), and not {repr(value)[:80]}.")
