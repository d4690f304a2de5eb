"""Run a report over any range: fetch its windows, then merge them into one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reelport import killpoints
from reelport.client.events import Merged, Merging, Progress
from reelport.client.files.part import Part, translate_io_errors
from reelport.client.files.proof import find_weakest
from reelport.client.files.sidecar import Sidecar, find_sidecar_path, name_sidecar, read_sidecar
from reelport.client.flows.download import Downloaded, find_earliest
from reelport.client.flows.fetch import fetch, mark_delivered
from reelport.client.flows.lifecycle import check_against_host
from reelport.client.flows.runner import DEADLINE
from reelport.client.ranges.bisection import Bisection
from reelport.client.ranges.fetching import WindowEvents, WindowFetcher
from reelport.client.ranges.folder import Folder, KeptFolder
from reelport.client.ranges.merge import merge
from reelport.client.ranges.merge_rules import MergePlan, MergeRule, needs_whole_months, plan_merge
from reelport.client.ranges.plan import build_merge_plan, check_range_query, cut_windows
from reelport.client.ranges.result import Ranged
from reelport.client.ranges.windows import Window
from reelport.client.session import Session
from reelport.client.steps import Flow, work
from reelport.errors import MergeRefused, QueryRefused, ReportFailed, UsageError
from reelport.query import ReportQuery

_OVER = object()

_OF_A_WINDOW = ("report", "asked", "finished", "downloaded", "bytes", "sha256", "rows", "proof", "last_complete_day")


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

    Asks for `session.slots` windows at a time; each has `deadline` seconds. Stopped at any point and run again, this
    goes on where it stopped. Raises MergeRefused before it asks for anything, and Partial when some windows are on
    disk and others can't be fetched. Raises UsageError for a range of more than `max_windows` windows.
    """
    windows = yield from _cut_range(session, query)
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
    folder = yield from work(partial(Folder.beside, target, _hash_query(session, plan.asked)))
    with closing(folder):
        fetching = WindowFetcher(session, plan.asked, folder, events, deadline, fresh=fresh)
        had = yield from fetching.fetch_all(windows)
        done = yield from _merge(session, plan, had, folder, target, events)
        events(Merged(len(had), done.bytes, done.rows))
        yield from mark_delivered(session, [each.path for each in had])
        yield from work(folder.remove)
    return done


def keep_windows(
    session: Session, query: ReportQuery, to: Path, tell: Progress, *, deadline: float = DEADLINE, fresh: bool = False
) -> Flow[Ranged]:
    """Fetch the windows of a query over any range into a folder, each a file, unmerged."""
    windows = yield from _cut_range(session, query)
    events = WindowEvents(tell)
    yield from check_against_host(session, query.within(windows[0].start, windows[0].end), events)
    fetching = WindowFetcher(session, query, KeptFolder(to, query), events, deadline, fresh=fresh)
    return Ranged.kept(to, (yield from fetching.fetch_all(windows)))


def _cut_range(session: Session, query: ReportQuery) -> Flow[tuple[Window, ...]]:
    """Check a query and cut its range into windows.

    Raises QueryRefused, and UsageError for a range that takes more reports than are allowed: its year is probably
    mistyped.
    """
    check_range_query(session, query)
    yield from work(session.recall_day_limit)
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
    """Cut a range whose single report failed or is too long into windows, and plan their merge.

    Raises the failure where it can't be cut, or its windows can't be merged.
    """
    months = needs_whole_months(query, session.windows)
    try:
        plan = plan_merge(query, months=months, ordered=session.reelport is not False)
    except MergeRefused:
        raise error from None
    bisection = Bisection(session, (), months=months)  # The whole range was its one window, and has been tried.
    if not bisection.split(Window(query.start, query.end), error, events):
        raise error
    return tuple(bisection), plan


def _merge(
    session: Session, plan: MergePlan, had: list[Downloaded], folder: Folder, target: Path, events: WindowEvents
) -> Flow[Ranged]:
    events(Merging(len(had)))
    if plan.rule is MergeRule.APPENDED and session.reelport is not True:
        plan = replace(plan, rule=MergeRule.SORTED)
    with Part(target, folder.path.name) as part:
        part.rewind()
        if plan.rule is MergeRule.APPENDED:
            part.expect_rows(sum(each.rows for each in had))
        merging = merge(plan, [each.path for each in had], part, folder.path)
        with closing(merging):
            # Merge in slices, so that an interrupt stops between two of them.
            while (yield from work(partial(_run_slice, merging, target))):
                pass
        killpoints.reach("client-merged")
        return (yield from work(partial(_publish, session, plan, had, part)))


def _run_slice(merging: Iterator[None], target: Path) -> bool:
    """Run one slice of the merge, and return whether there is more."""
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


def _hash_query(session: Session, query: ReportQuery) -> str:
    """Hash a key and a query without its days, to tell its windows' files from another's."""
    day = query.start.min
    text = f"{session.settings.identity}\n{query.within(day, day).canonical()}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _format_manifest(session: Session, plan: MergePlan, done: Ranged) -> bytes:
    now = session.clock.now()
    whole = Sidecar(
        service=session.settings.url,
        report="",
        query=plan.query,
        asked=None,
        finished=None,
        downloaded=now,
        bytes=done.bytes,
        sha256=done.sha256,
        rows=done.rows,
        proof=done.proof.word,
        last_complete_day=done.last_complete_day,
    )
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
