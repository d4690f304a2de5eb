"""Download a window's report with few asks. It is delivered once it is loaded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from reelport.client.events import Asked, Event, Progress, Reused
from reelport.client.files.sidecar import name_sidecar, read_sidecar
from reelport.client.flows import fetch
from reelport.client.flows.download import look_up_links
from reelport.client.ranges.windows import Window
from reelport.client.session import Session
from reelport.client.steps import Flow, work
from reelport.errors import SchemaDrift, UsageError
from reelport.sync.spec import Spec
from reelport.sync.staging import Delivery


@dataclass(slots=True)
class _Listener:
    """Passes a client's events on, and remembers the report's token and when it was asked for."""

    tell: Progress
    asked: datetime
    token: str = ""

    def __call__(self, event: Event) -> None:
        match event:
            case Asked(token):
                self.token, self.asked = token, datetime.now(UTC)
            case Reused(token, age):
                self.token, self.asked = token, datetime.now(UTC) - timedelta(seconds=age)
        self.tell(event)


def fetch_window(
    session: Session, spec: Spec, window: Window, folder: Path, tell: Progress, *, deadline: float, fresh: bool
) -> Flow[Delivery]:
    """Download a window's report into that folder; `fresh` reuses no earlier one.

    The report stays undelivered, and serves the next run that asks for the same, until `mark_loaded`. A Reelport
    service is asked even so, and gives another one where the days have changed since. A report with other columns than
    asked for is taken all the same: the spec's contract judges them by name.
    """
    query = spec.query(window.start, window.end)
    target = folder.resolve() / f"{spec.name}.{window}.csv"
    listener = _Listener(tell, datetime.now(UTC))
    try:
        got = yield from fetch.fetch(
            session, query, target, listener, deadline=deadline, fresh=fresh, current=True, part=True
        )
    except SchemaDrift as drift:
        listener.token = drift.token or listener.token
        if not listener.token:
            raise
        row = yield from fetch.recall_row(session, listener.token)
        state = yield from look_up_links(session, listener.token, listener)
        got = yield from fetch.download_recorded(session, row, state, None, target, listener, any_columns=True)
    token, asked = _read_sidecar(target) or (listener.token, listener.asked)
    return Delivery(window, target, token, asked, session.settings.url, got.last_complete_day)


def mark_loaded(session: Session, delivery: Delivery) -> Flow[None]:
    """Mark a loaded report as delivered, so that the next ask is new; remove its file."""
    yield from fetch.mark_delivered(session, [delivery.file])
    _remove_files(delivery.file)


def discard_report(session: Session, delivery: Delivery) -> Flow[None]:
    """Forget a report that can't be loaded, so that the next ask is new, and its file."""
    yield from _forget_report(session, delivery.token)
    _remove_files(delivery.file)


def remove_leftovers(folder: Path, spec: Spec) -> None:
    """Remove downloaded files of windows that were never loaded and are not wanted any more."""
    for path in folder.glob(f"{spec.name}.*.csv*"):
        path.unlink(missing_ok=True)


def _forget_report(session: Session, token: str) -> Flow[None]:
    """Forget the report in the ledger, unless another process works on it."""
    row = yield from fetch.recall_row(session, token)
    if row is not None:
        with suppress(UsageError):
            yield from work(partial(session.ledger.forget, row))


def _remove_files(file: Path) -> None:
    for path in (file, name_sidecar(file)):
        path.unlink(missing_ok=True)


def _read_sidecar(target: Path) -> tuple[str, datetime] | None:
    """Read the report's token and time of its ask from the sidecar; None without both."""
    noted = read_sidecar(name_sidecar(target))
    if noted is None or not isinstance(noted.get("asked"), str):
        return None
    return str(noted["report"]), datetime.fromisoformat(noted["asked"]).astimezone(UTC)
