"""Join an export's column of days with its column of hours to moments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from reelport.facts.row_rules import quote_text
from reelport.facts.suggestion.column_names import parse_column_name
from reelport.facts.suggestion.conversions import Conversion, ExportColumn
from reelport.facts.tables import Kind, Table

_HOUR = "([01]?[0-9]|2[0-3])([.]0+)?"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"
_HOURS = {"hour", "hour utc", "utc hour", "event hour", "start hour", "hour of day", "hour of the day", "hr"}
_TIMES = {"time", "time utc", "utc time", "event time", "start time", "time of day"}
_MIDNIGHT = "[T ]00:00(:00([.]0+)?)?( ?(Z|[+]00(:?00)?))?$"


def find_hours(table: Table, columns: Sequence[ExportColumn]) -> ExportColumn | None:
    """Find the column with the hour or time of day of each row, if the table's time has one."""
    if table.time is None or table.column(table.time).kind is not Kind.MOMENT:
        return None
    return next((given for given in columns if _find_form(given)), None)


def _find_form(given: ExportColumn) -> str | None:
    """Find the form of the column's hours; None where it has none, by its name or most values."""
    name = parse_column_name(given.name).whole
    forms = [_HOUR, _CLOCK] if name in _HOURS else [_CLOCK] if name in _TIMES else []
    for form in forms:
        if sum(re.fullmatch(form, value) is not None for value in given.values) * 2 > len(given.values):
            return form
    return None


def add_hours(way: Conversion, hours: ExportColumn) -> Conversion:
    """Add the hours to a way that gives days; a row without a right hour is then refused."""
    if not way.is_day:
        return way
    form = _find_form(hours)
    day = f"regexp_replace(CAST({way.sql} AS VARCHAR), {quote_text(_MIDNIGHT)}, '')"
    time = hours.text if form == _CLOCK else f"lpad(split_part({hours.text}, '.', 1), 2, '0') || ':00'"
    known = f"CASE WHEN regexp_full_match({hours.text}, {quote_text(form or _HOUR)}) THEN {time} ELSE {hours.text} END"
    added = f"with the {'times' if form == _CLOCK else 'hours'} of {hours.name[:80]!r}"
    note = f"{way.note}; {added}" if way.note else added
    return replace(way, sql=f"concat({day}, 'T', {known})", note=note, is_day=False)
