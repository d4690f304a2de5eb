"""Every reason to refuse a query, all at once; and what may still be added to one.

Both ends run it: the client before anything is sent, the service before anything is made.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from reelport.catalog import Dimension, Family, Filter, Limit, Metric, Product, Standing
from reelport.errors import Problem
from reelport.query import NULL, ReportQuery
from reelport.wire import Code, Scope

_NAMED = 4
"""How many names a sentence lists before it says how many more there are."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a service holds a query to: its limits, and whether inferred rows of the matrix are permissive.

    `strict` is for a Reelport service. Towards another host a name that this version doesn't know, and a pair
    that the vendor's documentation doesn't rule out, are warnings.
    """

    dimensions: int = Limit.DIMENSIONS.default
    days: int = Limit.RANGE_DAYS.default
    permissive: bool = False
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may still be added to a query without making it wrong."""

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    filters: tuple[Filter, ...]
    products: tuple[Product, ...]


def problems(
    query: ReportQuery,
    *,
    today: date,
    scopes: Collection[str] | None = None,
    rules: Rules = Rules(),
) -> tuple[Problem, ...]:
    """Every problem of the query, in the order of its parts; empty when there is none.

    `today` is the day of UTC. With `scopes` None nothing is said of scopes.
    """
    metrics = [Metric[name] for name in dict.fromkeys(query.metrics) if name in Metric.__members__]
    dimensions = [Dimension[name] for name in dict.fromkeys(query.dimensions) if name in Dimension.__members__]
    found: list[Problem] = []
    found += _names(query.metrics, "metrics", "metric", Metric.__members__, Code.UNKNOWN_METRIC, rules)
    found += _no_metrics(query, rules)
    found += _names(query.dimensions, "dimensions", "dimension", Dimension.__members__, Code.UNKNOWN_DIMENSION, rules)
    found += _too_many(query, rules)
    found += _pairs(query, metrics, dimensions, rules)
    found += _range(query, today, rules)
    found += _filters(query, metrics, rules)
    found += _product(query, rules)
    if scopes is not None:
        found += _scopes(query, metrics, scopes)
    return tuple(found)


def allowed_with(partial: ReportQuery, rules: Rules = Rules()) -> Allowed:
    """What may still be added to `partial`, given its metrics, dimensions and filters; its dates are not looked at.

    As long as it has no metric, nothing is given that would leave it without one that goes with all the rest.
    Unknown names in `partial` are passed over.
    """
    metrics = [Metric[name] for name in partial.metrics if name in Metric.__members__]
    dimensions = {Dimension[name] for name in partial.dimensions if name in Dimension.__members__}
    filters = {Filter[name] for name, _ in partial.filters if name in Filter.__members__}
    room = len(partial.dimensions) < rules.dimensions
    fitting = {family for family in Family if dimensions <= _row(family, rules) and filters <= family.filters}
    if metrics:
        row = _common(metrics, rules)
        narrowed = frozenset(Filter).intersection(*(metric.family.filters for metric in metrics))
    else:
        row = frozenset[Dimension]().union(*(_row(family, rules) for family in fitting))
        narrowed = frozenset[Filter]().union(*(family.filters for family in fitting))
    return Allowed(
        tuple(metric for metric in Metric if metric not in metrics and metric.family in fitting),
        tuple(dimension for dimension in Dimension if room and dimension in row - dimensions),
        tuple(each for each in Filter if each in narrowed - filters),
        tuple(Product),
    )


def scopes_of(query: ReportQuery) -> frozenset[Scope]:
    """The scopes that the metrics of a query need beside the one to ask."""
    known = [Metric[name] for name in query.metrics if name in Metric.__members__]
    return frozenset[Scope]().union(*(metric.family.scopes for metric in known))


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, or None when none is near."""
    by_upper = {each.upper(): each for each in names}
    close = difflib.get_close_matches(name[:100].upper(), by_upper, n=1, cutoff=0.6)
    return by_upper[close[0]] if close else None


def _no_metrics(query: ReportQuery, rules: Rules) -> Iterator[Problem]:
    if not query.metrics:
        fits = next((metric.name for metric in allowed_with(query, rules).metrics), None)
        none = " None goes with all of these dimensions and filters." if fits is None else ""
        yield Problem(Code.NO_METRICS, ("metrics",), f"Ask for at least one metric.{none}", fits)


def _names(
    names: tuple[str, ...], part: str, noun: str, known: Iterable[str], code: Code, rules: Rules
) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name == NULL:
            yield Problem(Code.EMPTY_ITEM, (part, index), f"A null is no {noun}: leave it out.")
        elif name not in known:
            yield _unknown(name, (part, index), noun, known, code, rules)
        elif name in names[:index]:
            yield Problem(Code.DUPLICATE, (part, index), f"{name} is named twice: once is enough.")


def _unknown(
    name: str, path: tuple[str | int, ...], noun: str, known: Iterable[str], code: Code, rules: Rules
) -> Problem:
    near, all_ = nearest(name, known), list(known)
    few = f" There are {', '.join(all_)}." if len(all_) <= _NAMED else ""
    advice = f" Did you mean {near}?" if near else few
    what = f"There is no {noun} {name[:80]!r}." if rules.strict else f"No {noun} {name[:80]!r} is known here."
    return Problem(code, path, f"{what}{advice}", near, fatal=rules.strict)


def _too_many(query: ReportQuery, rules: Rules) -> Iterator[Problem]:
    extra = len(query.dimensions) - rules.dimensions
    if extra > 0:
        sentence = f"{len(query.dimensions)} dimensions are more than {rules.dimensions}: leave out {extra}."
        yield Problem(Code.TOO_MANY_DIMENSIONS, ("dimensions",), sentence)


def _pairs(query: ReportQuery, metrics: list[Metric], dimensions: list[Dimension], rules: Rules) -> Iterator[Problem]:
    for dimension in dimensions:
        against = [metric for metric in metrics if dimension not in _row(metric.family, rules)]
        if against:
            path = ("dimensions", query.dimensions.index(dimension.name))
            yield _pair(path, dimension, against, metrics, dimensions, rules)


def _pair(
    path: tuple[str | int, ...],
    dimension: Dimension,
    against: list[Metric],
    metrics: list[Metric],
    dimensions: list[Dimension],
    rules: Rules,
) -> Problem:
    fatal = rules.strict or any(_ruled_out(metric, dimension) for metric in against)
    grain = max(metric.family.grain for metric in against)
    if dimension.grain is not None and dimension.grain < grain:
        coarse = next(each for each in Dimension if each.grain == grain)
        finest = f"can't be had by {dimension}: {coarse} is the finest."
        known = f"isn't known to be had by {dimension}: {coarse} is the finest that is documented."
        sentence = f"{_listed(against)} {finest if fatal else known}"
        return Problem(Code.GRAIN_TOO_FINE, path, sentence, None if coarse in dimensions else coarse.name, fatal)
    near = nearest(dimension.name, (each.name for each in _common(metrics, rules) - set(dimensions)))
    fits = [metric for metric in Metric if dimension in _row(metric.family, rules)]
    advice = f" {near} would work." if near else f" It goes with {_listed(fits)}."
    what = "can't be split" if fatal else "isn't known to be split"
    sentence = f"{_listed(against)} {what} by {dimension}.{advice}"
    return Problem(Code.INCOMPATIBLE_PAIR, path, sentence, near, fatal)


def _ruled_out(metric: Metric, dimension: Dimension) -> bool:
    """Whether the vendor's documentation says no: it knows the dimension, and lists all that goes with the metric."""
    return metric.family.standing is dimension.standing is Standing.DOCUMENTED


def _range(query: ReportQuery, today: date, rules: Rules) -> Iterator[Problem]:
    if query.days < 1:
        sentence = f"The end, {query.end}, lies before the start, {query.start}."
        yield Problem(Code.RANGE_REVERSED, ("endDate",), sentence)
    start = min(query.start, today)
    last = date.fromordinal(min(start.toordinal() + rules.days - 1, today.toordinal()))
    if query.days > rules.days:
        sentence = (
            f"{query.days} days are more than {rules.days}: end on {last} at the latest, and ask again from there."
        )
        yield Problem(Code.RANGE_TOO_LONG, ("endDate",), sentence, last.isoformat())
    for name, day, near in (("startDate", query.start, start), ("endDate", query.end, last)):
        if day > today:
            sentence = f"{day} lies in the future: today is {today} (UTC)."
            yield Problem(Code.RANGE_IN_FUTURE, (name,), sentence, near.isoformat())


def _filters(query: ReportQuery, metrics: list[Metric], rules: Rules) -> Iterator[Problem]:
    for name, value in query.filters:
        path = ("filters", name)
        if name not in Filter.__members__:
            yield _unknown(name, path, "filter", Filter.__members__, Code.UNKNOWN_FILTER, rules)
            continue
        row = Filter[name]
        if row.choices and value not in row.choices:
            yield _unknown(value, path, f"{name}", row.choices, Code.UNKNOWN_FILTER_VALUE, rules)
        against = [metric for metric in metrics if row not in metric.family.filters]
        if against:
            what = f"can't be narrowed by {name}." if rules.strict else f"isn't known to be narrowed by {name}."
            sentence = f"{_listed(against)} {what}"
            yield Problem(Code.INCOMPATIBLE_FILTER, path, sentence, fatal=rules.strict)


def _product(query: ReportQuery, rules: Rules) -> Iterator[Problem]:
    if query.product not in Product.__members__:
        known = Product.__members__
        yield _unknown(query.product, ("product",), "product", known, Code.UNKNOWN_PRODUCT, rules)


def _scopes(query: ReportQuery, metrics: list[Metric], scopes: Collection[str]) -> Iterator[Problem]:
    for metric in metrics:
        lacking = sorted(metric.family.scopes - set(scopes))
        if lacking:
            sentence = f"{metric} needs the scope {' and '.join(lacking)}, which the token lacks."
            path = ("metrics", query.metrics.index(metric.name))
            yield Problem(Code.SCOPE_MISSING, path, sentence, " ".join(lacking))


def _row(family: Family, rules: Rules) -> frozenset[Dimension]:
    return family.dimensions(permissive=rules.permissive)


def _common(metrics: list[Metric], rules: Rules) -> frozenset[Dimension]:
    return frozenset(Dimension).intersection(*(_row(metric.family, rules) for metric in metrics))


def _listed(rows: list[Metric]) -> str:
    names = [row.name for row in rows]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
