"""Facts about each name of the catalog: its meaning, limits, what it combines with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum

from reelport.additivity import Added, Rate
from reelport.catalog import (
    Dimension,
    Distinct,
    Family,
    Filter,
    Grain,
    Limit,
    Meaning,
    Metric,
    Product,
    Scope,
    Stock,
    Unit,
)
from reelport.check import suggest_name
from reelport.client.ranges.merge_rules import MergePlan, plan_merge
from reelport.errors import MergeRefused, UsageError
from reelport.query import ReportQuery
from reelport.reference import describe_adding, describe_rule

Facts = dict[str, object]
"""Facts about one entry: texts, and lists of names. What doesn't apply is left out."""

Entry = Metric | Dimension | Filter | Product


class Part(StrEnum):
    """A part of the catalog."""

    METRICS = "metrics"
    DIMENSIONS = "dimensions"
    FILTERS = "filters"
    PRODUCTS = "products"


def list_entries(part: Part) -> tuple[Entry, ...]:
    """Return all entries in one part of the catalog, in its order."""
    match part:
        case Part.METRICS:
            return tuple(Metric)
        case Part.DIMENSIONS:
            return tuple(Dimension)
        case Part.FILTERS:
            return tuple(Filter)
        case Part.PRODUCTS:
            return tuple(Product)


def find_entry(name: str) -> Entry:
    """Find an entry by name in any case, with - for _. UsageError with the nearest name."""
    known = {entry.name.upper(): entry for part in Part for entry in list_entries(part)}
    found = known.get(name.strip().upper().replace("-", "_"))
    if found is not None:
        return found
    near = suggest_name(name.strip(), [entry.name for entry in known.values()])
    advice = f"Did you mean {near}?" if near else "See `reelport fields list`."
    raise UsageError(f"There is no metric, dimension, filter or product {name[:80]!r}. {advice}")


def summarize(entry: Entry) -> Facts:
    """Return the facts for one line about an entry."""
    match entry:
        case Metric():
            holds, scopes = str(entry.unit), sorted(entry.family.scopes)
        case Dimension():
            holds, scopes = str(entry.type), []
        case Filter():
            holds, scopes = " or ".join(entry.choices) or "text", []
        case Product():
            holds, scopes = " or ".join(entry.roles), []
    kind = type(entry).__name__.lower()
    facts: Facts = {"kind": kind, "name": entry.name, "holds": holds, "scopes": [str(scope) for scope in scopes]}
    return facts | {"standing": str(entry.standing), "means": entry.sentence}


def explain_entry(entry: Entry) -> Facts:
    """Return all facts about an entry."""
    facts: Facts = {"name": entry.name, "kind": type(entry).__name__.lower(), "means": entry.sentence}
    match entry:
        case Metric():
            return facts | _metric(entry)
        case Dimension():
            return facts | _dimension(entry)
        case Filter():
            return facts | _filter(entry)
        case Product():
            return facts | _product(entry)


def standings_of(entry: Entry) -> dict[str, str]:
    """Return how well each statement about the entry is known."""
    return {str(statement): str(standing) for statement, standing in entry.standings.items()}


def rules_of(entry: Entry) -> list[str]:
    """Return the rules that involve the entry, each with how well it is known."""
    names = {entry.name, entry.family.name} if isinstance(entry, Metric) else {entry.name}
    return [f"{rule.sentence} ({rule.standing})" for rule in Meaning if names & set(rule.about)]


def describe_ranges(metric: Metric) -> str:
    """Describe the ranges that a metric allows, and how windows of longer ones merge."""
    limit = f"{Limit.RANGE_DAYS.default} days"
    try:
        how = plan_merge(ReportQuery.of([metric], [], date.min, date.min), months=True, ordered=True)
    except MergeRefused:
        return f"up to {limit}; longer only with a dimension of time: {_obstacle(metric)}"
    if isinstance(how.cells[0], Added):
        return f"any; beyond {limit} the reports of its windows are added up"
    return f"any; beyond {limit} computed anew from {_parts(how, how.cells[0])}, asked for beside it"


def _obstacle(metric: Metric) -> str:
    match metric.rule:
        case Distinct():
            return "what is in two windows would count twice"
        case Stock():
            return "it is what there is on one day, and days don't add up"
        case _:
            return "no metric gives the parts that it is computed from"


def _parts(how: MergePlan, rate: Rate) -> str:
    above, *below = (how.asked.metrics[column] for column in (rate.numerator, *rate.denominator))
    return f"{above} / {below[0]}" if len(below) == 1 else f"{above} / ({' + '.join(below)})"


def _metric(metric: Metric) -> Facts:
    family = metric.family
    digits = f"decimal, {metric.digits} digits" if metric.digits else "whole number"
    digits += ", from 0 to 1" if metric.unit is Unit.SHARE else ""
    return {
        "unit": str(metric.unit),
        "cells": f"{digits}, in the column {metric.header}",
        "made_of": describe_rule(metric.rule),
        "adds_up": describe_adding(metric.rule),
        "ranges": describe_ranges(metric),
        "scopes": [str(scope) for scope in (Scope.CREATE_REPORTS, *sorted(family.scopes))],
        "family": f"{family}: {family.sentence}",
        "standing": str(metric.standing),
        "standings": standings_of(metric),
        "rules": rules_of(metric),
        "dimensions": [row.name for row in Dimension if row in family.documented],
        "dimensions_inferred": [row.name for row in Dimension if row in family.inferred],
        "filters": [row.name for row in Filter if row in family.filters],
        "goes_with": "every metric that all dimensions of the report go with too",
    }


def _dimension(dimension: Dimension) -> Facts:
    over = "no: one fact is in several rows" if dimension.many_valued else "yes, what adds up"
    return {
        "cells": f"{dimension.type}, in the column {dimension.header}",
        "adds_up": over,
        "ranges": _list_incompatible(dimension),
        "standing": str(dimension.standing),
        "standings": standings_of(dimension),
        "rules": rules_of(dimension),
        "metrics": _metrics(family for family in Family if dimension in family.documented),
        "metrics_inferred": _metrics(family for family in Family if dimension in family.inferred),
        "filters": [row.name for row in Filter if row.dimension is dimension],
    }


def _filter(row: Filter) -> Facts:
    return {
        "values": " or ".join(row.choices) or "a text; the empty text keeps rows whose cell is empty",
        "looks_at": row.dimension.name,
        "standing": str(row.standing),
        "standings": standings_of(row),
        "rules": rules_of(row),
        "metrics": _metrics(family for family in Family if row in family.filters),
    }


def _product(product: Product) -> Facts:
    return {
        "keeps": f"rows of which one of your channels is the {' or the '.join(product.roles)}",
        "standing": str(product.standing),
        "standings": standings_of(product),
        "goes_with": "every metric and every dimension",
    }


def _list_incompatible(dimension: Dimension) -> str:
    if dimension.grain is None:
        if dimension.many_valued:
            return f"up to {Limit.RANGE_DAYS.default} days; longer only beside a dimension of time"
        return "any; of rows with equal cells in several windows, one is made"
    ends = ", which then end with months" if dimension.grain is Grain.MONTH else ""
    return f"any; each row lies in one window{ends}"


def _metrics(families: Iterable[Family]) -> list[str]:
    chosen = set(families)
    return [metric.name for metric in Metric if metric.family in chosen]
