"""Look at a report or wait for it, and record its status in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from reelport import killpoints
from reelport.client.events import Event, Looked, Progress
from reelport.client.flows.lifecycle import ReportState, look, wait
from reelport.client.flows.retry import DEFAULT_POLICY, RetryPolicy
from reelport.client.ledger import Ledger, Row, State
from reelport.client.session import Session
from reelport.client.steps import Flow, Send, Step, T, Wait, Work, work
from reelport.errors import ReelportError, ReportExpired, ReportFailed
from reelport.wire import ReportStatus

_SIGN_OF_LIFE = 60.0
"""Seconds after which a wait renews its lease on a row (heartbeat)."""


def poll_once(session: Session, row: Row, tell: Progress, policy: RetryPolicy = DEFAULT_POLICY) -> Flow[Row]:
    """Look at a row's report once and return the updated row, also when the report has expired."""
    with suppress(ReportExpired):
        yield from look_recorded(session, row, row.token or "", tell, policy)
    return (yield from work(partial(session.ledger.get, row.id))) or row


def look_recorded(
    session: Session, row: Row | None, token: str, tell: Progress, policy: RetryPolicy = DEFAULT_POLICY
) -> Flow[ReportState]:
    """Look at a report; record its status. Raises ReportExpired when the service has none such."""
    try:
        state = yield from look(session, token, tell, policy)
    except ReportExpired as error:
        if row is not None:
            yield from work(partial(session.ledger.record_end, row, State.EXPIRED, str(error)))
        raise
    if row is not None:
        yield from work(partial(_record_status, session.ledger, row, state))
    return state


def wait_recorded(
    session: Session, row: Row | None, token: str, tell: Progress, *, deadline: float, just_asked: bool = False
) -> Flow[ReportState]:
    """Wait until the report can be downloaded; keep its status in the ledger current."""
    ledger = session.ledger
    if row is None:
        return (yield from wait(session, token, tell, deadline=deadline))
    writer = _StatusWriter(ledger, row, session.clock.seconds, tell)
    try:
        state = yield from _write_between(
            wait(session, token, writer, deadline=deadline, just_asked=just_asked), writer
        )
    except ReportFailed as error:
        yield from work(partial(ledger.record_end, row, State.FAILED, str(error)))
        raise
    except ReportExpired as error:
        yield from work(partial(ledger.record_end, row, State.EXPIRED, str(error)))
        raise
    yield from work(partial(ledger.record_status, row, State.FINISHED))
    killpoints.reach("client-finished")
    return state


class _StatusWriter:
    """A listener of a wait that knows when the row's status and lease must be written."""

    def __init__(self, ledger: Ledger, row: Row, seconds: Callable[[], float], tell: Progress) -> None:
        self._ledger = ledger
        self._row = row
        self._seconds = seconds
        self._tell = tell
        self._running = False
        self._written_at: float | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Looked) and event.next_look is not None:
            self._running = True
        self._tell(event)

    @property
    def is_due(self) -> bool:
        """Whether the ledger doesn't know yet that the report runs, or its lease is a minute old."""
        old = self._written_at is None or self._seconds() - self._written_at >= _SIGN_OF_LIFE
        return self._running and old

    def write(self) -> None:
        """Record that the report is running and renew the lease of this wait."""
        self._ledger.record_status(self._row, State.RUNNING)
        self._written_at = self._seconds()
        killpoints.reach("client-running")


def _write_between(inner: Flow[T], writer: _StatusWriter) -> Flow[T]:
    """Run a flow, and write the due status before each of its steps that take time."""
    step: Callable[[], Step] = partial(next, inner)
    try:
        while True:
            wanted = step()
            if isinstance(wanted, Wait | Send) and writer.is_due:
                yield Work(writer.write)
            try:
                step = partial(inner.send, (yield wanted))
            except ReelportError as error:
                step = partial(inner.throw, error)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's result has its flow's type
    finally:
        inner.close()


def _record_status(ledger: Ledger, row: Row, state: ReportState) -> None:
    match state.status:
        case ReportStatus.FAILED:
            ledger.record_end(row, State.FAILED, "It failed on the service's side.")
        case ReportStatus.EXPIRED:
            ledger.record_end(row, State.EXPIRED, "The service has it no more.")
        case ReportStatus.FINISHED:
            ledger.record_status(row, State.FINISHED)
        case _:
            ledger.record_status(row, State.RUNNING)
