"""What a shell may complete while names are typed: lists by commas, and only what goes with the names so far."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING

from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.check import Allowed, allowed_with
from reelport.query import ReportQuery

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

Suggestions = Iterator[tuple[str, str]]
"""Each word that may stand there, and what it means."""


def metrics(context: CompletionContext) -> Suggestions:
    """Metrics that go with what is typed already."""
    return _completed(context, _allowed(context, "metrics").metrics)


def dimensions(context: CompletionContext) -> Suggestions:
    """Dimensions that go with what is typed already."""
    return _completed(context, _allowed(context, "dimensions").dimensions)


def filters(context: CompletionContext) -> Suggestions:
    """Filters that go with what is typed already, each with its equals sign and the values that it takes."""
    for row in _allowed(context, "filters").filters:
        for value in row.choices or ("",):
            yield f"{row.name}={value}", row.sentence


def products(context: CompletionContext) -> Suggestions:
    """Every product."""
    return _completed(context, Product)


def fields(_: CompletionContext) -> Suggestions:
    """Every name that can be explained."""
    return ((row.name, row.sentence) for part in (Metric, Dimension, Filter, Product) for row in part)


def profiles(_: CompletionContext) -> Suggestions:
    """The names of the profiles that there are."""
    from reelport.client.settings.profiles import profile_names

    return ((name, "") for name in profile_names(os.environ))


def _completed(context: CompletionContext, rows: Iterable[Metric | Dimension | Product]) -> Suggestions:
    """Each row as the end of the list that is being typed, in the case that is typed."""
    before, comma, begun = context.incomplete.rpartition(",")
    for row in rows:
        yield f"{before}{comma}{row.name.lower() if begun.islower() else row.name}", row.sentence


def _allowed(context: CompletionContext, part: str) -> Allowed:
    """What may be added to the names that are typed, those before the last comma under the cursor included."""
    typed = {name: _typed(context, name) for name in ("metrics", "dimensions", "filters")}
    typed[part] += context.incomplete.rpartition(",")[0].split(",")
    chosen = {name: [word.strip().upper() for word in words if word.strip()] for name, words in typed.items()}
    known = {row.name.upper(): row.name for row in Filter}
    narrowed = {known.get(name, name): "" for word in chosen["filters"] if (name := word.partition("=")[0])}
    return allowed_with(ReportQuery.of(chosen["metrics"], chosen["dimensions"], date.min, date.min, narrowed))


def _typed(context: CompletionContext, name: str) -> list[str]:
    value = context.get("filter" if name == "filters" else name)
    return [word for token in value.raw_tokens for word in token.split(",")] if value else []
