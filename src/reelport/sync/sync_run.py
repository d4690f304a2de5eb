"""Bring copies up to date: read what is lacking, window by window, and replace each as it comes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from reelport.client.client import Client
from reelport.client.deadline import DEADLINE
from reelport.client.events import Bisected, Event
from reelport.client.flows.runner import to_seconds
from reelport.client.ranges.failing import FAILURES, can_be_split, is_hopeless
from reelport.client.ranges.windows import LONGEST_MONTH, Window, halve, recut
from reelport.client.session import Session
from reelport.client.steps import Flow, fork, work
from reelport.errors import InternalError, Partial, QueryRefused, ReelportError, ServiceError, UsageError
from reelport.killpoints import reach
from reelport.sync.copies import Copies
from reelport.sync.days import Days
from reelport.sync.destination_lock import locked
from reelport.sync.destinations import open_copies
from reelport.sync.events import Began, Failed, Loaded, OfWindow, Planned, SyncEvent, Tell, aloud
from reelport.sync.fetching import dismissed, done, fetched, sweep
from reelport.sync.planning import chosen, lacking, wanted, windows
from reelport.sync.spec import Place, Spec
from reelport.sync.staging import Delivery
from reelport.sync.sync_log import listener

Outcome = Loaded | ReelportError
"""What a window came to."""


def run(
    specs: Iterable[Spec],
    client: Client,
    *,
    tell: Tell = aloud,
    deadline: float = DEADLINE,
    allow_empty: bool = False,
    every_day: bool = False,
    start: date | None = None,
    end: date | None = None,
    today: date | None = None,
) -> tuple[Loaded, ...]:
    """Bring the copies of these specs up to date, and say what was loaded. `deadline` is for one report, in seconds.

    As many windows are read at a time as the key has slots. One whose report fails is read in halves, down to a
    day. One that can't be had leaves its copy as it was, and the others go on where they may come to better; Partial
    is raised in the end, or where nothing at all was loaded, or nothing more could be, the window's own error.
    With `every_day` every day is read, the verified ones too, if not by this run then by the next. With `start`, `end`
    or both the days from one to the other are, and no others. UsageError while another sync has one of the
    destinations, when one holds rows of another service, or where a copy keeps none of the named days.
    """
    specs, limit = tuple(specs), to_seconds(deadline)
    session, today = client.session, today or datetime.now(UTC).date()
    tell = listener(session, tell)
    named = named_days(specs, today, start, end, every_day=every_day)
    with ExitStack() as stack:
        shops = {place: stack.enter_context(locked(place)) for place in dict.fromkeys(spec.place for spec in specs)}
        refuse_strangers(specs, session, every_day=every_day)
        going = _Run(session, shops, tell, limit, allow_empty=allow_empty)
        specs = tuple(limited(spec, session) for spec in specs)
        for spec in specs if every_day or named else ():
            going.copies[spec.place].doubt(spec, named.get(spec.name))
        tasks = [
            task
            for spec in specs
            for task in _tasks(spec, session, tell, today, named.get(spec.name), every_day=every_day)
        ]
        reach("sync-planned")
        try:
            found = client.drive(_all(going, tasks, session.settings.slots))
        finally:
            going.close()
        if not going.stopped:
            bad = {task.spec.name for task, each in zip(tasks, found, strict=True) if _errors([each])}
            for spec in specs:
                if spec.name not in bad:
                    sweep(shops[spec.place], spec)
    return _outcome(found)


def named_days(
    specs: Iterable[Spec], today: date, start: date | None, end: date | None, *, every_day: bool
) -> dict[str, Days]:
    """The days of a range that each spec's copy keeps, by name; nothing where no range is named.

    Raises UsageError for a range beside `every_day`, and for every copy that keeps none of its days.
    """
    if start is None and end is None:
        return {}
    if every_day:
        raise UsageError("Every day is read again, or those of a range: name one of both.")
    found = {spec: chosen(spec, today, start, end) for spec in specs}
    wrong = [
        f"{spec.name}: none of these days is kept. Name some of {wanted(spec, today)}, or set another `start`."
        for spec, days in found.items()
        if not days.spans
    ]
    if wrong:
        raise UsageError("\n".join(wrong))
    return {spec.name: days for spec, days in found.items()}


def refuse_strangers(specs: Iterable[Spec], session: Session, *, every_day: bool = False) -> None:
    """Raise UsageError for each copy whose rows are another service's, unless all of them are read again."""
    here = session.settings.url
    held = {spec: open_copies(spec.place).state(spec).service for spec in specs}
    wrong = [
        f"{spec.name}: {spec.place} holds rows from {service}, and this is {here}. Name another destination, "
        "or read every day again, from here: reelport sync run --every-day."
        for spec, service in held.items()
        if service and service != here and not every_day
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def limited(spec: Spec, session: Session) -> Spec:
    """The spec with windows that are no longer than the client's. UsageError where no month would fit into one."""
    session.recall()
    longest = session.windows
    if spec.monthly and longest < LONGEST_MONTH:
        raise UsageError(f"{spec.name}: its rows are of whole months, and a window of {longest} days is too short.")
    return replace(spec, window=min(spec.window, longest))


@dataclass(frozen=True, slots=True)
class _Task:
    """A window that is to be read; `fresh`: what was read before can't serve. It is the `number`-th of its spec's."""

    spec: Spec
    window: Window
    fresh: bool
    number: int
    of: int


def _tasks(
    spec: Spec, session: Session, tell: Tell, today: date, named: Days | None, *, every_day: bool
) -> list[_Task]:
    """The named days of a spec as windows, or what is lacking of it."""
    state = open_copies(spec.place).state(spec)
    days = lacking(spec, state, session.settings.url, today) if named is None else named
    todo = windows(spec, days)
    tell(Planned(spec.name, todo))
    # What was read before is read again for what has changed: a report of then can't tell.
    known = days if every_day or named is not None else state.present
    seen = [bool((known & Days.between(window.start, window.end)).spans) for window in todo]
    pairs = zip(todo, seen, strict=True)
    return [_Task(spec, window, fresh, number, len(todo)) for number, (window, fresh) in enumerate(pairs, start=1)]


def _all(going: _Run, tasks: Sequence[_Task], at_once: int) -> Flow[list[list[Outcome] | ReelportError]]:
    return (yield from fork([going.bring(task) for task in tasks], at_once))


def _errors(found: Iterable[list[Outcome] | ReelportError]) -> list[ReelportError]:
    each = [one for outcome in found for one in (outcome if isinstance(outcome, list) else [outcome])]
    return [one for one in each if isinstance(one, ReelportError)]


def _outcome(found: Sequence[list[Outcome] | ReelportError]) -> tuple[Loaded, ...]:
    """What was loaded. Raises what stopped the run, Partial, or the error of a window where none was loaded."""
    loaded = tuple(one for outcome in found if isinstance(outcome, list) for one in outcome if isinstance(one, Loaded))
    errors = _errors(found)
    stopped = [error for error in errors if is_hopeless(error)]
    if stopped or (errors and not loaded):
        raise (stopped or errors)[0]
    if errors:
        reasons = "\n".join(dict.fromkeys(str(error) for error in errors))
        raise Partial(f"Windows loaded: {len(loaded)}; not loaded: {len(errors)}. Run it again for these.\n{reasons}")
    return loaded


def _named(error: ReelportError, spec: Spec) -> ReelportError:
    """A refused query says whose it is."""
    if not isinstance(error, QueryRefused):
        return error
    return QueryRefused(tuple(replace(problem, path=(spec.name, *problem.path)) for problem in error.problems))


class _Run:
    """What the windows of one run share: who is told, one at a time; one load at a time; whether it was stopped."""

    def __init__(
        self, session: Session, shops: dict[Place, Path], tell: Tell, deadline: float, *, allow_empty: bool
    ) -> None:
        self._session = session
        self._shops = shops
        self._listener = tell
        self._deadline = deadline
        self._allow_empty = allow_empty
        self.copies: dict[Place, Copies] = {place: open_copies(place) for place in shops}
        self._turn, self._loading = threading.Lock(), threading.Lock()
        self.stopped = False
        self._closed = False

    def close(self) -> None:
        """Wait for a load that goes on: whoever ends the process meanwhile, or lets go of the lock, tears it in two."""
        self._closed = True
        with self._loading:
            pass

    def bring(self, task: _Task) -> Flow[list[Outcome]]:
        """Read a window and load it; one whose report fails in two halves. Nothing once the run has been stopped."""
        spec, found, failures = task.spec, list[Outcome](), 0
        self._tell(Began(spec.name, task.window, task.number, task.of))
        left = [task.window]
        while left and not self.stopped:
            window = left.pop()
            if len(fitting := recut(window, self._session.windows, months=spec.monthly)) > 1:
                left += reversed(fitting)
                continue
            try:
                found.append((yield from self._bring(spec, window, fresh=task.fresh)))
            except ReelportError as error:
                fitting = recut(window, self._session.windows, months=spec.monthly)
                if isinstance(error, QueryRefused) and len(fitting) > 1:
                    left += reversed(fitting)  # The service has said meanwhile that it takes fewer days in one report.
                    continue
                failures += can_be_split(error)
                smaller = halve(window, months=spec.monthly) if can_be_split(error) and failures <= FAILURES else ()
                if smaller:
                    bisected = Bisected(window.start, window.end, smaller[1].start, str(error))
                    self._tell(OfWindow(spec.name, window, bisected))
                    left += reversed(smaller)
                    continue
                if is_hopeless(error):
                    self.stopped = True
                self._tell(Failed(spec.name, window, str(error)))
                found.append(_named(error, spec))
        return found

    def _bring(self, spec: Spec, window: Window, *, fresh: bool) -> Flow[Loaded]:
        def tell(event: Event) -> None:
            self._tell(OfWindow(spec.name, window, event))

        shop = self._shops[spec.place]
        delivery = yield from fetched(self._session, spec, window, shop, tell, deadline=self._deadline, fresh=fresh)
        reach("sync-fetched")
        try:
            loaded = yield from work(partial(self._load, spec, delivery))
        except ServiceError:
            yield from dismissed(self._session, delivery)
            raise
        yield from done(self._session, delivery)
        self._tell(loaded)
        return loaded

    def _load(self, spec: Spec, delivery: Delivery) -> Loaded:
        with self._loading:
            if self._closed:
                raise InternalError("The run was stopped before this window was loaded.")
            found = self.copies[spec.place].replace(spec, delivery, allow_empty=self._allow_empty)
        return Loaded(spec.name, delivery.window, found.before, found.rows, delivery.token, found.notes)

    def _tell(self, event: SyncEvent) -> None:
        with self._turn:
            self._listener(event)
