"""One window's report on disk, in as few asks as can be: it counts as delivered once it is in its copy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from reelport.client.events import Asked, Event, Progress, Reused
from reelport.client.files.sidecar import read_sidecar
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
    """Passes a client's events on, and remembers which report they are of and when it was asked for."""

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


def fetched(
    session: Session, spec: Spec, window: Window, folder: Path, tell: Progress, *, deadline: float, fresh: bool
) -> Flow[Delivery]:
    """The report of a window in that folder. With `fresh` none that was loaded before serves.

    It stays undelivered, and serves whoever asks for the same again, until it is `done`. A report whose columns
    are not those that were asked for is taken as it is: the spec's contract judges them by name.
    """
    query = spec.query(window.start, window.end)
    target = folder.resolve() / f"{spec.name}.{window}.csv"
    heard = _Listener(tell, datetime.now(UTC))
    try:
        got = yield from fetch.fetch(session, query, target, heard, deadline=deadline, fresh=fresh, part=True)
    except SchemaDrift as drift:
        heard.token = drift.token or heard.token
        if not heard.token:
            raise
        row = yield from fetch.recall_row(session, heard.token)
        state = yield from look_up_links(session, heard.token, heard)
        got = yield from fetch.download_recorded(session, row, state, None, target, heard, any_columns=True)
    token, asked = _noted(target) or (heard.token, heard.asked)
    return Delivery(window, target, token, asked, session.settings.url, got.last_complete_day)


def done(session: Session, delivery: Delivery) -> Flow[None]:
    """It is where it was meant to go: whoever asks again gets another, and its file goes."""
    yield from fetch.mark_delivered(session, [delivery.file])
    _remove(delivery.file)


def dismissed(session: Session, delivery: Delivery) -> Flow[None]:
    """It can't be loaded as it is: a better one may be had, and this one must not stand in its way."""
    yield from _forgotten(session, delivery.token)
    _remove(delivery.file)


def sweep(folder: Path, spec: Spec) -> None:
    """Remove the files of windows that were never loaded and are not wanted any more."""
    for path in folder.glob(f"{spec.name}.*.csv*"):
        path.unlink(missing_ok=True)


def _forgotten(session: Session, token: str) -> Flow[None]:
    """The report serves nobody any more, unless another process works on it."""
    row = yield from fetch.recall_row(session, token)
    if row is not None and session.ledger is not None:
        with suppress(UsageError):
            yield from work(partial(session.ledger.forget, row))


def _remove(file: Path) -> None:
    for path in (file, _beside(file)):
        path.unlink(missing_ok=True)


def _noted(target: Path) -> tuple[str, datetime] | None:
    """Token and time of the ask of a download, as far as both are noted beside it."""
    noted = read_sidecar(_beside(target))
    if noted is None or not isinstance(noted.get("asked"), str):
        return None
    return str(noted["report"]), datetime.fromisoformat(noted["asked"]).astimezone(UTC)


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
