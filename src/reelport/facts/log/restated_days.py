"""Which days the standing replacements of a table restate.

A replacement says all that there is of its days, even that there is nothing. The log notes these days with each commit
that changes them, so that nobody has to read its history for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

from reelport.facts.log.delta_log import (
    RESTATED,
    TableVersion,
    open_table,
    read_commits,
    read_entries,
    translate_delta_errors,
)
from reelport.facts.log.history import make_history
from reelport.facts.log.log_entry import LogEntry, Span, intersect, merge_spans, parse_entry
from reelport.facts.tables import Table


def read_restated(folder: Path, table: Table, version: int) -> tuple[Span, ...]:
    """Read the days that standing replacements restate at this version of the table in a folder.

    Raises StorageError where the log can't be read.
    """
    return _read_noted(TableVersion(table, folder, version, (), open_table(folder, version))) or ()


def restate(now: TableVersion, span: Span, today: date) -> tuple[Span, ...]:
    """Find the restated days after a replacement of this span is made on this day (UTC).

    It restates days that are over. Of a later one nobody can say yet what there will be.
    """
    known = _read_noted(now)
    if known is None:
        known = _find_in_history(read_entries(now), now, None)
    return merge_spans([*known, *_cut(span, today)])


def take_back(now: TableVersion, version: int) -> tuple[Span, ...]:
    """Find the restated days after an undo of the replacement that this version of the table made."""
    return _find_in_history(read_entries(now), now, version)


def _read_noted(now: TableVersion) -> tuple[Span, ...] | None:
    """Read what the last commit that changed the restated days noted; None where none did."""
    if now.delta is None:
        return None
    with translate_delta_errors(now.folder):
        version = now.delta.transaction_version(RESTATED)
    if version is None:
        return None
    return next(parse_entry(commit).restated for commit in read_commits(now, range(version, version + 1)))


def _find_in_history(entries: Iterable[LogEntry], now: TableVersion, without: int | None) -> tuple[Span, ...]:
    """Find the days that standing replacements restate, but for that of one version."""
    known = {entry.version: entry for entry in entries}
    spans: list[Span] = []
    for load in make_history(now.table, known.values()):
        if load.replaced is None or load.undone or load.version == without:
            continue
        noted = known[load.version].restated
        if noted is not None:
            spans += intersect(load.replaced, noted)
        elif load.at is not None:  # of a version that didn't note them
            spans += _cut(load.replaced, load.at.date())
    return merge_spans(spans)


def _cut(span: Span, today: date) -> tuple[Span, ...]:
    return intersect(span, [(date.min, today - timedelta(days=1))])
