"""One window's report on disk: the one that an earlier run left there, or one that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reelport.client.client import Client
from reelport.client.events import Asked, Event, Progress, Reused
from reelport.client.ranges.windows import Window
from reelport.client.sidecar import read
from reelport.errors import SchemaDrift
from reelport.query import ReportQuery
from reelport.sync.spec import Contract, Spec
from reelport.sync.staging import Delivery


@dataclass(slots=True)
class _Listener:
    """Passes a client's events on, and remembers which report they are of and when it was asked for."""

    tell: Progress
    now: datetime
    token: str = ""
    asked: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.asked = self.now

    def __call__(self, event: Event) -> None:
        match event:
            case Asked(token):
                self.token, self.asked = token, datetime.now(UTC)
            case Reused(token, age):
                self.token, self.asked = token, datetime.now(UTC) - timedelta(seconds=age)
        self.tell(event)


def fetch(
    client: Client, spec: Spec, window: Window, folder: Path, tell: Progress, *, deadline: float, fresh: bool
) -> Delivery:
    """The report of a window in that folder. With `fresh` none that was delivered before serves.

    A report whose columns are not those that were asked for is taken as it is, unless the contract is to freeze.
    """
    query = spec.query(window.start, window.end)
    target = folder / f"{spec.name}.{window}.csv"
    service = address(client)
    if (left := _left(target, query, service, spec)) is not None:
        return Delivery(window, target, *left, service)
    listener = _Listener(tell, datetime.now(UTC))
    try:
        client.reports.run(query, target, deadline=deadline, progress=listener, fresh=fresh)
    except SchemaDrift as drift:
        listener.token = drift.token or listener.token
        if spec.contract is Contract.FREEZE or not listener.token:
            raise
        client.reports.attach(listener.token).download(target, progress=listener, any_columns=True)
    token, asked = _noted(target) or (listener.token, listener.asked)
    return Delivery(window, target, token, asked, service)


def discard(delivery: Delivery) -> None:
    """Remove a report's file, and what was noted beside it."""
    for path in (delivery.file, _beside(delivery.file)):
        path.unlink(missing_ok=True)


def sweep(folder: Path, spec: Spec) -> None:
    """Remove the files of windows that were never loaded and are not wanted any more."""
    for path in folder.glob(f"{spec.name}.*.csv*"):
        path.unlink(missing_ok=True)


def address(client: Client) -> str:
    """The service that a client speaks to."""
    return client._session.settings.url  # noqa: SLF001 - the client's settings are its own, and this one is no secret


def _left(target: Path, query: ReportQuery, service: str, spec: Spec) -> tuple[str, datetime] | None:
    """Token and time of the ask of a report that is there whole, where it says all that a new one could.

    It does when it was asked for today, or when all of its days stood still at the time already.
    """
    noted = read(_beside(target))
    found = _noted(target)
    if noted is None or found is None or not target.is_file():
        return None
    same = noted.get("query") == query.to_wire() and noted.get("service") == service
    asked, today = found[1].date(), datetime.now(UTC).date()
    return found if same and (asked == today or query.end <= spec.still(asked)) else None


def _noted(target: Path) -> tuple[str, datetime] | None:
    """Token and time of the ask of a download, as far as both are noted beside it."""
    noted = read(_beside(target))
    if noted is None or not isinstance(noted.get("asked"), str):
        return None
    return str(noted["report"]), datetime.fromisoformat(noted["asked"]).astimezone(UTC)


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
