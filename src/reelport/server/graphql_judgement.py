"""The problems of an ask that can't be a query yet: names or dates are wrong, and all the rest is told with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from reelport import check
from reelport.check import Rules
from reelport.errors import Problem, QueryRefused
from reelport.query import ReportQuery

_LISTS = ("metrics", "dimensions")
_OTHER_END = {"startDate": "endDate", "endDate": "startDate"}


def problems(wire: Mapping[str, Any], *, today: date, scopes: Collection[str], rules: Rules) -> tuple[Problem, ...]:
    """Every problem of an `AskPartnerReportFileInput` whose shape is right, its names and dates right or not."""
    lists = {name: wire[name] if isinstance(wire[name], list) else [wire[name]] for name in _LISTS}
    whole = {**wire, **lists}
    wrong: tuple[Problem, ...] = ()
    try:
        query = ReportQuery.from_wire(whole)
    except QueryRefused as refused:
        wrong = refused.problems
        query = ReportQuery.from_wire(_mended(whole, {str(problem.path[0]) for problem in wrong}, today))
    return (*wrong, *check.problems(query, today=today, scopes=scopes, rules=rules))


def _mended(wire: Mapping[str, Any], wrong: set[str], today: date) -> dict[str, Any]:
    """The same with a date that is wrong set to the other, so that nothing is said of the range."""
    dates = {name: wire[other] if other not in wrong else today for name, other in _OTHER_END.items() if name in wrong}
    return {**wire, **dates}
