"""Parses the parameters of a URL to a view, and lists what could be added to it.

Whatever is wrong in a URL is told at once, and replaced by what is nearest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TypeVar

from reelport import check, similar_names
from reelport.catalog import Dimension, Family, Filter, Grain, Metric, Product
from reelport.catalog.labels import (
    DIMENSION_GROUPS,
    capitalize,
    label_dimension,
    label_family,
    label_filter,
    label_metric,
    label_names,
)
from reelport.check import Rules
from reelport.engine.mapping import find_sources
from reelport.errors import Problem
from reelport.facts.log.freshness import Freshness
from reelport.facts.tables import TABLES
from reelport.language import N_, _
from reelport.query import ReportQuery, parse_day
from reelport.server.explore.view import NONE, Parameter, Sort, View
from reelport.server.explore.view_days import (
    DEFAULT_PRESET,
    EARLIEST,
    Comparison,
    Preset,
    default_grain,
    explain_grain,
    time_dimension,
)
from reelport.wire import Code
from reelport.wording import format_list

_RULES = Rules()
_PRESETS = {preset.word: preset for preset in Preset}
_GRAINS = {grain.name.lower(): grain for grain in Grain if grain is not Grain.MINUTE}
Choice = TypeVar("Choice")
_MOST = 100  # pairs of a URL that are read. Each unknown name costs a search for the one that was meant.
LONGEST = 1000  # characters that a value may have
_EXAMPLE = date(2026, 7, 4)
SHOWN = 80  # characters of a wrong value that a sentence quotes
_KNOWN = frozenset({*map(str, Parameter), *Filter.__members__})


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a view is where its URL says nothing, and the rules that it must keep.

    `freshness` is that of each table that is counted by days. `today` is the day in UTC. With `scopes` None every
    metric may be shown.
    """

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    freshness: Mapping[str, Freshness]
    today: date
    rules: Rules = _RULES
    scopes: frozenset[str] | None = None

    @property
    def view_rules(self) -> Rules:
        """The rules of views: those of reports, for any days. The budget alone limits what is read."""
        return replace(self.rules, days=date.max.toordinal())

    def may_show(self, metric: Metric) -> bool:
        """Whether the scopes are enough for a metric."""
        return self.scopes is None or metric.family.scopes <= self.scopes

    def last_day(self, metrics: Iterable[Metric]) -> date:
        """The last day that is complete in the tables of these metrics; yesterday where none is."""
        days = [each.complete for each in self.find_freshness(metrics) if each.complete is not None]
        return min([*days, self.today]) if days else self.today - timedelta(1)

    def is_current(self, preset: Preset, start: date, end: date) -> bool:
        """Whether these days are those of a preset now, for whichever metrics."""
        days = {*(each.complete for each in self.freshness.values() if each.complete), self.today - timedelta(1)}
        firsts = {EARLIEST, *(each.first for each in self.freshness.values() if each.first)}
        return any(preset.resolve(min(day, self.today), first) == (start, end) for day in days for first in firsts)

    def resolve(self, preset: Preset, metrics: Iterable[Metric]) -> tuple[date, date]:
        """Find the first and last day of a preset for these metrics."""
        metrics = tuple(metrics)
        return preset.resolve(self.last_day(metrics), max(self.first_day(metrics), EARLIEST))

    def complete_day(self, metrics: Iterable[Metric]) -> date | None:
        """The last day that is complete in every table of these metrics; None where one has none."""
        days = [each.complete for each in self.find_freshness(metrics)]
        return None if None in days else min([self.today, *(day for day in days if day is not None)])

    def complete_days(self, metrics: Iterable[Metric]) -> tuple[date, date] | None:
        """The first and the last day that is complete in every table of these metrics, if any."""
        metrics = tuple(metrics)
        last = self.complete_day(metrics)
        return None if last is None else (self.first_day(metrics), last)

    def first_day(self, metrics: Iterable[Metric]) -> date:
        """The day before which a table of these metrics has no complete one: there is no data."""
        return max((each.first or date.min for each in self.find_freshness(metrics)), default=date.min)

    def find_freshness(self, metrics: Iterable[Metric]) -> list[Freshness]:
        """The freshness of each table whose rows these metrics count."""
        read = {source.table for source in find_sources(tuple(metrics))}
        return [self.freshness[name] for name in TABLES if name in read]


@dataclass(frozen=True, slots=True)
class ParsedView:
    """A view, and all that was wrong in its URL; `is_relative` if that lacked its days."""

    view: View
    problems: tuple[Problem, ...] = ()
    is_relative: bool = False


def parse_view(pairs: Iterable[tuple[str, str]], defaults: Defaults) -> ParsedView:
    """Parse the pairs of a URL's query to a view that keeps all rules.

    It never raises for what they hold: each problem has its sentence, and what it is about is left out or replaced.
    """
    url = _read_url(pairs)
    kept, boards = _read_kept(url), _read_boards(url, defaults)
    asked, grain = _read_query(url, defaults, (*boards, *(dimension.name for dimension in kept)))
    # Default leaderboards that don't go with the metrics are nobody's mistake.
    unasked = () if Parameter.DIMENSION in url.texts else boards
    judged = replace(asked, dimensions=tuple(name for name in asked.dimensions if name not in unasked))
    url.problems += check.problems(judged, today=defaults.today, scopes=defaults.scopes, rules=defaults.view_rules)
    view = _make_view(url, _fit(asked, defaults), boards, kept, grain)
    view = replace(view, preset=_find_preset(url, view, defaults))
    view = view if can_pick(view, defaults) else view.without_picking()
    has_days = url.single(Parameter.START) and url.single(Parameter.END)
    is_relative = bool(url.single(Parameter.DAY)) or not has_days
    return ParsedView(view, tuple(url.problems), is_relative)


def can_pick(view: View, defaults: Defaults) -> bool:
    """Whether the values that the view lists go with its metrics and filters."""
    listed = view.list_picked()
    if listed is None or view.picked is None:
        return True
    query, rules = listed.report_query(), defaults.view_rules
    found = check.problems(query, today=defaults.today, scopes=defaults.scopes, rules=rules)
    return view.picked.grain is None and not found


def _read_boards(url: _UrlTexts, defaults: Defaults) -> tuple[str, ...]:
    by = tuple(dimension.name for dimension in defaults.dimensions)
    named = url.names(Parameter.DIMENSION) if Parameter.DIMENSION in url.texts else by
    times = [name for name in named if name in Dimension.__members__ and Dimension[name].grain is not None]
    for name in times:
        sentence = _("%(name)s is no leaderboard: the lines go by time already.", name=name)
        url.report(Parameter.DIMENSION, Code.INVALID_VALUE, sentence)
    return tuple(name for name in named if name not in {*times, NONE})


def _read_query(url: _UrlTexts, defaults: Defaults, dimensions: tuple[str, ...]) -> tuple[ReportQuery, Grain]:
    metrics = url.names(Parameter.METRIC) or tuple(metric.name for metric in defaults.metrics)
    known = known_metrics(metrics) or defaults.metrics
    start, end = _read_days(url, defaults, known)
    grain = _read_grain(url, defaults, known, *(min(day, defaults.today) for day in sorted((start, end))))
    filters = dict.fromkeys(url.names(Parameter.EMPTY), "")
    filters |= {name: url.single(name) for name in Filter.__members__ if url.single(name)}
    product = url.single(Parameter.PRODUCT) or Product.CONTENT.name
    by = tuple(dict.fromkeys((*dimensions, time_dimension(grain).name)))
    return ReportQuery.of(metrics, by, start, end, filters, product), grain


def _read_grain(url: _UrlTexts, defaults: Defaults, metrics: tuple[Metric, ...], start: date, end: date) -> Grain:
    days = (end - start).days + 1
    grain = url.choice(Parameter.GRAIN, _GRAINS) or default_grain(days)
    reason = explain_grain(grain, days, metrics, defaults.rules)
    if reason is not None:
        url.report(Parameter.GRAIN, Code.GRAIN_TOO_FINE, reason)
    return grain if reason is None else default_grain(days)


def list_grains(view: View, rules: Rules) -> list[tuple[str, bool, str | None]]:
    """List the grains of lines, from fine to coarse.

    Of each: its word in a URL, whether it is chosen, and why the view can't have it.
    """
    return [
        (word, grain is view.grain, explain_grain(grain, view.days, view.metrics, rules))
        for word, grain in _GRAINS.items()
    ]


def _read_kept(url: _UrlTexts) -> dict[Dimension, list[str]]:
    kept: dict[Dimension, list[str]] = {}
    for text in url.names(Parameter.KEPT):
        name, _colon, cell = text.partition(":")
        dimension = Dimension.__members__.get(name)
        if dimension is None or dimension.grain is not None:
            sentence = _(
                "%(text)s is no dimension and its value: write it like VISITOR_COUNTRY:FR.", text=repr(text[:SHOWN])
            )
            url.report(Parameter.KEPT, Code.INVALID_VALUE, sentence)
        else:
            kept.setdefault(dimension, []).append(cell)
    return {dimension: kept[dimension] for dimension in Dimension if dimension in kept}


def _read_days(url: _UrlTexts, defaults: Defaults, metrics: tuple[Metric, ...]) -> tuple[date, date]:
    """Read the days: dates, a preset's, or the default range up to a given or complete day."""
    if (day := url.day(Parameter.DAY, EARLIEST)) is not None:
        return day, day
    complete = defaults.last_day(metrics)
    preset = url.choice(Parameter.PRESET, _PRESETS)
    start, end = url.day(Parameter.START, EARLIEST), url.day(Parameter.END, EARLIEST)
    if preset is not None:
        first, last = defaults.resolve(preset, metrics)
        return start or first, end or last
    if end is None:
        end = complete if start is None else max(start, complete)
    return start or max(DEFAULT_PRESET.resolve(end, EARLIEST)[0], EARLIEST), end


def _find_preset(url: _UrlTexts, view: View, defaults: Defaults) -> Preset | None:
    has_days = any(map(url.single, (Parameter.START, Parameter.END, Parameter.DAY)))
    preset = _PRESETS.get(url.single(Parameter.PRESET), None if has_days else DEFAULT_PRESET)
    return preset if preset and defaults.is_current(preset, view.start, view.end) else None


def _fit(asked: ReportQuery, defaults: Defaults) -> ReportQuery:
    """Leave out whatever a problem is about, metrics first: other parts may then be right."""
    query = asked.within(*(min(day, defaults.today) for day in sorted((asked.start, asked.end))))
    query = replace(query, metrics=_keep(query.metrics, "metrics", _find_refused(query, defaults)))
    if not query.metrics:
        query = replace(query, metrics=tuple(metric.name for metric in defaults.metrics))
    refused = _find_refused(query, defaults)
    time = query.dimensions[-1]
    kept = [name for name in _keep(query.dimensions, "dimensions", refused) if name != time]
    return replace(
        query,
        dimensions=(*kept[: defaults.rules.dimensions - 1], time),
        filters=tuple((name, value) for name, value in query.filters if ("filters", name) not in refused),
        product=Product.CONTENT.name if ("product",) in refused else query.product,
    )


def _find_refused(query: ReportQuery, defaults: Defaults) -> frozenset[tuple[str | int, ...]]:
    found = check.problems(query, today=defaults.today, scopes=defaults.scopes, rules=defaults.view_rules)
    return frozenset(problem.path for problem in found)


def _keep(names: tuple[str, ...], part: str, refused: frozenset[tuple[str | int, ...]]) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(names) if (part, place) not in refused)


def _make_view(
    url: _UrlTexts, query: ReportQuery, boards: tuple[str, ...], kept: Mapping[Dimension, list[str]], grain: Grain
) -> View:
    given = known_metrics(query.metrics)
    # A form sends them in the order of its lists: any other order would change with the first field that does.
    metrics = tuple(row for row in Metric if row in given)
    asked = [Dimension[name] for name in query.dimensions[:-1]]
    dimensions = tuple(row for rows in DIMENSION_GROUPS.values() for row in rows if row in asked and row.name in boards)
    filters = dict(query.filters)
    comparison = url.choice(Parameter.COMPARISON, {each.value: each for each in Comparison}) or Comparison.NONE
    sort = url.choice(Parameter.SORT, {each.value: each for each in Sort}) or Sort.VALUE
    if url.single(Parameter.DAY):
        comparison, sort = Comparison.WEEKDAYS, Sort.CHANGE
    ranked_by = url.choice(Parameter.RANKED_BY, Metric.__members__)
    longer = url.choice(Parameter.LONGER, Dimension.__members__)
    shares = url.choice(Parameter.SHARES, Dimension.__members__)
    picked = url.choice(Parameter.PICKED, Dimension.__members__)
    return View(
        metrics,
        dimensions,
        query.start,
        query.end,
        ranked_by if ranked_by in metrics else given[0],
        grain,
        tuple((row, filters[row.name]) for row in Filter if row.name in filters),
        Product[query.product],
        comparison,
        Sort.VALUE if sort is Sort.CHANGE and comparison is Comparison.NONE else sort,
        reverse=url.single(Parameter.REVERSE) == "yes",
        longer=longer if longer in dimensions else None,
        shares=shares if shares in dimensions else None,
        picked=picked,
        search=url.single(Parameter.SEARCH) if picked else "",
        kept=tuple((row, cell) for row, cells in kept.items() if row in asked for cell in cells),
    )


def explain_day(text: str, example: object) -> str:
    """Say that a text is no day, with one that is."""
    return _("%(text)s is no day: write it like %(example)s.", text=repr(text[:SHOWN]), example=example)


def known_metrics(names: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of these names; unknown names are left out."""
    return tuple(Metric[name] for name in names if name in Metric.__members__)


@dataclass(slots=True)
class _UrlTexts:
    """The texts of each known parameter, and the problems found while they are read."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def names(self, parameter: str) -> tuple[str, ...]:
        """The parameter's texts, each once: empty ones come from forms and count for nothing."""
        return tuple(dict.fromkeys(text for text in self.texts.get(parameter, ()) if text))

    def single(self, parameter: str) -> str:
        """The parameter's one text, the last where it has several; empty when it has none."""
        return (self.names(parameter) or ("",))[-1]

    def choice(self, parameter: str, choices: Mapping[str, Choice]) -> Choice | None:
        text = self.single(parameter)
        if text and text not in choices:
            advice = similar_names.advice(similar_names.nearest(text, choices), choices)
            sentence = _("There is no %(noun)s %(name)s.", noun=str(parameter), name=repr(text[:SHOWN]))
            self.report(parameter, Code.INVALID_VALUE, f"{sentence}{advice}")
        return choices.get(text)

    def day(self, parameter: str, earliest: date) -> date | None:
        text = self.single(parameter)
        if not text:
            return None
        try:
            day = parse_day(text)
        except ValueError:
            self.report(parameter, Code.BAD_DATE, explain_day(text, _EXAMPLE))
            return None
        if day < earliest:
            sentence = _("%(day)s is too long ago: numbers begin on %(earliest)s.", day=day, earliest=earliest)
            self.report(parameter, Code.BAD_DATE, sentence)
        return max(day, earliest)

    def report(self, parameter: str, code: Code, sentence: str) -> None:
        self.problems.append(Problem(code, (str(parameter),), sentence))


def _read_url(pairs: Iterable[tuple[str, str]]) -> _UrlTexts:
    """Sort the pairs of a URL's query by name, without those that can't be meant."""
    url = _UrlTexts()
    for place, (name, text) in enumerate(pairs):
        if place == _MOST:
            sentence = _("Only the first %(most)s parameters of the address were read.", most=_MOST)
            url.report("", Code.TOO_LARGE, sentence)
            break
        if name not in _KNOWN:
            advice = similar_names.advice(similar_names.nearest(name, _KNOWN), _KNOWN)
            sentence = _("The address has a parameter %(name)s, which is unknown.", name=repr(name[:SHOWN]))
            url.report("", Code.INVALID_VALUE, f"{sentence}{advice}")
        elif len(text) > LONGEST or "\0" in text:
            sentence = _("The value of %(name)s is no text of up to %(most)s characters.", name=name, most=LONGEST)
            url.report(name, Code.INVALID_VALUE, sentence)
        else:
            url.texts.setdefault(name, []).append(text)
    return url


_DAY = date(2000, 1, 1)
_ANY = "?"  # stands for the value of a filter that takes any text
_MOST_FAMILIES = 4  # families of metrics that a sentence names
Row = Metric | Dimension | Filter


@dataclass(frozen=True, slots=True)
class Option:
    """A row of the catalog that a view has or might have; `reason` says why it can't be added."""

    row: Row
    is_chosen: bool
    reason: str | None = None


def list_options(view: View, rules: Rules) -> Mapping[Row, Option]:
    """List what a view has and could have; what not, with why a report would be refused."""
    query = view.report_query().within(_DAY, _DAY)  # reasons depend on no day
    chosen = {*query.metrics, *(row.name for row in view.dimensions), *dict(query.filters)}
    allowed = check.allowed_with(query, rules)
    # What only narrows the view is in its report already, and may become a leaderboard.
    fitting = {*chosen, *query.dimensions}
    fitting |= {row.name for row in (*allowed.metrics, *allowed.dimensions, *allowed.filters)}
    rows: list[Row] = [*Metric, *(row for row in Dimension if row.grain is None), *Filter]
    reasons = {row: None if row.name in fitting else _explain(query, row, rules) for row in rows}
    return {row: Option(row, row.name in chosen, reason) for row, reason in reasons.items()}


def _explain(query: ReportQuery, row: Row, rules: Rules) -> str:
    """Say why a row can't be added: what its families lack, else what a report would be told."""
    match row:
        case Metric():
            added = replace(query, metrics=(*query.metrics, row.name))
            known = row.family.dimensions(permissive=rules.permissive)
            by = [label_dimension(each) for each in map(Dimension.__getitem__, query.dimensions) if each not in known]
            narrowed = [Filter[name] for name, _value in query.filters]
            filters = [label_filter(each) for each in narrowed if each not in row.family.filters]
            sentence, fitting = N_("%(group)s can't be split by %(names)s. Choose another split for these."), [*Family]
            if not by:
                sentence = N_("%(group)s can't be narrowed by %(names)s. Choose another filter for these.")
            if by or filters:
                return _(sentence, group=capitalize(label_family(row.family)), names=format_list(by or filters))
        case Dimension():
            added = replace(query, dimensions=(*query.dimensions, row.name))
            fitting = [each for each in Family if row in each.dimensions(permissive=rules.permissive)]
            sentence = N_("%(metrics)s can't be split by this. What can: %(fitting)s.")
        case Filter():
            added = replace(query, filters=(*query.filters, (row.name, (*row.choices, _ANY)[0])))
            fitting = [each for each in Family if row in each.filters]
            sentence = N_("%(metrics)s can't be narrowed by this. What can: %(fitting)s.")
    against = [label_metric(Metric[name]) for name in query.metrics if Metric[name].family not in fitting]
    if not against:
        return label_names(next(each.sentence for each in check.problems(added, today=_DAY, rules=rules)))
    named = [label_family(family) for family in fitting[:_MOST_FAMILIES]]
    if len(fitting) > _MOST_FAMILIES:
        named.append(_("%(count)s more", count=len(fitting) - _MOST_FAMILIES))
    return _(sentence, metrics=capitalize(format_list(against)), fitting=format_list(named))
