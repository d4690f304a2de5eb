"""Shell completion of names and profiles, limited to what fits the names typed so far."""

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
"""Each word that may be typed, with its meaning."""


def metrics(context: CompletionContext) -> Suggestions:
    """Complete metrics that can be combined with the names typed already."""
    return _complete_list(context, _allowed_names(context, "metrics").metrics)


def dimensions(context: CompletionContext) -> Suggestions:
    """Complete dimensions that can be combined with the names typed already."""
    return _complete_list(context, _allowed_names(context, "dimensions").dimensions)


def filters(context: CompletionContext) -> Suggestions:
    """Complete filters that can be combined with the names typed already, as NAME=VALUE."""
    for row in _allowed_names(context, "filters").filters:
        for value in row.choices or ("",):
            yield f"{row.name}={value}", row.sentence


def products(context: CompletionContext) -> Suggestions:
    """Complete products."""
    return _complete_list(context, Product)


def fields(_: CompletionContext) -> Suggestions:
    """Complete any name of the catalog."""
    return ((row.name, row.sentence) for part in (Metric, Dimension, Filter, Product) for row in part)


def profiles(_: CompletionContext) -> Suggestions:
    """Complete names of existing profiles."""
    from reelport.client.settings.profiles import list_profile_names

    return ((name, "") for name in list_profile_names(os.environ))


def _complete_list(context: CompletionContext, rows: Iterable[Metric | Dimension | Product]) -> Suggestions:
    """Append each row to the comma list that is being typed, in the same letter case."""
    before, comma, begun = context.incomplete.rpartition(",")
    for row in rows:
        yield f"{before}{comma}{row.name.lower() if begun.islower() else row.name}", row.sentence


def _allowed_names(context: CompletionContext, part: str) -> Allowed:
    """Return what may be added to the typed names, those before the last comma included."""
    typed = {name: _typed_names(context, name) for name in ("metrics", "dimensions", "filters")}
    typed[part] += context.incomplete.rpartition(",")[0].split(",")
    chosen = {name: [word.strip().upper() for word in words if word.strip()] for name, words in typed.items()}
    known = {row.name.upper(): row.name for row in Filter}
    narrowed = {known.get(name, name): "" for word in chosen["filters"] if (name := word.partition("=")[0])}
    return allowed_with(ReportQuery.of(chosen["metrics"], chosen["dimensions"], date.min, date.min, narrowed))


def _typed_names(context: CompletionContext, name: str) -> list[str]:
    value = context.get("filter" if name == "filters" else name)
    return [word for token in value.raw_tokens for word in token.split(",")] if value else []
