"""Summarize a report's file: totals, days and largest rows, as exact as the file itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

from reelport.additivity import advise_adding, plan_group
from reelport.catalog import Dimension, Grain, Metric
from reelport.charts.report_chart import Formula, Group, Key, Number, find_grain, list_places
from reelport.client.results.tables import Table
from reelport.errors import UsageError
from reelport.query import ReportQuery
from reelport.wording import clean_line

MOST_ROWS = 500_000
"""Rows that are read for a summary, which holds the sums of each group in memory."""
_LONGEST_TEXT = 200
_REPEATED = "Several rows of the report are equal in all dimensions."
_DAY = len("2026-01-31")
_PRECISION = 100
"""Digits within which sums are exact: more than any column holds."""

Numbers = Mapping[str, str]
"""A number by metric, as text, so that no reader rounds it."""


@dataclass(slots=True)
class _Sums:
    """Rows of one group: count, numbers of the last one, sums (None: no row had a number)."""

    rows: int = 0
    last: Sequence[Number | None] = ()
    sums: Sequence[Number | None] = ()

    def add(self, numbers: Sequence[Number | None]) -> None:
        # Most groups have a single row, whose numbers they share with it.
        self.sums = [_add(*pair) for pair in zip(self.sums, numbers, strict=True)] if self.rows else numbers
        self.last, self.rows = numbers, self.rows + 1

    def value(self, place: int, formula: Formula) -> Decimal | None:
        """The metric at this place over all rows; a single row's own number."""
        parts, own = [self.sums[each] for each in list_places(formula)], self.last[place]
        if self.rows > 1 and (formula is None or None in parts):
            return None
        sums = tuple(Decimal(part or 0) for part in parts)
        return Group(self.rows, None if own is None else Decimal(own), sums).value(formula)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows by the cells of some dimensions, and the formula by which each metric adds up.

    Where one doesn't, its formula is None, and `reasons` says why. If the groups are times, `period` names them. A day
    is the beginning of its hours.
    """

    dimensions: tuple[str, ...]
    period: str | None
    found: Mapping[Key, _Sums]
    formulas: Mapping[str, Formula]
    reasons: Mapping[str, str]

    def numbers(self, key: Key) -> dict[str, Decimal | None]:
        """The metrics of one group."""
        sums = self.found[key]
        return {name: sums.value(place, formula) for place, (name, formula) in enumerate(self.formulas.items())}

    def adds_up(self, name: str) -> bool:
        """Whether the metric has a number of each group: it adds up, or no group has several rows."""
        return self.formulas[name] is not None or all(sums.rows == 1 for sums in self.found.values())


def summarize(
    table: Table,
    *,
    metric: str | None = None,
    by: Sequence[str] | None = None,
    limit: int = 10,
    days: int = 31,
    most: int = MOST_ROWS,
) -> dict[str, Any]:
    """Sum a report's rows in all, by day or month, and by some dimensions.

    Of the groups by dimensions the `limit` largest are given. `metric` orders them, by default the first that can; `by`
    are dimensions of the report, by default all but times. Of days or months the last `days` are given. A rate is
    computed from the sums of its parts. Where rows don't add up, there is a reason and no number, and no order by it.
    Raises UsageError for names that the report lacks, and for a report of more than `most` rows.
    """
    names = [column.name.upper() for column in table.columns]
    query = ReportQuery.of(
        [name for name in names if name in Metric.__members__],
        [name for name in names if name not in Metric.__members__],
        date.min,
        date.min,
    )
    chosen = _choose(metric, query.metrics, "metric") if metric else None
    times = {name: grain for name in query.dimensions if (grain := find_grain(name)) is not None}
    kept = tuple(_choose(name, query.dimensions, "dimension") for name in by or ())
    kept = kept if by is not None else tuple(name for name in query.dimensions if name not in times)
    planned = [_plan_groups(query, ())]
    if times:
        fine = {name: grain for name, grain in times.items() if grain <= Grain.DAY}
        time = max(fine, key=fine.__getitem__) if fine else min(times, key=times.__getitem__)
        planned.append(_plan_groups(query, (time,), period="day" if fine else time.lower()))
    planned += [_plan_groups(query, kept)] if kept and query.metrics else []
    with localcontext(prec=_PRECISION):
        whole, *others = _read_groups(table, names, query, planned, most)
        totals = _format_numbers(whole.numbers(())) if () in whole.found else {}
        result: dict[str, Any] = {"totals": totals, "not_added_up": dict(whole.reasons)}
        for groups in others:
            if groups.period is not None:
                part, described = f"by_{groups.period}", _describe_times(groups, groups.period, days)
            else:
                part, described = "top", _describe_top(groups, chosen, limit)
            other = {} if groups.reasons == whole.reasons else {"not_added_up": dict(groups.reasons)}
            result[part] = described | other
        return result


def _read_groups(
    table: Table, names: Sequence[str], query: ReportQuery, groups: Sequence[Groups], most: int
) -> list[Groups]:
    sums: list[dict[Key, _Sums]] = [{} for _ in groups]
    places = [[names.index(name) for name in each.dimensions] for each in groups]
    metrics = [names.index(name) for name in query.metrics]
    for number, row in enumerate(table.tuples()):
        if number >= most:
            raise UsageError(
                f"The report has more than {most:,} rows. Ask for a report with fewer dimensions, and sum that up."
            )
        numbers = [cell if isinstance(cell := row[place], int | Decimal) else None for place in metrics]
        for each, found, keys in zip(groups, sums, places, strict=True):
            key = tuple(["" if row[place] is None else str(row[place]) for place in keys])
            found.setdefault((key[0][:_DAY],) if each.period == "day" else key, _Sums()).add(numbers)
    return [replace(each, found=found) for each, found in zip(groups, sums, strict=True)]


def _plan_groups(query: ReportQuery, kept: tuple[str, ...], *, period: str | None = None) -> Groups:
    """Plan how each metric adds up over dimensions that aren't kept, and hours of days."""
    kept_whole = [name for name in kept if period != "day" or find_grain(name) is Grain.DAY]
    over = [name for name in query.dimensions if name not in kept_whole]
    unknown = next((name for name in over if name not in Dimension.__members__), None)
    plans = {name: plan_group(query, name, kept_whole) for name in query.metrics}
    if unknown is not None:
        plans = dict.fromkeys(query.metrics, f"The report has a column {unknown} that is not in the catalog.")
    lacking = {name: plan for name, plan in plans.items() if isinstance(plan, str)}
    reasons = {name: f"{plan} {advise_adding(query, name, kept_whole)}" for name, plan in lacking.items()}
    formulas = {name: None if isinstance(plan, str) else plan for name, plan in plans.items()}
    return Groups(kept, period, {}, formulas, reasons if over else {})


def _describe_times(groups: Groups, period: str, most: int) -> dict[str, Any]:
    keys = sorted(groups.found)
    shown = [{period: key[0], **_format_numbers(groups.numbers(key))} for key in keys[-most:]]
    return {f"{period}s": len(keys), "shown": shown}


def _describe_top(groups: Groups, metric: str | None, limit: int) -> dict[str, Any]:
    """List the groups with the largest numbers, if the metric adds up, and count those without."""
    metric = metric or next((name for name in groups.formulas if groups.adds_up(name)), next(iter(groups.formulas)))
    values = {key: groups.numbers(key)[metric] for key in groups.found}
    described = {"metric": metric, "by": groups.dimensions, "groups": len(values)}
    if not groups.adds_up(metric):
        return described | {"shown": [], "not_ranked": groups.reasons.get(metric, _REPEATED)}
    ranked = sorted((key for key in values if values[key] is not None), key=lambda key: (-(values[key] or 0), key))
    shown = [
        {**dict(zip(groups.dimensions, map(_shorten, key), strict=True)), **_format_numbers(groups.numbers(key))}
        for key in ranked[:limit]
    ]
    without = len(values) - len(ranked)
    return described | {"shown": shown} | ({"groups_without_number": without} if without else {})


def _format_numbers(numbers: Mapping[str, Decimal | None]) -> Numbers:
    return {name: f"{value:f}" for name, value in numbers.items() if value is not None}


def _shorten(cell: str) -> str:
    text = clean_line(cell)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _choose(name: str, known: Sequence[str], noun: str) -> str:
    found = name.strip().upper()
    if found not in known:
        raise UsageError(f"The report has no {noun} {name[:80]!r}, but {', '.join(known) or 'none'}.")
    return found


def _add(one: Number | None, other: Number | None) -> Number | None:
    return one if other is None else other if one is None else one + other
