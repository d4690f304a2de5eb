"""The problems of an ask that can't be a query yet: names or dates are wrong, and all the rest is told with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from reelport import check
from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.check import Rules
from reelport.errors import Problem, QueryRefused
from reelport.query import ReportQuery

_LISTS = ("metrics", "dimensions")
_OTHER_END = {"startDate": "endDate", "endDate": "startDate"}


def problems(wire: Mapping[str, Any], *, today: date, scopes: Collection[str], rules: Rules) -> tuple[Problem, ...]:
    """Every problem of an `AskPartnerReportFileInput` whose shape is right, its names and dates right or not."""
    whole = {**wire, **{name: _listed(wire[name]) for name in _LISTS}}
    wrong: tuple[Problem, ...] = ()
    try:
        query = ReportQuery.from_wire(whole)
    except QueryRefused as refused:
        wrong = refused.problems
        query = ReportQuery.from_wire(_mended(whole, {str(problem.path[0]) for problem in wrong}, today))
    return (*wrong, *check.problems(query, today=today, scopes=scopes, rules=rules))


def knowable(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what no enum knows, each item of a list at its place: a null stands for what is left out."""
    filters = {name: value for name, value in (wire.get("filters") or {}).items() if _filter_is_known(name, value)}
    product = wire.get("product")
    return {
        **wire,
        "metrics": [name if name in Metric.__members__ else None for name in _listed(wire["metrics"])],
        "dimensions": [name if name in Dimension.__members__ else None for name in _listed(wire["dimensions"])],
        "filters": filters,
        "product": product if product in Product.__members__ else None,
    }


def _filter_is_known(name: str, value: object) -> bool:
    return name in Filter.__members__ and (not Filter[name].choices or value in Filter[name].choices)


def _listed(value: object) -> list[Any]:
    """A list, or the list of one that a value stands for in GraphQL."""
    return value if isinstance(value, list) else [value]


def _mended(wire: Mapping[str, Any], wrong: set[str], today: date) -> dict[str, Any]:
    """The same with a date that is wrong set to the other, so that nothing is said of the range."""
    dates = {name: wire[other] if other not in wrong else today for name, other in _OTHER_END.items() if name in wrong}
    return {**wire, **dates}
