"""Explain a report without rows, or with days that may still change."""

from __future__ import annotations

from datetime import date

from reelport.catalog import Filter
from reelport.cli.output.shell_quoting import quote_command
from reelport.query import ReportQuery

_UNKNOWN = "no data that its key may read is of its metrics, days, product and filters"


def explain_no_rows(query: ReportQuery | None, complete: date | None) -> str:
    """Say that a report has no rows, and what explains it: its filters or its days.

    `complete` is the last complete day of the service's data: None where unknown, `date.min` where there is none.
    """
    if query is None:
        return f"the report has no rows: {_UNKNOWN}"
    if complete is not None and complete < query.start and not query.filters:
        return f"the report has no rows: {_describe_complete(complete)}, and it asks for {_format_days(query)}"
    moving = "the latest days may have no data yet" if complete is None else _describe_complete(complete)
    late = f"; {moving}" if complete is None or complete < query.end else ""
    return f"the report has no rows: {_describe_nothing(query)}{late}"


def explain_moving_days(query: ReportQuery | None, complete: date | None) -> str | None:
    """Say that the last days of a report aren't complete; None where they are, or nobody knows.

    `complete` is as for `explain_no_rows`.
    """
    if query is None or complete is None or complete >= query.end:
        return None
    moving = "numbers" if complete < query.start else "numbers of later days"
    return f"{_describe_complete(complete)}: {moving} may still change"


def _describe_nothing(query: ReportQuery) -> str:
    """Say that the key may read nothing of these days, or that the filters let nothing through."""
    place = f"for these metrics of {_format_days(query)} with --product {query.product}"
    if not query.filters:
        return f"there is no data {place} that this key may read"
    filters = quote_command(word for name, value in query.filters for word in ("--filter", f"{name}={value}"))
    spelled = " (a text may have to be spelled as in the data, also in upper and lower case)"
    return f"no data {place} passes {filters}{spelled if _has_text(query) else ''}, or this key may read none of it"


def _has_text(query: ReportQuery) -> bool:
    """Whether a filter has a text, and not only values of a list, such as LIVE."""
    listed = {row.name for row in Filter if row.choices}
    return any(value and name not in listed for name, value in query.filters)


def _describe_complete(complete: date) -> str:
    if complete == date.min:
        return "no day of the service's data for these metrics is complete yet"
    return f"the service's data for these metrics is complete up to {complete}"


def _format_days(query: ReportQuery) -> str:
    return str(query.start) if query.start == query.end else f"{query.start}..{query.end}"
