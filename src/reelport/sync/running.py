"""Bring copies up to date: read what is lacking, window by window, and replace each as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path

from reelport.client.client import Client
from reelport.client.flow import DEADLINE
from reelport.client.ranges.windows import Window
from reelport.errors import (
    IncompleteDownload,
    Partial,
    ReelportError,
    ReportExpired,
    ReportFailed,
    SchemaDrift,
    UsageError,
    WindowEmptied,
)
from reelport.steps import reach
from reelport.sync.days import Days
from reelport.sync.destinations import open_copies
from reelport.sync.events import Began, Failed, Loaded, Planned, Tell
from reelport.sync.fetching import address, discard, fetch, sweep
from reelport.sync.lock import locked
from reelport.sync.planning import lacking, wanted, windows
from reelport.sync.spec import Spec

_OF_ONE_WINDOW = (ReportFailed, ReportExpired, IncompleteDownload, SchemaDrift, WindowEmptied)
"""What goes wrong with one window and says nothing of the next."""


def run(
    specs: Iterable[Spec],
    client: Client,
    *,
    tell: Tell,
    deadline: float = DEADLINE,
    allow_empty: bool = False,
    again: bool = False,
    today: date | None = None,
) -> tuple[Loaded, ...]:
    """Bring the copies of these specs up to date, and say what was loaded. `deadline` is for one report, in seconds.

    A window that can't be had leaves its copy as it was, and the others go on; Partial is raised in the end, or
    where nothing at all was loaded the window's own error. With `again` every day is read, the verified ones too.
    UsageError while another sync has one of the destinations, or when one holds rows of another service.
    """
    specs = tuple(specs)
    with ExitStack() as stack:
        folders = {place: stack.enter_context(locked(place)) for place in dict.fromkeys(spec.place for spec in specs)}
        jobs = [_Job(spec, client, folders[spec.place], tell, again=again) for spec in specs]
        refuse_strangers(specs, client, again=again)
        for job in jobs:
            job.run(today or datetime.now(UTC).date(), deadline, allow_empty=allow_empty)
    loaded = tuple(one for job in jobs for one in job.loaded)
    errors = [error for job in jobs for error in job.errors]
    if errors and not loaded:
        raise errors[0]
    if errors:
        reasons = "\n".join(dict.fromkeys(str(error) for error in errors))
        raise Partial(f"Windows loaded: {len(loaded)}; not loaded: {len(errors)}. Run it again for these.\n{reasons}")
    return loaded


def refuse_strangers(specs: Iterable[Spec], client: Client, *, again: bool = False) -> None:
    """Raise UsageError for each copy whose rows are another service's, unless all of them are read again."""
    here = address(client)
    held = {spec: open_copies(spec.place).state(spec).service for spec in specs}
    wrong = [
        f"{spec.name}: {spec.place} holds rows from {service}, and this is {here}. Name another destination, "
        "or read every day again, from here, with --again."
        for spec, service in held.items()
        if service and service != here and not again
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


class _Job:
    """One spec's run."""

    def __init__(self, spec: Spec, client: Client, folder: Path, tell: Tell, *, again: bool) -> None:
        self._spec = spec
        self._client = client
        self._folder = folder
        self._tell = tell
        self._again = again
        self._copies = open_copies(spec.place)
        self.loaded: list[Loaded] = []
        self.errors: list[ReelportError] = []

    def run(self, today: date, deadline: float, *, allow_empty: bool) -> None:
        """Read what is lacking on this day."""
        state, service = self._copies.state(self._spec), address(self._client)
        days = wanted(self._spec, today) if self._again else lacking(self._spec, state, service, today)
        todo = windows(self._spec, days)
        self._tell(Planned(self._spec.name, todo))
        reach("sync-planned")
        for number, window in enumerate(todo, start=1):
            self._tell(Began(self._spec.name, window, number, len(todo)))
            # What was read before is read again for what has changed: a report of then can't tell.
            fresh = self._again or bool(state.present & Days.between(window.start, window.end))
            try:
                self._one(window, deadline, fresh=fresh, allow_empty=allow_empty)
            except _OF_ONE_WINDOW as error:
                self.errors.append(error)
                self._tell(Failed(self._spec.name, window, str(error)))
        if not self.errors:
            sweep(self._folder, self._spec)

    def _one(self, window: Window, deadline: float, *, fresh: bool, allow_empty: bool) -> None:
        client, spec = self._client, self._spec
        delivery = fetch(client, spec, window, self._folder, self._tell, deadline=deadline, fresh=fresh)
        reach("sync-fetched")
        done = self._copies.replace(spec, delivery, allow_empty=allow_empty)
        discard(delivery)
        event = Loaded(spec.name, window, done.before, done.rows, delivery.token, done.notes)
        self.loaded.append(event)
        self._tell(event)
