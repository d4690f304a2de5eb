"""Fetch a report's file, resuming: reuse report or file, ask anew only when needed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from reelport import killpoints
from reelport.client.events import Asked, Event, Progress
from reelport.client.files.intake import Proof
from reelport.client.flows.ask import acquire_report
from reelport.client.flows.download import Downloaded, download, find_downloaded
from reelport.client.flows.lifecycle import (
    ReportState,
    check_against_host,
    is_worth_a_try,
    look_recorded,
    poll_once,
    wait_recorded,
)
from reelport.client.ledger import Ledger
from reelport.client.ledger_rows import Row, State
from reelport.client.session import Session
from reelport.client.steps import DEADLINE, Flow, work
from reelport.errors import RepeatedRows, ReportExpired, ReportFailed, SchemaDrift, StorageError
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails
from reelport.wire import ReportStatus


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
    window: bool = False,
) -> Flow[Downloaded]:
    """Put the report's file under the target's name, with as few asks as possible.

    Killed at any point and run again, this goes on where it stopped. A report that was asked for and not delivered is
    reused; with `current` a Reelport service is asked whether its numbers have changed since. After delivery, a
    Reelport service is always asked; another host's report is reused until it expires, unless its range was not over
    when it was asked for, or with `fresh`. A report that has expired is asked for anew: once, where it was just asked
    for, as a service may answer with an earlier one. So is an earlier report that has failed, unless it would fail
    again or was cancelled: then only the next call asks for it. A file that is only `part` of the result counts as
    delivered from `mark_delivered` on. A `window` is one of a range.
    """
    began, until = session.clock.now(), session.clock.seconds() + deadline
    yield from check_against_host(session, query, tell)
    asked_anew = False
    while True:
        row = yield from acquire_report(session, query, tell, until, fresh=fresh, current=current, window=window)
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
                state = yield from look_recorded(session, row, row.token or "", tell)
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
    """Return the ledger's row of a report of this key, if any."""
    return (yield from work(partial(session.ledger.find, token, session.settings.identity)))


def mark_delivered(session: Session, parts: Iterable[Path]) -> Flow[None]:
    """Record the reports of these files as delivered, once the result made of the files exists."""
    yield from work(partial(session.ledger.record_delivered_files, session.settings.identity, list(parts)))


def _fetch_file(
    session: Session, row: Row, target: Path, tell: Progress, until: float, *, part: bool, just_asked: bool
) -> Flow[Downloaded]:
    assert row.token is not None  # noqa: S101 - a row that serves has a token
    done = yield from work(partial(_find_existing_file, row, target))
    if done is not None:
        yield from work(partial(session.ledger.record_verified, row, delivered=not part))
        return done
    left = max(0.0, until - session.clock.seconds())
    state = yield from wait_recorded(session, row, row.token, tell, deadline=left, just_asked=just_asked)
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
    row = (yield from work(partial(ledger.get, row.id))) or row
    try:
        done = yield from download(session, state, target, query, tell, asked=row.asked, finished=row.finished)
    except ReportExpired:
        # Perhaps only the link has expired: look at the report.
        yield from poll_once(session, row, tell)
        raise
    except (SchemaDrift, RepeatedRows) as error:
        # The next ask for this query can't use the report either.
        yield from work(partial(ledger.record_end, row, State.FAILED, str(error)))
        raise
    facts = (done.path, done.bytes, done.sha256, done.rows, done.proof)
    yield from work(partial(ledger.record_download, row, *facts, delivered=not part))
    killpoints.reach("client-downloaded")
    return done


def _find_existing_file(row: Row, target: Path) -> Downloaded | None:
    if row.state not in {State.DOWNLOADED, State.VERIFIED} or row.path != target or row.sha256 is None:
        return None
    return find_downloaded(target, row.sha256, Proof(row.proof or Proof.SHAPE))


def _was_asked_since(began: datetime, row: Row) -> bool:
    return row.asked is not None and row.asked >= began


def _release(ledger: Ledger, row: Row) -> None:
    """Release the row's lease, at once: a flow that is being closed may take no further step."""
    with suppress(StorageError):  # The first error says more.
        ledger.release(row)
