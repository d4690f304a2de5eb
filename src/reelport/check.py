"""Finds every reason to refuse a query at once, and what may still be added to one.

Client and service both run it: the client before it sends a query, the service before it queues a report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from reelport.catalog import Dimension, Family, Filter, Limit, Metric, Product, Scope, Standing
from reelport.errors import Problem
from reelport.language import N_, _
from reelport.query import NULL, ReportQuery
from reelport.similar_names import advice, suggest_dimension, suggest_name
from reelport.wire import Code
from reelport.wording import format_list

_MOST_NAMED = 4
"""Most names that a sentence lists before it says how many more there are."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A service's rules for queries: limits, and whether inferred rows are permissive.

    `strict` is for a Reelport service. For another host an unknown name, and a pair that the vendor's documentation
    doesn't rule out, are warnings only.
    """

    dimensions: int = Limit.DIMENSIONS.default
    days: int = Limit.RANGE_DAYS.default
    permissive: bool = False
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may still be added to a query without making it invalid."""

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
    """Find every problem of the query, in the order of its parts; empty when there is none.

    `today` is the day in UTC. With `scopes` None, scopes are not checked.
    """
    metrics = [Metric[name] for name in dict.fromkeys(query.metrics) if name in Metric.__members__]
    dimensions = [Dimension[name] for name in dict.fromkeys(query.dimensions) if name in Dimension.__members__]
    found: list[Problem] = []
    fitting_metrics, fitting_dimensions = _find_fitting_names(query, metrics, dimensions, rules)
    found += _check_names(
        query.metrics, "metrics", N_("metric"), Metric.__members__, Code.UNKNOWN_METRIC, rules, fitting_metrics
    )
    if not query.metrics:
        fits = next((metric.name for metric in allowed_with(query, rules).metrics), None)
        sentence = _("Ask for at least one metric.")
        if fits is None:
            sentence += " " + _("None goes with all of these dimensions and filters.")
        found.append(Problem(Code.NO_METRICS, ("metrics",), sentence, fits))
    found += _check_names(
        query.dimensions,
        "dimensions",
        N_("dimension"),
        Dimension.__members__,
        Code.UNKNOWN_DIMENSION,
        rules,
        fitting_dimensions,
    )
    if (extra := len(query.dimensions) - rules.dimensions) > 0:
        sentence = _(
            "%(number)s dimensions are more than %(most)s: leave out %(extra)s.",
            number=len(query.dimensions),
            most=rules.dimensions,
            extra=extra,
        )
        found.append(Problem(Code.TOO_MANY_DIMENSIONS, ("dimensions",), sentence))
    found += _check_pairs(query, metrics, dimensions, rules)
    found += _check_range(query, today, rules)
    found += _check_filters(query, metrics, rules)
    if query.product not in (known := Product.__members__):
        found.append(_make_name_problem(query.product, ("product",), N_("product"), known, Code.UNKNOWN_PRODUCT, rules))
    if scopes is not None:
        found += _check_scopes(query, metrics, scopes)
    return tuple(found)


def allowed_with(partial: ReportQuery, rules: Rules = Rules()) -> Allowed:
    """Find what may still be added to `partial`, given its metrics, dimensions and filters.

    Dates are ignored. While it has no metric, only what leaves at least one metric possible is returned. Unknown
    names are ignored.
    """
    metrics = [Metric[name] for name in partial.metrics if name in Metric.__members__]
    dimensions = {Dimension[name] for name in partial.dimensions if name in Dimension.__members__}
    filters = {Filter[name] for name, _ in partial.filters if name in Filter.__members__}
    room = len(partial.dimensions) < rules.dimensions
    fitting = {
        family
        for family in Family
        if dimensions <= _get_dimensions(family, rules.permissive) and filters <= family.filters
    }
    if metrics:
        row = _intersect_dimensions(_collect_families(metrics), rules.permissive)
        narrowed = frozenset(Filter).intersection(*(metric.family.filters for metric in metrics))
    else:
        row = frozenset[Dimension]().union(*(_get_dimensions(family, rules.permissive) for family in fitting))
        narrowed = frozenset[Filter]().union(*(family.filters for family in fitting))
    return Allowed(
        tuple(metric for metric in Metric if metric not in metrics and metric.family in fitting),
        tuple(dimension for dimension in Dimension if room and dimension in row - dimensions),
        tuple(each for each in Filter if each in narrowed - filters),
        tuple(Product),
    )


def scopes_of(query: ReportQuery) -> frozenset[Scope]:
    """The scopes that the metrics of a query need, besides the one to ask for reports."""
    known = [Metric[name] for name in query.metrics if name in Metric.__members__]
    return frozenset[Scope]().union(*(metric.family.scopes for metric in known))


def _find_fitting_names(
    query: ReportQuery, metrics: list[Metric], dimensions: list[Dimension], rules: Rules
) -> tuple[frozenset[str], frozenset[str]]:
    if len(metrics) == len(query.metrics) and len(dimensions) == len(query.dimensions):
        return frozenset(), frozenset()  # no name will be suggested
    split = frozenset(dimensions)
    free = _intersect_dimensions(_collect_families(metrics), rules.permissive) - split
    fitting = [metric.name for metric in Metric if split <= _get_dimensions(metric.family, rules.permissive)]
    return frozenset(fitting).difference(query.metrics), frozenset(dimension.name for dimension in free)


def _check_names(
    names: tuple[str, ...],
    part: str,
    noun: str,
    known: Collection[str],
    code: Code,
    rules: Rules,
    fitting: Collection[str],
) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name == NULL:
            yield Problem(Code.EMPTY_ITEM, (part, index), _("A null is no %(noun)s: leave it out.", noun=_(noun)))
        elif name not in known:
            yield _make_name_problem(name, (part, index), noun, known, code, rules, fitting)
        elif name in seen:
            yield Problem(Code.DUPLICATE, (part, index), _("%(name)s is named twice: once is enough.", name=name))
        seen.add(name)


def _make_name_problem(
    name: str,
    path: tuple[str | int, ...],
    noun: str,
    known: Collection[str],
    code: Code,
    rules: Rules,
    fitting: Collection[str] = (),
) -> Problem:
    near = suggest_name(name, known, fitting)
    what = N_("There is no %(noun)s %(name)s.") if rules.strict else N_("No %(noun)s %(name)s is known here.")
    what = _(what, noun=_(noun), name=repr(name[:80]))
    return Problem(code, path, f"{what}{advice(near, known)}", near, fatal=rules.strict)


def _check_pairs(
    query: ReportQuery, metrics: list[Metric], dimensions: list[Dimension], rules: Rules
) -> Iterator[Problem]:
    families = _collect_families(metrics)
    others = frozenset(each.name for each in _intersect_dimensions(families, rules.permissive).difference(dimensions))
    against: dict[frozenset[Family], str] = {}  # Cached: the same families refuse many dimensions.
    for dimension in dimensions:
        refusing = families & _find_refusing_families(dimension, rules.permissive)
        if refusing:
            if refusing not in against:
                against[refusing] = _format_metrics([metric for metric in metrics if metric.family in refusing])
            yield _make_pair_problem(query, dimension, refusing, against[refusing], others, rules)


def _make_pair_problem(
    query: ReportQuery,
    dimension: Dimension,
    refusing: frozenset[Family],
    against: str,
    others: frozenset[str],
    rules: Rules,
) -> Problem:
    path = ("dimensions", query.dimensions.index(dimension.name))
    # Without strict rules a pair is ruled out if the vendor documents both, and doesn't list them together.
    documented = Standing.DOCUMENTED
    fatal = rules.strict or any(family.standing is dimension.standing is documented for family in refusing)
    if dimension.grain is not None and dimension.grain < (grain := max(family.grain for family in refusing)):
        coarse = next(each for each in Dimension if each.grain == grain).name
        finest = N_("%(metrics)s can't be had by %(dimension)s: %(coarse)s is the finest.")
        known = N_("%(metrics)s isn't known to be had by %(dimension)s: %(coarse)s is the finest that is documented.")
        sentence = _(finest if fatal else known, metrics=against, dimension=dimension, coarse=coarse)
        near = None if coarse in query.dimensions else coarse
        return Problem(Code.GRAIN_TOO_FINE, path, sentence, near, fatal)
    near = suggest_dimension(dimension.name, others)
    advice = (
        _("%(names)s would work.", names=near)
        if near
        else _(
            "%(dimension)s goes with %(metrics)s.",
            dimension=dimension,
            metrics=_format_metrics(_find_fitting_metrics(dimension, rules.permissive)),
        )
    )
    what = (
        N_("%(metrics)s can't be split by %(dimension)s.")
        if fatal
        else N_("%(metrics)s isn't known to be split by %(dimension)s.")
    )
    sentence = f"{_(what, metrics=against, dimension=dimension)} {advice}"
    return Problem(Code.INCOMPATIBLE_PAIR, path, sentence, near, fatal)


def _check_range(query: ReportQuery, today: date, rules: Rules) -> Iterator[Problem]:
    if query.days < 1:
        sentence = _("The end, %(end)s, lies before the start, %(start)s.", end=query.end, start=query.start)
        yield Problem(Code.RANGE_REVERSED, ("endDate",), sentence)
    start = min(query.start, today)
    last = date.fromordinal(min(start.toordinal() + rules.days - 1, today.toordinal()))
    if query.days > rules.days:
        sentence = _(
            "%(days)s days are more than %(most)s: end on %(last)s at the latest, and ask again from there.",
            days=query.days,
            most=rules.days,
            last=last,
        )
        yield Problem(Code.RANGE_TOO_LONG, ("endDate",), sentence, last.isoformat())
    for name, day, near in (("startDate", query.start, start), ("endDate", query.end, last)):
        if day > today:
            sentence = _("%(day)s lies in the future: today is %(today)s (UTC).", day=day, today=today)
            yield Problem(Code.RANGE_IN_FUTURE, (name,), sentence, near.isoformat())


def _check_filters(query: ReportQuery, metrics: list[Metric], rules: Rules) -> Iterator[Problem]:
    for name, value in query.filters:
        path = ("filters", name)
        if name not in Filter.__members__:
            yield _make_name_problem(name, path, N_("filter"), Filter.__members__, Code.UNKNOWN_FILTER, rules)
            continue
        row = Filter[name]
        if row.choices and value not in row.choices:
            yield _make_name_problem(value, path, name, row.choices, Code.UNKNOWN_FILTER_VALUE, rules)
        against = [metric for metric in metrics if row not in metric.family.filters]
        if against:
            common = frozenset(Filter).intersection(*(family.filters for family in _collect_families(metrics)))
            free = [each.name for each in Filter if each in common and each.name not in dict(query.filters)]
            what = (
                N_("%(metrics)s can't be narrowed by %(filter)s.")
                if rules.strict
                else N_("%(metrics)s isn't known to be narrowed by %(filter)s.")
            )
            none = N_("No other filter goes with all of the metrics.")
            advice = _("%(names)s would work.", names=", ".join(free)) if free else _(none)
            near = free[0] if len(free) == 1 else None
            sentence = f"{_(what, metrics=_format_metrics(against), filter=name)} {advice}"
            yield Problem(Code.INCOMPATIBLE_FILTER, path, sentence, near, fatal=rules.strict)


def _check_scopes(query: ReportQuery, metrics: list[Metric], scopes: Collection[str]) -> Iterator[Problem]:
    held = frozenset(scopes)
    for metric in metrics:
        if not metric.family.scopes <= held:
            lacking = sorted(metric.family.scopes - held)
            sentence = _(
                "%(metric)s needs the scope %(scopes)s, which the token lacks.",
                metric=metric,
                scopes=format_list(lacking),
            )
            path = ("metrics", query.metrics.index(metric.name))
            yield Problem(Code.SCOPE_MISSING, path, sentence, " ".join(lacking))


def _collect_families(metrics: Iterable[Metric]) -> frozenset[Family]:
    return frozenset(metric.family for metric in metrics)


@cache
def _get_dimensions(family: Family, permissive: bool) -> frozenset[Dimension]:
    return family.dimensions(permissive=permissive)


def _intersect_dimensions(families: Iterable[Family], permissive: bool) -> frozenset[Dimension]:
    return frozenset(Dimension).intersection(*(_get_dimensions(family, permissive) for family in families))


@cache
def _find_refusing_families(dimension: Dimension, permissive: bool) -> frozenset[Family]:
    return frozenset(family for family in Family if dimension not in _get_dimensions(family, permissive))


@cache
def _find_fitting_metrics(dimension: Dimension, permissive: bool) -> tuple[Metric, ...]:
    return tuple(metric for metric in Metric if dimension in _get_dimensions(metric.family, permissive))


def _format_metrics(rows: Sequence[Metric]) -> str:
    more = len(rows) - _MOST_NAMED
    names = ", ".join(row.name for row in rows[:_MOST_NAMED])
    return _("%(names)s and %(more)s more", names=names, more=more) if more > 0 else names
