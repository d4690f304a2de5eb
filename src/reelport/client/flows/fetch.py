"""Get a report, resuming: reuse a report or a file, or take a slot and ask. Loses no token.

`fetch` and `submit` are the two ways. The ledger decides in one transaction what serves (`acquire_report`). While it
cannot decide, the flow waits: for a free slot, or for another process that asks for the same report. The flow also
waits out a refusal that means too many reports (back-pressure).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self

from reelport import killpoints
from reelport.check import scopes_of
from reelport.client.events import Asked, Event, Progress, Queued, Reused
from reelport.client.files.resumable_transfer import Proof
from reelport.client.flows.answers import find_details
from reelport.client.flows.auth import run_operation
from reelport.client.flows.back_pressure import BackPressure, advise_on_days
from reelport.client.flows.download import Downloaded, download, find_downloaded
from reelport.client.flows.lifecycle import (
    ReportState,
    build_ask_policy,
    check_against_host,
    is_worth_a_try,
    look,
    read_ask,
    wait,
)
from reelport.client.flows.pauses import pauses
from reelport.client.flows.retry import RetryPolicy
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Row, State
from reelport.client.ledger_slots import Busy, Claimed, Entry, Full, LostAsk, Reuse, held_until
from reelport.client.session import Session
from reelport.client.settings.config import DEADLINE
from reelport.client.steps import Flow, Wait, work
from reelport.errors import (
    AskLost,
    QueueFull,
    ReelportError,
    RepeatedRows,
    ReportExpired,
    ReportFailed,
    SchemaDrift,
    ServiceError,
    SlotsFull,
    StorageError,
)
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.wire import ASK, ReportStatus


def fetch(
    session: Session,
    query: ReportQuery,
    target: Path,
    tell: Progress,
    *,
    deadline: float = DEADLINE,
    fresh: bool = False,
    current: bool = False,
    part: bool = False,
) -> Flow[Downloaded]:
    """Put the report's file under the target's name, with as few asks as possible.

    Killed at any point and run again, this goes on where it stopped. A report that was asked for and not delivered is
    reused; with `current` a Reelport service is asked whether its numbers have changed since. After delivery, a
    Reelport service is always asked; another host's report is reused until it expires, unless its range was not over
    when it was asked for, or with `fresh`. A report that has expired is asked for anew: once, where it was just asked
    for, as a service may answer with an earlier one. So is an earlier report that has failed, unless it would fail
    again or was cancelled: then only the next call asks for it. A file that is only `part` of the result counts as
    delivered from `mark_delivered` on.
    """
    began, until = session.clock.now(), session.clock.seconds() + deadline
    yield from check_against_host(session, query, tell)
    asked_anew = False
    while True:
        row = yield from acquire_report(session, query, tell, until, fresh=fresh, current=current)
        just_asked = _was_asked_since(began, row)
        try:
            return (yield from _fetch_file(session, row, target, tell, until, part=part, just_asked=just_asked))
        except (ReportExpired, ReportFailed) as error:
            if just_asked and (asked_anew or isinstance(error, ReportFailed)):
                raise
            if isinstance(error, ReportFailed) and not is_worth_a_try(error):
                raise
            found = yield from work(partial(session.ledger.get, row.id))
            if found is not None and found.state not in {State.FAILED, State.EXPIRED}:
                raise  # The service may still have it: only a report that is gone is asked for anew.
            asked_anew = just_asked
        finally:
            _release(session.ledger, row)


def submit(
    session: Session, query: ReportQuery, tell: Progress, *, deadline: float = DEADLINE, fresh: bool = False
) -> Flow[ReportState]:
    """Return the query's report, in progress or downloadable; reuses one where possible."""
    began, until = session.clock.now(), session.clock.seconds() + deadline
    yield from check_against_host(session, query, tell)
    details: ReportDetails | None = None

    def listen(event: Event) -> None:
        nonlocal details
        details = event.details if isinstance(event, Asked) else details
        tell(event)

    while True:
        row = yield from acquire_report(session, query, listen, until, fresh=fresh, whole=True)
        try:
            if _was_asked_since(began, row):
                return ReportState(row.token or "", ReportStatus.IN_PROGRESS, details=details)
            with suppress(ReportExpired):
                state = yield from look(session, row.token or "", tell, row=row)
                if state.status not in {ReportStatus.FAILED, ReportStatus.EXPIRED}:
                    return state
        finally:
            _release(session.ledger, row)


def download_recorded(
    session: Session,
    row: Row | None,
    state: ReportState,
    query: ReportQuery | None,
    target: Path,
    tell: Progress,
    *,
    any_columns: bool = False,
) -> Flow[Downloaded]:
    """Download a report and record it as delivered, where the ledger knows it.

    Checks the columns against the query, or the ledger's query where none is given, unless `any_columns`.
    """
    lenient = any_columns or session.settings.any_columns
    checked = None if lenient else query or (row.query if row else None)
    if row is None:
        return (yield from download(session, state, target, checked, tell))
    return (yield from _download_row(session, row, state, checked, target, tell, part=False))


def recall_row(session: Session, token: str) -> Flow[Row | None]:
    """Return the row of a report of this key, if any, without the owner: looks renew no lease."""
    row = yield from work(partial(session.ledger.find, token, session.settings.identity))
    return row and replace(row, owner=None)


def mark_delivered(session: Session, parts: Iterable[Path]) -> Flow[None]:
    """Record the reports of these files as delivered, once the result made of the files exists."""
    yield from work(partial(session.ledger.record_delivered_files, session.settings.identity, list(parts)))


def _fetch_file(
    session: Session, row: Row, target: Path, tell: Progress, until: float, *, part: bool, just_asked: bool
) -> Flow[Downloaded]:
    assert row.token is not None  # noqa: S101 - a row that serves has a token
    done = yield from work(partial(_find_existing_file, row, target))
    if done is not None:
        if not part:
            yield from work(partial(session.ledger.record_delivered, row))
        return done
    left = max(0.0, until - session.clock.seconds())
    state = yield from wait(session, row.token, tell, row=row, deadline=left, just_asked=just_asked)
    # Files to merge must have the columns that the merge relies on.
    checked = None if session.settings.any_columns and not part else row.query
    return (yield from _download_row(session, row, state, checked, target, tell, part=part))


def _download_row(
    session: Session,
    row: Row,
    state: ReportState,
    query: ReportQuery | None,
    target: Path,
    tell: Progress,
    *,
    part: bool,
) -> Flow[Downloaded]:
    ledger = session.ledger
    row = replace((yield from work(partial(ledger.get, row.id))) or row, owner=row.owner)
    try:
        done = yield from download(session, state, target, query, tell, row)
    except (SchemaDrift, RepeatedRows) as error:
        # The next ask for this query can't use the report either.
        yield from work(partial(ledger.record_end, row, State.FAILED, str(error)))
        raise
    facts = (done.path, done.bytes, done.sha256, done.rows, done.proof)
    yield from work(partial(ledger.record_download, row, *facts, delivered=not part))
    killpoints.reach("client-downloaded")
    return done


def _find_existing_file(row: Row, target: Path) -> Downloaded | None:
    if row.state is not State.VERIFIED or row.path != target or row.sha256 is None:
        return None
    return find_downloaded(target, row.sha256, Proof(row.proof or Proof.SHAPE))


def _was_asked_since(began: datetime, row: Row) -> bool:
    return row.asked is not None and row.asked >= began


def _release(ledger: Ledger, row: Row) -> None:
    """Release the row's lease, at once: a flow that is being closed may take no further step."""
    with suppress(StorageError):  # The first error says more.
        ledger.release(row)


_BRIEF = RetryPolicy(2.0)  # how long a look at a dead process's report is retried: the next look comes soon anyway
_LONGEST = 60.0
_LOCAL = 1.0  # longest pause between two looks into the ledger, in seconds


def acquire_report(
    session: Session,
    query: ReportQuery,
    tell: Progress,
    until: float,
    *,
    fresh: bool = False,
    current: bool = False,
    whole: bool = False,
) -> Flow[Row]:
    """Return a row with a report's token, whose lease this flow or another process holds.

    Asks the service only when no earlier report can serve. Raises AskLost while an earlier ask may have been taken, and
    SlotsFull when no slot came free before second `until` of the session's clock. A `whole` report can't be split into
    windows.
    """
    ledger, question = session.ledger, session.build_question(query, fresh=fresh, current=current)
    slot_pauses, back_pressure = _SlotPauses(session, until), BackPressure(session, query, until)
    while True:
        entry = yield from work(partial(ledger.enter, question))
        match entry:
            case Reuse(row):
                _report_reuse(row, session, tell)
                return row
            case LostAsk(row):
                raise _build_ask_lost(row, "An earlier ask for this very report ended without an answer.")
            case Claimed(_, others) as claimed:
                refusal = yield from _send_ask(session, claimed, query, tell)
                if isinstance(refusal, Row):
                    return refusal
                if not back_pressure.should_wait(refusal, others):
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
        wish = refusal.retry_after if isinstance(refusal, QueueFull) else None
        return self.next_pause(f"The service takes no further report now ({refusal})", _LONGEST, wish or 0.0)

    def next_pause(self, reason: str, longest: float, shortest: float = 0.0) -> float:
        """Return the next pause; `news`: the reason is new or a minute old. SlotsFull in the end."""
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
    """How far an ask has come; any exception in the block, a Ctrl-C too, records what is known."""

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


def _send_ask(session: Session, claimed: Claimed, query: ReportQuery, tell: Progress) -> Flow[Row | ReelportError]:
    row = claimed.row
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
        tell(Asked(ask.token, find_details(reply, ask.token, session.redact), again=ask.token in claimed.tokens))
        killpoints.reach("client-asked")
        row = yield from _record_token(session.ledger, row, ask.token)
        killpoints.reach("client-requested")
        return row


def _record_failure(ledger: Ledger, row: Row, error: ReelportError) -> Flow[ReelportError]:
    """Record how an ask failed; raise its error, or return it where nothing was taken."""
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
    try:
        return (yield from work(partial(ledger.record_token, row, token)))
    except StorageError as error:
        raise StorageError(f"{error} The report was asked for all the same: it is {token}.", token=token) from error


def _look_at_orphans(session: Session, identity: str, tell: Progress) -> Flow[None]:
    """Look at the reports of dead processes: a finished one frees its slot."""
    for row in (yield from work(partial(session.ledger.take_due_orphans, identity))):
        try:
            yield from look(session, row.token or "", tell, _BRIEF, row=row)
        except ServiceError:  # The report has expired; or it isn't ours, and the next round looks at it again.
            continue


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
            workers = ((row, row.find_worker(now)) for row in rows[:4])
            holders = ", ".join(f"job {row.id} ({f'process {by}' if by else row.state})" for row, by in workers)
            more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""  # noqa: PLR2004 - what a line can show
            hint = " (see 'reelport jobs list')" if session.ledger.is_kept else ""
            return f"Waiting for a slot: unfinished reports hold all of them: {holders}{more}{hint}"
        case _:
            return ""


def _build_ask_lost(row: Row, what: str) -> AskLost:
    until = f"{held_until(row):%Y-%m-%d %H:%M} UTC"
    return AskLost(f"{what} The service may be making the report: until {until} it counts as one in flight and isn't "
                   "asked for again; after that the same command asks anew. To ask again at once, at the price of a "
                   "second report if the first was taken: --again (client.with_options(again=True)). If you know that "
                   f"it was not taken: reelport jobs forget {row.id}")  # fmt: skip
