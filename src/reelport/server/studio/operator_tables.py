"""The tables for operators: the state of each day, and what was loaded and rejected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import anyio.to_thread
from starlette.responses import Response

from reelport.errors import ReelportError
from reelport.facts.input.rejects import find_kept_rejects, name_rejects, read_examples
from reelport.facts.log.freshness import COUNTED, DayState, TableReport, read_day_states, tables_report
from reelport.facts.log.history import Load, list_loads_since
from reelport.facts.log.log_entry import merge_spans
from reelport.facts.tables import TABLES
from reelport.language import N_, _
from reelport.server.studio import operator
from reelport.server.studio.visit import Visit
from reelport.wording import format_days, format_list

DAYS, LOADS = f"{operator.PATH}/days", f"{operator.PATH}/loads"
_EARLIEST = date(2000, 1, 1)
_MONTHS = 3  # months of days that a page shows
_LOADS_SHOWN = 50
_SPANS_SHOWN = 3
_DAY = timedelta(days=1)
# How a state looks: a sign that needs no colour, and its words.
STATES = {
    DayState.COMPLETE: ("✓", N_("complete")),
    DayState.RESTATED: ("R", N_("restated: complete, and replaced a day or more after it was over")),
    DayState.MOVING: ("○", N_("may still change")),
    DayState.MISSING: ("✗", N_("missing: it has no rows, and holds back all later days")),
}


Month = tuple[date, list[tuple[str, tuple[DayState | None, ...]]]]
"""The first day of a month, and for each table the states of its days, None of a day without anything."""


@dataclass(frozen=True, slots=True)
class ShownLoad:
    """A load, in words: its days, those that it restated, and reasons why rows were rejected.

    `rejects_file` is the name of their file beside the loaded one, where the data directory has none.
    """

    load: Load
    days: str
    restated: str
    reasons: tuple[str, ...]
    rejects_file: str | None


async def show_days(visit: Visit) -> Response:
    """Show three months of days of each table, up to the month of the address."""
    root, today = visit.service.settings.facts_root, visit.now.date()
    last = _read_month(visit)
    months, tables, problem = list[Month](), tuple[TableReport, ...](), ""
    try:
        months = await anyio.to_thread.run_sync(read_months, root, last, today)
        tables = await anyio.to_thread.run_sync(tables_report, root, today)
    except ReelportError as error:
        problem = str(error)
    links = {"earlier": _write_address(DAYS, month=_shift(last, -_MONTHS)), "later": None}
    if last < today.replace(day=1):
        links["later"] = _write_address(DAYS, month=min(_shift(last, _MONTHS), today))
    return await operator.render(
        visit,
        "operator_days.html",
        months=months,
        tables=tables,
        problem=problem,
        states={state: (sign, _(words)) for state, (sign, words) in STATES.items()},
        **links,
    )


def read_months(root: Path, last: date, today: date) -> list[Month]:
    """Read the states of days of the counted tables, up to the month that begins with `last`."""
    firsts = [_shift(last, -place) for place in range(_MONTHS)]
    since = datetime.combine(firsts[-1], time(), UTC)  # no earlier load restates one of these days
    restated = {
        table: [
            load.restated for load in list_loads_since(root, TABLES[table], since) if load.restated and not load.undone
        ]
        for table in COUNTED
    }
    months: list[Month] = []
    for first in firsts:
        days = [first + place * _DAY for place in range((_shift(first, 1) - first).days)]
        states = [(each, read_day_states(root, each, days, restated[each], today)) for each in COUNTED]
        months.append((first, states))
    return months


async def show_loads(visit: Visit) -> Response:
    """Show the loads of a month, newest first, perhaps of one table."""
    given = visit.request.query_params
    month, table = _read_month(visit), given.get("table", "")
    chosen = [table] if table in TABLES else list(TABLES)
    page = int(given.get("page", "")) if re.fullmatch("[1-9][0-9]{0,5}", given.get("page", "")) else 1
    rows, count, problem = list[ShownLoad](), 0, ""
    try:
        read = partial(read_loads, visit.service.settings.facts_root, chosen, month, page)
        rows, count = await anyio.to_thread.run_sync(read)
    except ReelportError as error:
        problem = str(error)
    write = partial(_write_address, LOADS, table=chosen[0] if len(chosen) == 1 else "")
    is_past = month < visit.now.date().replace(day=1)
    return await operator.render(
        visit,
        "operator_loads.html",
        rows=rows,
        count=count,
        problem=problem,
        tables=list(TABLES),
        table=table,
        month=month,
        older=write(month=month, page=page + 1) if count > page * _LOADS_SHOWN else None,
        earlier=write(month=_shift(month, -1)),
        later=write(month=_shift(month, 1)) if is_past else None,
    )


def read_loads(root: Path, tables: Sequence[str], month: date, page: int = 1) -> tuple[list[ShownLoad], int]:
    """Read a page of the loads of a month (UTC), newest first, and how many it has."""
    since, until = (datetime.combine(day, time(), UTC) for day in (month, _shift(month, 1)))
    found = [load for table in tables for load in list_loads_since(root, TABLES[table], since)]
    made = [(load.at, load.version, load.table, load) for load in found if load.at is not None and load.at < until]
    newest = [load for *_order, load in sorted(made, key=lambda each: each[:3], reverse=True)]
    return [_describe_load(root, each) for each in newest[(page - 1) * _LOADS_SHOWN : page * _LOADS_SHOWN]], len(newest)


def _describe_load(root: Path, load: Load) -> ShownLoad:
    reasons = read_examples(find_kept_rejects(root, load.batch)) if load.rejects else ()
    beside = name_rejects(load.sources[0], load.batch) if load.rejects and load.sources and not reasons else None
    return ShownLoad(load, _format_spans(load), format_days(*load.restated) if load.restated else "", reasons, beside)


def _format_spans(load: Load) -> str:
    spans = merge_spans((day, day) for day in load.days)
    more = [_("%(count)s more", count=len(spans) - _SPANS_SHOWN)] if len(spans) > _SPANS_SHOWN else []
    return format_list([*(format_days(*span) for span in spans[:_SPANS_SHOWN]), *more])


def _read_month(visit: Visit) -> date:
    """Read the month of the address, as its first day; this month where it names none."""
    now = visit.now.date().replace(day=1)
    try:
        given = date.fromisoformat(f"{visit.request.query_params.get('month', '')}-01")
    except ValueError:
        return now
    return min(max(given, _EARLIEST), now)


def _shift(first: date, months: int) -> date:
    """Return the first day of the month that many months later."""
    place = first.year * 12 + first.month - 1 + months
    return date(place // 12, place % 12 + 1, 1)


def _write_address(path: str, *, month: date, **given: object) -> str:
    return f"{path}?{urlencode({'month': f'{month:%Y-%m}', **{name: value for name, value in given.items() if value}})}"
