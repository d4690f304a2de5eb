"""Get a report token: reuse an earlier report, or take a slot and ask. Loses no token.

The ledger decides in one transaction. Where it can't decide, the flow waits: for a free slot, or for another
process that is asking for the same report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Self

from reelport import killpoints
from reelport.check import scopes_of
from reelport.client.events import Asked, Progress, Queued, Reused
from reelport.client.flows.back_pressure import BackPressure, advise_on_days, learn_limit
from reelport.client.flows.follow import poll_once
from reelport.client.flows.lifecycle import build_ask_policy, read_ask
from reelport.client.flows.operation import run_operation
from reelport.client.flows.retry import RetryPolicy, pauses
from reelport.client.ledger import Busy, Claimed, Entry, Full, Ledger, LostAsk, Reuse, Row
from reelport.client.session import Session
from reelport.client.steps import Flow, Wait, work
from reelport.errors import AskLost, QueueFull, ReelportError, ServiceError, SlotsFull, StorageError
from reelport.query import ReportQuery
from reelport.wire import ASK

_BRIEF = RetryPolicy(2.0)
"""How long a look at a dead process's report is retried: the next look comes soon anyway."""

_LONGEST = 60.0
_LOCAL = 1.0
"""Longest pause between two looks into the ledger, in seconds."""


def acquire_report(
    session: Session,
    query: ReportQuery,
    tell: Progress,
    until: float,
    *,
    fresh: bool = False,
    current: bool = False,
    window: bool = False,
    whole: bool = False,
) -> Flow[Row]:
    """Return a row with a report's token, whose lease this flow or another process holds.

    Asks the service only when no earlier report can serve. Raises AskLost while an earlier ask may or may not have
    been taken, and SlotsFull when no slot came free before second `until` of the session's clock. A `window` of a
    range waits longer for slots that somebody else may hold; a `whole` report can't be split into windows. Where the
    service refuses the query and says that it takes fewer days, the limit is remembered.
    """
    ledger, question = session.ledger, session.build_question(query, fresh=fresh, current=current)
    slot_pauses, back_pressure = _SlotPauses(session, until), BackPressure(session, query, until, window=window)
    while True:
        entry = yield from work(partial(ledger.enter, question))
        match entry:
            case Reuse(row):
                _report_reuse(row, session, tell)
                return row
            case LostAsk(row):
                raise _build_ask_lost(row, "An earlier ask for this very report ended without an answer.")
            case Claimed(row, others):
                refusal = yield from _send_ask(session, row, query, tell)
                if isinstance(refusal, Row):
                    return refusal
                taken = yield from work(partial(ledger.count_taken_since, question.identity, back_pressure.since))
                took_similar = partial(ledger.has_taken_similar, question.identity, query)
                if not (yield from work(partial(back_pressure.should_wait, refusal, others, taken, took_similar))):
                    yield from learn_limit(session, query, refusal, tell)
                    raise advise_on_days(session, query, refusal, whole=whole) from refusal.__cause__
                seconds = slot_pauses.after_refusal(advise_on_days(session, query, refusal))
            case Busy() | Full():
                seconds = slot_pauses.next_pause(_describe_wait(entry, session), _LOCAL)
        if slot_pauses.news:
            tell(Queued(slot_pauses.reason, seconds))
        yield from _look_at_orphans(session, question.identity, tell)
        yield Wait(seconds)


class _SlotPauses:
    """Pauses between tries to get a slot: short for the ledger, with backoff for the service."""

    def __init__(self, session: Session, until: float) -> None:
        self._seconds = session.clock.seconds
        self._until = until
        self._pauses: Iterator[float] = pauses(session.chance)
        self._told_at = -math.inf
        self.reason = ""
        self.news = False

    def after_refusal(self, refusal: ReelportError) -> float:
        """Return the pause after a refusal by the service: its own wish, or the next growing pause."""
        wish = refusal.retry_after if isinstance(refusal, QueueFull) else None
        return self.next_pause(f"The service takes no further report now ({refusal})", _LONGEST, wish or 0.0)

    def next_pause(self, reason: str, longest: float, shortest: float = 0.0) -> float:
        """Return the next pause, and set `news` when the reason changed or a minute has passed.

        Raises SlotsFull when time is up.
        """
        now = self._seconds()
        left = self._until - now
        if left <= 0:
            raise SlotsFull(f"{reason}, and the time to wait is over. Nothing was asked for: run the same again later.")
        self.news = reason != self.reason or now - self._told_at >= _LONGEST
        if self.news:
            self.reason, self._told_at = reason, now
        return min(max(min(next(self._pauses), longest), shortest), left)


@dataclass(slots=True)
class _Ask:
    """How far an ask has come; an exception in the block records what is known.

    A Ctrl-C does so too, and a failing listener.
    """

    ledger: Ledger
    row: Row
    begun: bool = False
    token: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        with suppress(StorageError):  # The first error says more.
            if not self.begun:
                self.ledger.drop(self.row)
            if self.token is not None:
                self.ledger.record_token(self.row, self.token)
            self.ledger.release(self.row)


def _send_ask(session: Session, row: Row, query: ReportQuery, tell: Progress) -> Flow[Row | ReelportError]:
    """Ask for the report; return the row with its token, or the error that nothing was taken."""
    variables, policy, scopes = {"input": query.to_wire()}, build_ask_policy(session), scopes_of(query)
    with _Ask(session.ledger, row) as ask:
        yield Wait(0)  # A flow that is stopped here has surely asked for nothing.
        ask.begun = True
        killpoints.reach("client-intent")
        try:
            reply = yield from run_operation(session, ASK, variables, tell, policy, scopes=scopes)
            ask.token = read_ask(session, reply)
        except ReelportError as error:
            return (yield from _record_failure(session.ledger, row, error))
        tell(Asked(ask.token))
        killpoints.reach("client-asked")
        row = yield from _record_token(session.ledger, row, ask.token)
        killpoints.reach("client-requested")
        return row


def _record_failure(ledger: Ledger, row: Row, error: ReelportError) -> Flow[ReelportError]:
    """Record how an ask failed, and raise its error.

    Returns the error instead where the service surely took nothing.
    """
    if isinstance(error, AskLost):
        yield from work(partial(ledger.record_lost, row, str(error), answered=error.answered))
        if not ledger.is_kept:
            raise error
        raise _build_ask_lost(row, str(error.__cause__ or error)) from error
    if error.token is not None:
        yield from work(partial(ledger.record_token, row, error.token))
        raise error
    yield from work(partial(ledger.drop, row))
    return error


def _record_token(ledger: Ledger, row: Row, token: str) -> Flow[Row]:
    """Write the token into the row at once and return the row."""
    try:
        return (yield from work(partial(ledger.record_token, row, token)))
    except StorageError as error:
        raise StorageError(f"{error} The report was asked for all the same: it is {token}.", token=token) from error


def _look_at_orphans(session: Session, identity: str, tell: Progress) -> Flow[None]:
    """Look at the reports of dead processes: a finished one frees its slot."""
    for row in (yield from work(partial(session.ledger.take_due_orphans, identity))):
        try:
            yield from poll_once(session, row, tell, _BRIEF)
        except ServiceError:
            continue  # The report isn't ours, and the next round looks at it again.


def _report_reuse(row: Row, session: Session, tell: Progress) -> None:
    age: timedelta = session.clock.now() - (row.asked or row.created)
    try:
        tell(Reused(row.token or "", max(0.0, age.total_seconds())))
    except BaseException:  # a failing listener must not leave us holding the row's lease; raise it again
        session.ledger.release(row)
        raise


def _describe_wait(entry: Entry, session: Session) -> str:
    now = session.clock.now()
    match entry:
        case Busy(row):
            return f"{row.find_worker(now) or 'Another process'} is asking for the same report"
        case Full(rows):
            holders = ", ".join(f"{row.id} ({row.find_worker(now) or row.state})" for row in rows[:4])
            more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""  # noqa: PLR2004 - what a line can show
            hint = " (see 'reelport jobs list')" if session.ledger.is_kept else ""
            return f"Waiting for a slot: {holders}{more} in flight{hint}"
        case _:
            return ""


def _build_ask_lost(row: Row, what: str) -> AskLost:
    until = f"{row.held_until:%Y-%m-%d %H:%M} UTC"
    return AskLost(f"{what} The service may be making the report: until {until} it counts as one in flight and isn't "
                   "asked for again; after that the same command asks anew. To ask again at once, at the price of a "
                   "second report if the first was taken: --again (client.with_options(again=True)). If you know that "
                   f"it was not taken: reelport jobs forget {row.id}")  # fmt: skip
