"""Finds every problem of a report query that has wrong names or dates.

So all problems are reported together, also those that the right names would still have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.check import Rules
from reelport.errors import Problem, QueryRefused
from reelport.query import ReportQuery
from reelport.server.reports import ask

_LISTS = {"metrics": Metric.__members__, "dimensions": Dimension.__members__}
_OTHER_END = {"startDate": "endDate", "endDate": "startDate"}


def find_problems(wire: Mapping[str, Any], scopes: frozenset[str], today: date, rules: Rules) -> tuple[Problem, ...]:
    """Find every problem of a well-shaped `AskPartnerReportFileInput`, wrong dates too."""
    whole = {**wire, **{name: _as_list(wire[name]) for name in _LISTS}}
    wrong: tuple[Problem, ...] = ()
    try:
        query = ReportQuery.from_wire(whole)
    except QueryRefused as refused:
        wrong = refused.problems
        query = ReportQuery.from_wire(_repair_dates(whole, {str(problem.path[0]) for problem in wrong}, today))
    reported = {problem.path for problem in wrong}
    found = ask.find_problems(query, scopes, today, rules)
    return (*wrong, *(problem for problem in found if problem.path not in reported))


def foresee_problems(wire: Mapping[str, Any], scopes: frozenset[str], today: date, rules: Rules) -> tuple[Problem, ...]:
    """Find the problems of an input with unknown enum names, apart from those names themselves."""
    unknown = set(_find_unknown(wire))
    return tuple(each for each in find_problems(_drop_unknown(wire), scopes, today, rules) if each.path not in unknown)


def _find_unknown(wire: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    for part, known in _LISTS.items():
        for index, name in enumerate(_as_list(wire[part])):
            if name is not None and name not in known:
                yield part, index


def _drop_unknown(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Remove unknown names from an input; a null replaces those in lists, to keep indexes."""
    filters = {name: value for name, value in (wire.get("filters") or {}).items() if _is_known_filter(name, value)}
    product = wire.get("product")
    return {
        **wire,
        **{part: [name if name in known else None for name in _as_list(wire[part])] for part, known in _LISTS.items()},
        "filters": filters,
        "product": product if product in Product.__members__ else None,
    }


def _is_known_filter(name: str, value: object) -> bool:
    return name in Filter.__members__ and (not Filter[name].choices or value in Filter[name].choices)


def _as_list(value: object) -> list[Any]:
    """Return a list as it is, and a single value as a list of one, as GraphQL coerces it."""
    return value if isinstance(value, list) else [value]


def _repair_dates(wire: Mapping[str, Any], wrong: set[str], today: date) -> dict[str, Any]:
    """Replace a wrong date by the other one, so that no problem of the range is reported."""
    dates = {name: wire[other] if other not in wrong else today for name, other in _OTHER_END.items() if name in wrong}
    return {**wire, **dates}
