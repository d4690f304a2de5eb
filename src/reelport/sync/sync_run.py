"""Bring copies up to date: read missing windows, replace each as it arrives."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from reelport.client.client import Client
from reelport.client.events import Progress
from reelport.client.files.sidecar import name_sidecar, read_sidecar
from reelport.client.flows import fetch
from reelport.client.flows.download import look_up_links
from reelport.client.ranges.windows import LONGEST_MONTH, Bisection, Window, is_hopeless
from reelport.client.session import Session
from reelport.client.settings.config import DEADLINE
from reelport.client.steps import Flow, fork, to_seconds, work
from reelport.errors import InternalError, Partial, QueryRefused, ReelportError, SchemaDrift, ServiceError, UsageError
from reelport.killpoints import reach
from reelport.sync.coverage import cut_windows, days_in_range, missing_days, wanted_days
from reelport.sync.destinations import lock_destination, open_destination, record_success
from reelport.sync.events import Began, Failed, Loaded, Planned, Tell, label_events, one_at_a_time, warn, with_log
from reelport.sync.spec import Days, Place, Spec
from reelport.sync.staging import Delivery

Outcome = Loaded | ReelportError  # the result of one window


def run(
    specs: Iterable[Spec],
    client: Client,
    *,
    tell: Tell = warn,
    deadline: float = DEADLINE,
    allow_empty: bool = False,
    every_day: bool = False,
    start: date | None = None,
    end: date | None = None,
    today: date | None = None,
) -> tuple[Loaded, ...]:
    """Bring specs' copies up to date; return loaded windows. `deadline`: a report's, seconds.

    As many windows are read at a time as the key has slots. If a window's report fails, it is read in halves, down to
    a day. If a window can't be read, its copy stays unchanged, and the run continues with the others unless they would
    fail too. Then it raises Partial, or the window's error if no window was loaded or the run had to stop. With
    `every_day` every day is read again, also verified days. If that run ends early, the next one continues. With
    `start`, `end` or both, only the days between them are read. Raises UsageError if another sync uses a destination,
    if a destination has rows of another service, or if a copy keeps none of the named days.
    """
    specs, limit = tuple(specs), to_seconds(deadline)
    session, today = client.session, today or datetime.now(UTC).date()
    tell = with_log(session, tell)
    named = named_days(specs, today, start, end, every_day=every_day)
    with ExitStack() as stack:
        work_folders = {
            place: stack.enter_context(lock_destination(place)) for place in dict.fromkeys(spec.place for spec in specs)
        }
        refuse_other_services(specs, session, every_day=every_day)
        run_state = _Run(session, work_folders, tell, limit, allow_empty=allow_empty)
        specs = tuple(limit_window(spec, session) for spec in specs)
        for spec in specs if every_day or named else ():
            open_destination(spec.place).unverify(spec, named.get(spec.name))
        tasks = [
            task
            for spec in specs
            for task in _plan_tasks(spec, session, tell, today, named.get(spec.name), every_day=every_day)
        ]
        reach("sync-planned")
        outcomes = run_state.sync_windows(client, tasks)
        if not run_state.stopped:
            bad = {spec.name for spec, outcome in outcomes if isinstance(outcome, ReelportError)}
            for spec in specs:
                if spec.name not in bad:
                    remove_leftovers(work_folders[spec.place], spec)
                    if not named:
                        record_success(spec, datetime.now(UTC))
    return _collect_loaded([outcome for _, outcome in outcomes])


def named_days(
    specs: Iterable[Spec], today: date, start: date | None, end: date | None, *, every_day: bool
) -> dict[str, Days]:
    """Return the days of a range that each copy keeps, by spec; none without a range.

    Raises UsageError for a range beside `every_day`, and for every copy that keeps none of the days.
    """
    if start is None and end is None:
        return {}
    if every_day:
        raise UsageError("Every day is read again, or those of a range: name one of both.")
    found = {spec: days_in_range(spec, today, start, end) for spec in specs}
    wrong = [
        f"{spec.name}: none of these days is kept. Name some of {wanted_days(spec, today)}, or set another `start`."
        for spec, days in found.items()
        if not days.spans
    ]
    if wrong:
        raise UsageError("\n".join(wrong))
    return {spec.name: days for spec, days in found.items()}


def refuse_other_services(specs: Iterable[Spec], session: Session, *, every_day: bool = False) -> None:
    """Raise UsageError for each copy of another service, unless all days are read again."""
    here = session.settings.url
    held = {spec: open_destination(spec.place).state(spec).service for spec in specs}
    wrong = [
        f"{spec.name}: {spec.place} holds rows from {service}, and this is {here}. Name another destination, "
        "or read every day again, from here: reelport sync run --every-day, with the --url, --profile and --file of "
        "this command."
        for spec, service in held.items()
        if service and service != here and not every_day
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def limit_window(spec: Spec, session: Session) -> Spec:
    """Limit windows to the client's length. UsageError where no month would fit."""
    longest = session.windows
    if spec.monthly and longest < LONGEST_MONTH:
        raise UsageError(f"{spec.name}: its rows are of whole months, and a window of {longest} days is too short.")
    return replace(spec, window=min(spec.window, longest))


@dataclass(frozen=True, slots=True)
class _Task:
    """A window to read, the `number`-th of `of` in its spec; `fresh` reuses no report."""

    spec: Spec
    window: Window
    fresh: bool
    number: int
    of: int


def _plan_tasks(
    spec: Spec, session: Session, tell: Tell, today: date, named: Days | None, *, every_day: bool
) -> list[_Task]:
    state = open_destination(spec.place).state(spec)
    days = missing_days(spec, state, session.settings.url, today) if named is None else named
    todo = cut_windows(spec, days)
    tell(Planned(spec.name, todo))
    # Days that the copy has are read again for changes, which an earlier report can't show.
    known = days if every_day or named is not None else state.present
    seen = [bool((known & Days.of_window(window)).spans) for window in todo]
    pairs = zip(todo, seen, strict=True)
    return [_Task(spec, window, fresh, number, len(todo)) for number, (window, fresh) in enumerate(pairs, start=1)]


def _collect_loaded(outcomes: Sequence[Outcome]) -> tuple[Loaded, ...]:
    loaded = tuple(one for one in outcomes if isinstance(one, Loaded))
    errors = [one for one in outcomes if isinstance(one, ReelportError)]
    stopped = [error for error in errors if is_hopeless(error)]
    if stopped or (errors and not loaded):
        raise (stopped or errors)[0]
    if errors:
        reasons = "\n".join(dict.fromkeys(str(error) for error in errors))
        raise Partial(f"Windows loaded: {len(loaded)}; not loaded: {len(errors)}. Run it again for these.\n{reasons}")
    return loaded


class _Run:
    """What a run's windows share: listener and loader, one at a time, and a stop flag."""

    def __init__(
        self, session: Session, work_folders: dict[Place, Path], tell: Tell, deadline: float, *, allow_empty: bool
    ) -> None:
        self._session = session
        self._work_folders = work_folders
        self._tell = one_at_a_time(tell)
        self._deadline = deadline
        self._allow_empty = allow_empty
        self._loading = threading.Lock()
        self.stopped = False
        self._closed = False

    def sync_windows(self, client: Client, tasks: Sequence[_Task]) -> list[tuple[Spec, Outcome]]:
        try:
            found = client.drive(fork([self._sync_window(task) for task in tasks], self._session.settings.slots))
        finally:
            # Wait for a load in progress, which must end before the lock is released; later loads are refused.
            self._closed = True
            with self._loading:
                pass
        pairs = zip(tasks, found, strict=True)
        return [(task.spec, one) for task, each in pairs for one in (each if isinstance(each, list) else [each])]

    def _sync_window(self, task: _Task) -> Flow[list[Outcome]]:
        """Read and load a window, or its halves where it fails; nothing once stopped."""
        spec, found = task.spec, list[Outcome]()
        self._tell(Began(spec.name, task.window, task.number, task.of))
        windows = Bisection((task.window,), months=spec.monthly)
        for window in windows:
            if self.stopped:
                break
            try:
                found.append((yield from self._fetch_and_load(spec, window, fresh=task.fresh)))
            except ReelportError as error:
                if windows.split(window, error, label_events(self._tell, spec.name, window)):
                    continue
                if stops := is_hopeless(error):
                    self.stopped = True
                self._tell(Failed(spec.name, window, str(error), stops))
                if isinstance(error, QueryRefused):
                    named = [replace(problem, path=(spec.name, *problem.path)) for problem in error.problems]
                    error = QueryRefused(tuple(named))
                found.append(error)
        return found

    def _fetch_and_load(self, spec: Spec, window: Window, *, fresh: bool) -> Flow[Loaded]:
        work_folder, tell = self._work_folders[spec.place], label_events(self._tell, spec.name, window)
        delivery = yield from fetch_window(
            self._session, spec, window, work_folder, tell, deadline=self._deadline, fresh=fresh
        )
        reach("sync-fetched")
        try:
            loaded = yield from work(partial(self._load, spec, delivery))
        except ServiceError as error:
            yield from discard_report(self._session, delivery, error)
            raise
        yield from fetch.mark_delivered(self._session, [delivery.file])  # The next ask is new.
        _remove_files(delivery.file)
        self._tell(loaded)
        return loaded

    def _load(self, spec: Spec, delivery: Delivery) -> Loaded:
        with self._loading:
            if self._closed:
                raise InternalError("The run was stopped before this window was loaded.")
            return open_destination(spec.place).replace(spec, delivery, allow_empty=self._allow_empty)


def fetch_window(
    session: Session, spec: Spec, window: Window, folder: Path, tell: Progress, *, deadline: float, fresh: bool
) -> Flow[Delivery]:
    """Download a window's report into that folder; `fresh` reuses no earlier one.

    The report stays undelivered, and serves the next run that asks for the same, until it is loaded. A Reelport
    service is asked even so, and gives another one where the days have changed since. A report with other columns than
    asked for is taken all the same: the spec's contract judges them by name.
    """
    query, began = spec.query(window.start, window.end), datetime.now(UTC)
    target = folder.resolve() / f"{spec.name}.{window}.csv"
    if read_sidecar(name_sidecar(target)) is None:  # Nothing says when this file was asked for: download it again.
        target.unlink(missing_ok=True)
        name_sidecar(target).unlink(missing_ok=True)
    try:
        got = yield from fetch.fetch(
            session, query, target, tell, deadline=deadline, fresh=fresh, current=True, part=True
        )
    except SchemaDrift as drift:
        if drift.token is None:
            raise
        row = yield from fetch.recall_row(session, drift.token)
        state = yield from look_up_links(session, drift.token, tell)
        got = yield from fetch.download_recorded(session, row, state, None, target, tell, any_columns=True)
    noted = read_sidecar(name_sidecar(target)) or {}
    asked = datetime.fromisoformat(noted["asked"]).astimezone(UTC) if noted.get("asked") else began
    return Delivery(window, target, str(noted.get("report")), asked, session.settings.url, got.last_complete_day)


def discard_report(session: Session, delivery: Delivery, error: ServiceError) -> Flow[None]:
    """Forget a report that can't be loaded, and its file; name the report in the error."""
    error.token = error.token or delivery.token
    row = yield from fetch.recall_row(session, delivery.token)
    if row is not None:
        with suppress(UsageError):
            yield from work(partial(session.ledger.forget, row))
    _remove_files(delivery.file)


def remove_leftovers(folder: Path, spec: Spec) -> None:
    """Remove downloaded files of windows that were never loaded and are not wanted any more."""
    for path in folder.glob(f"{spec.name}.*.csv*"):
        path.unlink(missing_ok=True)


def _remove_files(file: Path) -> None:
    for path in (file, name_sidecar(file)):
        path.unlink(missing_ok=True)
