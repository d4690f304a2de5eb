"""Names of the catalog's rows as people read them, such as `video` for a VIDEO_ID."""

from __future__ import annotations

import re
from functools import cache

from reelport.catalog.dimensions import Dimension
from reelport.catalog.filters import Filter
from reelport.catalog.metrics import Metric

_CAPITALS = {word.lower(): word for word in ("AI", "eCPM", "eRPM", "EUR", "GDPR", "IVT", "URL", "USD", "VOD", "VTR")}
_WHOLE = {"nb": "number of", "impression": "impressions", "sec": "seconds", "buyertype": "buyer type"}
_IMPLIED = ("_id", "_slug")
"""Endings of dimensions that only say how a thing is named."""


def label_metric(metric: Metric) -> str:
    """Name a metric inside a sentence."""
    return spell_name(metric.header)


def label_dimension(dimension: Dimension) -> str:
    """Name a dimension inside a sentence: the thing, not the column that names it."""
    name = dimension.header
    return spell_name(next((name.removesuffix(end) for end in _IMPLIED if name.endswith(end)), name))


def label_filter(filter_: Filter) -> str:
    """Name a filter inside a sentence: as the dimension that it compares."""
    return label_dimension(filter_.dimension)


def label_names(sentence: str) -> str:
    """Say sentences with labels where they have names of the catalog."""
    labels = _list_labels()
    labelled = re.sub(r"\b\w+\b", lambda found: labels.get(found[0], found[0]), sentence)
    return "".join(map(capitalize, re.split(r"(?<=[.?!] )", labelled)))


@cache
def _list_labels() -> dict[str, str]:
    """List the labels of all names: a metric's, where a dimension has the same."""
    filters = {row.name: label_filter(row) for row in Filter}
    dimensions = {row.name: label_dimension(row) for row in Dimension}
    return filters | dimensions | {row.name: label_metric(row) for row in Metric}


def capitalize(label: str) -> str:
    """Begin a sentence or a heading with a label."""
    return label if label.split(" ", maxsplit=1)[0] in _CAPITALS.values() else label[:1].upper() + label[1:]


def spell_name(name: str) -> str:
    """Write a name of the wire as words, whether or not the catalog has it."""
    words = name.lower().split("_")
    return " ".join(_CAPITALS.get(word) or _WHOLE.get(word) or word for word in words)
