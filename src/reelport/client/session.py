"""A client's session: settings, access token, the host's kind, clock and chance."""

from __future__ import annotations

import html
import random
import threading
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote, quote_plus

from reelport import check
from reelport.catalog import Limit
from reelport.check import Rules
from reelport.client.ledger import Ledger
from reelport.client.ledger_slots import Question
from reelport.client.settings.config import Settings
from reelport.client.steps import Reply
from reelport.errors import Problem, QueryRefused, ReelportError, UsageError
from reelport.query import ReportQuery
from reelport.wire import VERSION_HEADER, Code

_SECRET = 6  # shortest secret to redact: shorter texts are no secrets, and redacting them would garble sentences
_REMEMBERED = 8  # number of latest tokens to keep redacting after their renewal
_VERSION = VERSION_HEADER.lower()


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day (UTC), and seconds that only ever grow."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    seconds: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Grant:
    """An access token, the clock's second to renew it, refresh token and scopes, if known."""

    token: str = field(repr=False)
    renew_at: float
    refresh: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] | None = None


@dataclass(slots=True)
class Access:
    """What the client learns of a service; all sessions of one client share it.

    `tries` counts requests for a token, and `failure` is the error of the last one. A flow holds `turn` while it
    renews the token. `given` are the latest tokens: a reply to a request with an older one may still repeat it.
    `key_expires` is what the caller heard last.
    """

    grant: Grant | None = None
    key_expires: datetime | None = None
    reelport: bool | None = None
    tries: int = 0
    failure: ReelportError | None = None
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    given: tuple[str, ...] = field(default=(), repr=False)

    def replace_grant(self, grant: Grant) -> None:
        """Replace the present grant."""
        self.grant = grant
        tokens = (grant.token, *([grant.refresh] if grant.refresh else ()))
        # Make a new tuple, because other threads may be reading the present one.
        self.given = (*self.given, *tokens)[-_REMEMBERED:]


@dataclass(slots=True)
class Session:
    """A client's settings, access and ledger. `chance` gives numbers from 0 to below 1."""

    settings: Settings
    clock: Clock = field(default_factory=Clock)
    chance: Callable[[], float] = random.random
    access: Access = field(default_factory=Access)
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        if not isinstance(self.settings, Settings):
            raise UsageError(
                f"Settings are reelport.client.settings.config.Settings, and not {repr(self.settings)[:80]}."
            )
        if self.settings.is_dailymotion:
            self.access.reelport = False

    @property
    def reelport(self) -> bool | None:
        """Whether the host is a Reelport service; None until it has answered."""
        return self.access.reelport

    @property
    def windows(self) -> int:
        """How many days one report may cover: as set, else 180."""
        return self.settings.windows or Limit.RANGE_DAYS.default

    @property
    def rules(self) -> Rules:
        """The rules to check a query by before it is sent: all of them only for a Reelport service."""
        return Rules(days=self.windows, strict=self.reelport is True)

    def note_host(self, reply: Reply) -> None:
        """Learn from a reply's header that this is a Reelport. One without may be a gateway's."""
        if _VERSION in reply.headers and not self.settings.is_dailymotion:
            self.access.reelport = True

    def note_other_vendor(self) -> None:
        """After an answer: take the host for another vendor's unless it said otherwise."""
        if self.access.reelport is None:
            self.access.reelport = False

    def build_question(self, query: ReportQuery, *, fresh: bool = False, current: bool = False) -> Question:
        """Build the ledger's question: query, key, host's kind, slots, whether to reuse reports."""
        settings = self.settings
        key, reelport, again = settings.identity, self.reelport is True, settings.again
        return Question(settings.url, key, query, reelport, settings.slots, fresh, again, current)

    def check_query(self, query: ReportQuery) -> tuple[Problem, ...]:
        """Check a query; return its warnings. Raises QueryRefused with all when one is fatal."""
        require_query(query)
        found = check.problems(query, today=self.clock.now().date(), rules=self.rules)
        if any(problem.fatal for problem in found):
            raise QueryRefused(tuple(map(_name_run_range, found)))
        return found

    def redact(self, text: str) -> str:
        """Make a text from outside printable: no secrets, tokens or controls; at most 1000 signs."""
        grant = self.access.grant
        present = (grant.token, grant.refresh or "") if grant else ()
        held = [*astuple(self.settings.key), *present, *self.access.given]
        # A service may echo a secret plain, in an address, in a form, in HTML.
        spelling = (str, partial(quote, safe=""), quote, quote_plus, html.escape)
        spelled = {spell(secret) for secret in held if len(secret) >= _SECRET for spell in spelling}
        for word in sorted(spelled, key=len, reverse=True):
            text = text.replace(word, "[redacted]")
        return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split())[:1000])

    def with_settings(self, settings: Settings) -> Session:
        """Return a session with other settings; it shares what is learned of the service."""
        return replace(self, settings=settings)


def _name_run_range(problem: Problem) -> Problem:
    """Say of a range that is too long for one report what gets it in several."""
    if problem.code != Code.RANGE_TOO_LONG:
        return problem
    sentence = f"{problem.sentence} Or get the whole range in windows: `reports.run_range`, `reelport report run`."
    return replace(problem, sentence=sentence)


def require_query(value: object) -> None:
    """Raise UsageError for a value that is no ReportQuery."""
    if not isinstance(value, ReportQuery):
        raise UsageError(f"A query is a ReportQuery, made by ReportQuery.of(…), and not {repr(value)[:80]}.")
