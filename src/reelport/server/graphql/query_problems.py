"""The problems of an ask that can't be a query yet: names or dates are wrong, and all the rest is told with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.check import Rules
from reelport.errors import Problem, QueryRefused
from reelport.query import ReportQuery
from reelport.server.reports import use_cases

_LISTS = {"metrics": Metric.__members__, "dimensions": Dimension.__members__}
_OTHER_END = {"startDate": "endDate", "endDate": "startDate"}


def find_problems(wire: Mapping[str, Any], scopes: frozenset[str], today: date, rules: Rules) -> tuple[Problem, ...]:
    """Every problem of an `AskPartnerReportFileInput` whose shape is right, its dates right or not."""
    whole = {**wire, **{name: _as_list(wire[name]) for name in _LISTS}}
    wrong: tuple[Problem, ...] = ()
    try:
        query = ReportQuery.from_wire(whole)
    except QueryRefused as refused:
        wrong = refused.problems
        query = ReportQuery.from_wire(_repair_dates(whole, {str(problem.path[0]) for problem in wrong}, today))
    said = {problem.path for problem in wrong}
    found = use_cases.find_problems(query, scopes, today, rules)
    return (*wrong, *(problem for problem in found if problem.path not in said))


def foresee_problems(wire: Mapping[str, Any], scopes: frozenset[str], today: date, rules: Rules) -> tuple[Problem, ...]:
    """The same of one in which there are names that no enum knows: of those nothing is said."""
    unknown = set(_find_unknown(wire))
    return tuple(each for each in find_problems(_drop_unknown(wire), scopes, today, rules) if each.path not in unknown)


def _find_unknown(wire: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    for part, known in _LISTS.items():
        for index, name in enumerate(_as_list(wire[part])):
            if name is not None and name not in known:
                yield part, index


def _drop_unknown(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what no enum knows, each item of a list at its place: a null stands for what is left out."""
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
    """A list, or the list of one that a value stands for in GraphQL."""
    return value if isinstance(value, list) else [value]


def _repair_dates(wire: Mapping[str, Any], wrong: set[str], today: date) -> dict[str, Any]:
    """The same with a date that is wrong set to the other, so that nothing is said of how long the range is."""
    dates = {name: wire[other] if other not in wrong else today for name, other in _OTHER_END.items() if name in wrong}
    return {**wire, **dates}
