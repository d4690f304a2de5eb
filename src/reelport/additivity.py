"""How a metric's cells are computed when rows of a report are added up, by the catalog."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product

from reelport.catalog import Difference, Dimension, Distinct, Grain, Metric, Ratio, Rule, Stock, Sum, Total
from reelport.catalog.labels import label_dimension
from reelport.language import N_, _
from reelport.query import ReportQuery
from reelport.wording import format_list


@dataclass(frozen=True, slots=True)
class Added:
    """A cell that is the sum of one asked column, with `digits` digits or more."""

    column: int
    digits: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A cell: `scale` times a sum over others, rounded to `digits`; empty where those are 0.

    `numerator` and `denominator` are numbers of asked columns.
    """

    numerator: int
    denominator: tuple[int, ...]
    scale: int
    digits: int


Cell = Added | Rate


def plan_cell(query: ReportQuery, name: str) -> Cell | None:
    """Return how a metric's cell is computed when rows are added up; None where it can't.

    Uses only the query's own metrics, without asking for others.
    """
    metric = Metric.__members__.get(name)
    if metric is None or not _adds_up(metric, query):
        return None
    columns = list(query.metrics)
    cell = plan_sum(metric, query, columns)
    return cell if len(columns) == len(query.metrics) else None


def plan_group(query: ReportQuery, name: str, kept: Collection[str]) -> Cell | str:
    """Plan a metric's cell for rows with equal cells of the kept dimensions, or say why not."""
    metric = Metric.__members__.get(name)
    if metric is None:
        return _("How it adds up isn't known.")
    over = [Dimension.__members__.get(each) for each in query.dimensions if each not in kept]
    if many := next((row for row in over if row is not None and row.many_valued), None):
        if isinstance(metric.rule, Distinct | Stock):
            return _explain_rule(metric)
        sentence = N_("One fact may stand in several rows, one for each %(dimension)s.")
        return _(sentence, dimension=label_dimension(many))
    grains = [Dimension[each].grain for each in kept if each in Dimension.__members__]
    if isinstance(metric.rule, Stock) and any(grain is not None and grain <= Grain.DAY for grain in grains):
        return Added(query.metrics.index(name), metric.digits)
    return plan_cell(query, name) or _explain_rule(metric)


def list_lacking_parts(query: ReportQuery, name: str, kept: Collection[str]) -> list[str]:
    """List metrics that a query lacks and from which its rate could be computed.

    Empty where that gives no number for rows with equal cells of the kept dimensions either.
    """
    metric, columns = Metric.__members__.get(name), list(query.metrics)
    if metric is None or next(list_rate_parts(metric, query), None) is None:
        return []
    plan_sum(metric, query, columns)
    helps = not isinstance(plan_group(replace(query, metrics=tuple(columns)), name, kept), str)
    return columns[len(query.metrics) :] if helps else []


def advise_adding(query: ReportQuery, name: str, kept: Collection[str]) -> str:
    """Say what to ask for where a metric doesn't add up beside the kept dimensions."""
    if parts := list_lacking_parts(query, name, kept):
        return f"Ask for {format_list(parts)} beside it."
    return f"Ask again without {format_list([each for each in query.dimensions if each not in kept])}."


def _explain_rule(metric: Metric) -> str:
    match metric.rule:
        case Distinct():
            return _("One viewer may be counted in several rows.")
        case Stock():
            return _("What there is on a day doesn't add up over days.")
        case _:
            return _("A rate doesn't add up, and the report lacks the numbers that it is made of.")


def plan_sum(metric: Metric, query: ReportQuery, columns: list[str]) -> Cell:
    """Plan how to compute a metric's merged cell; appends lacking parts to `columns`."""
    if not isinstance(metric.rule, Ratio):
        return Added(query.metrics.index(metric.name), metric.digits)
    parts = min(list_rate_parts(metric, query), key=lambda way: sum(part.name not in columns for part in way))
    columns += dict.fromkeys(part.name for part in parts if part.name not in columns)
    numerator, *denominator = (columns.index(part.name) for part in parts)
    return Rate(numerator, tuple(denominator), metric.rule.scale, metric.rule.digits)


def list_rate_parts(metric: Metric, query: ReportQuery) -> Iterator[tuple[Metric, ...]]:
    """Yield sets of metrics that a rate is computed from: numerator, then denominators."""
    rate = metric.rule
    if not isinstance(rate, Ratio):
        return
    possible = [part for part in Metric if part.additive and _is_askable_with(part, metric, query)]
    above = [part for part in possible if _is_sum(part, rate.numerator)]
    whole = [
        (part,) for part in possible if isinstance(part.rule, Total) and set(part.rule.parts) == set(rate.denominator)
    ]
    apart = product(*([part for part in possible if _is_sum(part, measure)] for measure in rate.denominator))
    for numerator, denominator in product(above, [*whole, *apart]):
        yield (numerator, *denominator)


def _adds_up(metric: Metric, query: ReportQuery) -> bool:
    match metric.rule:
        case Distinct() | Stock():
            return False
        case Ratio():
            return next(list_rate_parts(metric, query), None) is not None
        case _:
            return True


def _is_askable_with(part: Metric, metric: Metric, query: ReportQuery) -> bool:
    """Whether the part goes with the query's dimensions, filters and the metric's scopes."""
    lost_dimensions = {row.name for row in metric.family.dimensions() - part.family.dimensions()}
    lost_filters = {row.name for row in metric.family.filters - part.family.filters}
    return (
        lost_dimensions.isdisjoint(query.dimensions)
        and lost_filters.isdisjoint(name for name, _ in query.filters)
        and part.family.scopes <= metric.family.scopes
    )


def _is_sum(part: Metric, measure: str) -> bool:
    return isinstance(part.rule, Sum) and part.rule.measure == measure


def describe_rule(rule: Rule) -> str:
    """Describe a metric's formula in a few words."""
    match rule:
        case Sum(measure):
            return f"sum of {measure}"
        case Total(parts):
            return "sum of " + " + ".join(parts)
        case Difference(minuend, subtrahend):
            return f"sum of {minuend} - sum of {subtrahend}"
        case Ratio(numerator, denominator, scale):
            factor = f"{scale} x " if scale != 1 else ""
            below = f"({' + '.join(denominator)})" if len(denominator) > 1 else denominator[0]
            return f"{factor}sum of {numerator} / sum of {below}"
        case Distinct(of):
            return f"different values of {of}, without empty ones"
        case Stock(measure):
            return f"latest sum of {measure}"


def describe_adding(rule: Rule) -> str:
    """Describe whether a metric's rows add up."""
    match rule:
        case Sum() | Total() | Difference():
            return "yes"
        case Ratio():
            return "no: divide the sums"
        case Distinct():
            return "no: one value may be in several rows"
        case Stock():
            return "over rows, not over time"
