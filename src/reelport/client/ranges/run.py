"""Run a report over any range: fetch windows side by side, halve failed ones, merge."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from reelport import killpoints
from reelport.client.events import Event, InWindow, Merged, Merging, Progress, Warned, WindowDone
from reelport.client.files.download_target import translate_io_errors
from reelport.client.files.locks import LOCK, remove_folder, try_lock_folder
from reelport.client.files.part import Part
from reelport.client.files.resumable_transfer import find_weakest
from reelport.client.files.sidecar import Sidecar, find_sidecar_path, name_sidecar, read_sidecar
from reelport.client.flows.download import Downloaded, Ranged, find_earliest
from reelport.client.flows.fetch import fetch, mark_delivered
from reelport.client.flows.lifecycle import check_against_host
from reelport.client.ranges.merge import merge
from reelport.client.ranges.plan import (
    MergePlan,
    MergeRule,
    build_merge_plan,
    check_range_query,
    cut_windows,
    needs_whole_months,
    plan_merge,
)
from reelport.client.ranges.windows import Bisection, Window, is_hopeless, split_by_existing
from reelport.client.session import Session
from reelport.client.settings.config import DEADLINE
from reelport.client.steps import Flow, fork, work
from reelport.errors import (
    MergeRefused,
    Partial,
    Problem,
    QueryRefused,
    ReelportError,
    ReportFailed,
    UsageError,
)
from reelport.local_path import refuse_address
from reelport.query import ReportQuery
from reelport.wording import format_count

_OVER = object()

_OF_A_WINDOW = ("report", "asked", "finished", "downloaded", "bytes", "sha256", "rows", "proof", "last_complete_day")

_TOLD = 10  # most missing windows that an error lists; it only counts the others


def run_range(
    session: Session,
    query: ReportQuery,
    target: Path,
    tell: Progress,
    *,
    deadline: float = DEADLINE,
    fresh: bool = False,
) -> Flow[Ranged]:
    """Put a query's report over any range under the target's name, as one long report.

    Asks for as many windows at a time as the key has slots; each has `deadline` seconds. Stopped at any point and run
    again, this goes on where it stopped. Raises MergeRefused before it asks for anything, Partial when some windows are
    on disk and others can't be fetched, and UsageError for a range of more than `max_windows` windows.
    """
    windows = _cut_range(session, query)
    events = WindowEvents(tell)
    try:
        plan = build_merge_plan(session, query, windows)
    except MergeRefused:
        first = query.within(windows[0].start, windows[0].end)
        if session.check_query(first):  # What is only a warning here, such as an unknown name, the host may refuse.
            yield from check_against_host(session, first, lambda _: None)
        raise
    if plan.rule is MergeRule.ALONE:
        try:
            return Ranged.alone((yield from fetch(session, query, target, tell, deadline=deadline, fresh=fresh)))
        except (ReportFailed, QueryRefused) as error:
            windows, plan = _cut_after_failure(session, query, events, error)
    yield from check_against_host(session, plan.asked.within(windows[0].start, windows[0].end), events)
    folder = yield from work(partial(TargetFolder, target, plan.asked))
    with closing(folder):
        had = yield from _fetch_windows(session, plan.asked, folder, windows, events, deadline=deadline, fresh=fresh)
        done = yield from _merge(session, plan, had, folder, target, events)
        events(Merged(len(had), done.bytes, done.rows))
        yield from mark_delivered(session, [each.path for each in had])
        yield from work(folder.remove)
    return done


def keep_windows(
    session: Session, query: ReportQuery, to: Path, tell: Progress, *, deadline: float = DEADLINE, fresh: bool = False
) -> Flow[Ranged]:
    """Fetch the windows of a query over any range into a folder, each a file, unmerged."""
    windows = _cut_range(session, query)
    events = WindowEvents(tell)
    yield from check_against_host(session, query.within(windows[0].start, windows[0].end), events)
    folder = Folder(to, query)
    had = yield from _fetch_windows(session, query, folder, windows, events, deadline=deadline, fresh=fresh)
    return Ranged.kept(to, had)


def _cut_range(session: Session, query: ReportQuery) -> tuple[Window, ...]:
    check_range_query(session, query)
    windows, most = cut_windows(query, session.windows), session.settings.max_windows
    if (count := len(windows)) > most:
        raise UsageError(
            f"{query.start} to {query.end} takes {count:,} reports, and a range may take {most:,}. Check the first "
            f"day; to ask for all of them: --max-windows {count} (with_options(max_windows={count}))."
        )
    return windows


def _cut_after_failure(
    session: Session, query: ReportQuery, events: WindowEvents, error: ReportFailed | QueryRefused
) -> tuple[tuple[Window, ...], MergePlan]:
    """Cut a range whose single report failed or is too long; raise the failure if it can't be."""
    months = needs_whole_months(query, session.windows)
    try:
        plan = plan_merge(query, months=months, ordered=session.reelport is not False)
    except MergeRefused:
        raise error from None
    bisection = Bisection((), months=months)  # The whole range was its one window, and has been tried.
    if not bisection.split(Window(query.start, query.end), error, events):
        raise error
    return tuple(bisection), plan


def _merge(
    session: Session, plan: MergePlan, had: list[Downloaded], folder: TargetFolder, target: Path, events: WindowEvents
) -> Flow[Ranged]:
    events(Merging(len(had)))
    if plan.rule is MergeRule.APPENDED and session.reelport is not True:
        plan = replace(plan, rule=MergeRule.SORTED)
    with Part(target, folder.path.name) as part:
        part.rewind()
        merging = merge(plan, [each.path for each in had], part, folder.path)
        with closing(merging):
            # Merge in slices, so that an interrupt stops between two of them.
            while (yield from work(partial(_run_slice, merging, target))):
                pass
        killpoints.reach("client-merged")
        return (yield from work(partial(_publish, session, plan, had, part)))


def _run_slice(merging: Iterator[None], target: Path) -> bool:
    with translate_io_errors(target):
        return next(merging, _OVER) is not _OVER


def _publish(session: Session, plan: MergePlan, windows: Sequence[Downloaded], part: Part) -> Ranged:
    known = find_sidecar_path(part.target)
    proof = find_weakest([each.proof for each in windows])
    complete = find_earliest([each.last_complete_day for each in windows])
    rows = part.rows
    done = Ranged(part.target, part.size, part.sha256, rows, proof, known, complete, tuple(windows))
    part.publish(known, _format_manifest(session, plan, done))
    killpoints.reach("client-range")
    return done


def _format_manifest(session: Session, plan: MergePlan, done: Ranged) -> bytes:
    facts = (done.bytes, done.sha256, done.rows, done.proof.word, done.last_complete_day)
    whole = Sidecar(session.settings.url, "", plan.query, None, None, session.clock.now(), *facts)
    said: dict[str, Any] = json.loads(whole.to_json())
    said |= {
        "report": None,
        "merged": plan.rule.name.lower(),
        "asked_beside": list(plan.silent),
        "windows": [_describe_window(each) for each in done.windows],
    }
    return json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n"


def _describe_window(done: Downloaded) -> dict[str, object]:
    """Describe a window by its own sidecar, which is removed together with the window's file."""
    said = read_sidecar(name_sidecar(done.path)) or {}
    query = said.get("query") or {}
    days = {"start": query.get("startDate"), "end": query.get("endDate")}
    return days | {name: said.get(name) for name in _OF_A_WINDOW}


@dataclass(frozen=True, slots=True)
class Missing:
    """A window that can't be fetched now, and why."""

    window: Window
    error: ReelportError


def _fetch_windows(
    session: Session,
    query: ReportQuery,
    folder: Folder,
    windows: tuple[Window, ...],
    events: WindowEvents,
    *,
    deadline: float,
    fresh: bool,
) -> Flow[list[Downloaded]]:
    """Fetch all windows, or the pieces they were cut into, in order.

    Raises Partial when some are missing, and the first error when all are.
    """
    existing, months = folder.list_files(), needs_whole_months(query, session.windows)
    bisections = [Bisection(split_by_existing(window, existing), months=months) for window in windows]
    part = isinstance(folder, TargetFolder)  # A window that will be merged is only a part of the result.
    stop: ReelportError | None = None
    done_so_far = count(1)

    def fetch_pieces(pieces: Bisection) -> Flow[list[Downloaded | Missing]]:
        nonlocal stop
        found: list[Downloaded | Missing] = []
        for piece in pieces:
            if stop is not None:
                found.append(Missing(piece, stop))
                continue
            asked, target, tell = query.within(piece.start, piece.end), folder.file(piece), events.of(piece)
            try:
                done = yield from fetch(session, asked, target, tell, deadline=deadline, fresh=fresh, part=part)
            except ReelportError as error:
                if pieces.split(piece, error, events):
                    continue
                if is_hopeless(error):
                    stop = error
                found.append(Missing(piece, error))
            else:
                total = sum(each.count for each in bisections)
                events(WindowDone(piece.start, piece.end, done.bytes, next(done_so_far), total))
                found.append(done)
        return found

    outcomes = yield from fork([fetch_pieces(each) for each in bisections], session.settings.slots)
    found: list[Downloaded | Missing] = []
    for window, outcome in zip(windows, outcomes, strict=True):
        found += [Missing(window, outcome)] if isinstance(outcome, ReelportError) else outcome
    missing = [each for each in found if isinstance(each, Missing)]
    if missing:
        raise _build_partial(found, missing)
    return [each for each in found if isinstance(each, Downloaded)]


def _build_partial(found: list[Downloaded | Missing], missing: list[Missing]) -> ReelportError:
    first = missing[0].error
    if len(missing) == len(found):
        return first
    same = Counter(id(each.error) for each in missing)
    firsts = {id(each.error): each for each in reversed(missing)}.values()
    lines = []
    for each in reversed(firsts):
        also = f" and {more} more for the same reason" if (more := same[id(each.error)] - 1) else ""
        lines.append(f"{each.window}{also}: {each.error}")
    if len(lines) > _TOLD:
        lines[_TOLD:] = [f"… and {len(lines) - _TOLD} more."]
    whole = format_count(len(found), "window")
    counts = f"Of {whole}, {len(found) - len(missing):,} are here and kept; {len(missing):,} can't be fetched now:"
    error = Partial("\n".join([counts, *lines, "Run the same again: it goes on with these alone."]), token=first.token)
    error.__cause__ = first
    return error


class WindowEvents:
    """Passes events from several threads to one listener, one after another."""

    def __init__(self, tell: Progress) -> None:
        import threading  # noqa: PLC0415 - a client that asks for one report has no threads

        self._tell = tell
        self._lock = threading.RLock()
        self._warned: set[Problem] = set()

    def __call__(self, event: Event) -> None:
        """Pass on an event of the range as a whole."""
        with self._lock:
            if isinstance(event, Warned):
                if event.problem in self._warned:
                    return
                self._warned.add(event.problem)
            self._tell(event)

    def of(self, window: Window) -> Callable[[Event], None]:
        """Return a listener that passes on one window's events."""

        def tell(event: Event) -> None:
            self(event if isinstance(event, Warned) else InWindow(window.start, window.end, event))

        return tell


_LONGEST_NAME = 200  # most bytes of the target's name to use in the folder's name, so that it stays a valid name


class Folder:
    """A query's windows in a folder, each beside its sidecar; `keep_windows` leaves one."""

    def __init__(self, path: Path, query: ReportQuery) -> None:
        self.path = path
        self._query = query

    def file(self, window: Window) -> Path:
        """Return the path of a window's file."""
        return self.path / f"{window.start}_{window.end}.csv"

    def list_files(self) -> tuple[Window, ...]:
        """List the windows of the query whose files exist, according to their sidecars."""
        with translate_io_errors(self.path):
            said = [read_sidecar(path) or {} for path in sorted(self.path.glob("*_*.csv.json"))]
        return tuple(window for each in said if (window := self._parse_window(each.get("query"))))

    def _parse_window(self, wire: object) -> Window | None:
        try:
            found = ReportQuery.from_wire(wire) if isinstance(wire, dict) else None
        except (QueryRefused, KeyError, TypeError, AttributeError):
            return None  # Not a sidecar of ours.
        ours = found is not None and found.within(self._query.start, self._query.end) == self._query
        return Window(found.start, found.end) if found is not None and ours else None


class TargetFolder(Folder):
    """A target's folder of windows to merge, locked by one process; a second gets its own.

    When the run ends early, the files stay for the next run to resume, except in a private folder, which no run would
    find again; the next run removes private folders that killed processes left.
    """

    def __init__(self, target: Path, query: ReportQuery) -> None:
        """Open or make a target's folder. Raises StorageError."""
        name = target.name.encode("utf-8", "surrogateescape")[:_LONGEST_NAME].decode("utf-8", "ignore")
        path = target.with_name(f".{name}.windows")
        with translate_io_errors(path):
            _sweep(path)
            self._lock = try_lock_folder(path)
            self._stays = self._lock is not None
            if not self._stays:
                path = path.with_name(f"{path.name}-{secrets.token_hex(4)}")
                self._lock = try_lock_folder(path)
        super().__init__(path, query)

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        if self._lock is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            lock, self._lock = self._lock, None
            remove_folder(self.path, lock)

    def close(self) -> None:
        """Unlock the folder for the next process. Removes an empty or private folder."""
        with suppress(OSError):
            if not self._stays or [path.name for path in self.path.iterdir()] == [LOCK]:
                self.remove()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def resolve_folder(to: str | os.PathLike[str]) -> Path:
    """Return the folder to keep windows in, made if missing. UsageError for an unusable one."""
    refuse_address(to, "Windows are kept on this machine: name a folder, and copy it on from there.")
    try:
        path = Path(to).expanduser().resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a NUL, a home of nobody, links in a circle
        raise UsageError(f"{str(to)[:200]!r} is no name for a folder: {error}.") from error
    with translate_io_errors(path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: name a folder to keep the windows in.")
        if not path.parent.is_dir():
            raise UsageError(f"There is no folder {path.parent} to make {path.name} in.")
        path.mkdir(exist_ok=True)
    return path


def _sweep(path: Path) -> None:
    own = re.compile(re.escape(path.name) + r"-[0-9a-f]{8}")
    with suppress(OSError):
        for left in [each for each in path.parent.iterdir() if own.fullmatch(each.name)]:
            lock = try_lock_folder(left)
            if lock is not None:
                remove_folder(left, lock)
