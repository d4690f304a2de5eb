"""Says a query in plain words, and names its file.

Such as `Views by day and video for demo-news, 1 to 4 July 2026`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.catalog.labels import capitalize, label_dimension, label_filter, label_metric
from reelport.query import ReportQuery
from reelport.wording import clean_line, format_days, format_list

_MOST_NAMED = 3
"""Metrics, or dimensions, that a file is named for."""


def describe_query(query: ReportQuery) -> str:
    """Say which report a query asks for, without a full stop.

    Names that aren't in the catalog stay as they are.
    """
    metrics = [label_metric(Metric[name]) if name in Metric.__members__ else name for name in query.metrics]
    by = [label_dimension(Dimension[name]) if name in Dimension.__members__ else name for name in query.dimensions]
    split = f" by {format_list(by)}" if by else " in all"
    limits = "".join(_list_limits(query))
    return f"{capitalize(format_list(metrics))}{split}{limits}, {format_days(query.start, query.end)}"


def name_file(query: ReportQuery, ending: str) -> str:
    """Name the file of a report for what is in it.

    Such as `views-by-day_demo-news_2026-11-02_2026-11-29.csv`.
    """
    what = _join_words([label_metric(Metric[name]) if name in Metric.__members__ else name for name in query.metrics])
    by = [label_dimension(Dimension[name]) if name in Dimension.__members__ else name for name in query.dimensions]
    product = [] if query.product == Product.CONTENT.name else [query.product]
    values = [value for _, value in sorted(query.filters, key=_place)]
    limits = [part for text in (*product, *values) if (part := _write_part(text))]
    split = f"{what}-by-{_join_words(by)}" if by else what
    return f"{'_'.join([split, *limits, str(query.start), str(query.end)])}.{ending}"


def _join_words(labels: Sequence[str]) -> str:
    """Join labels to a part of a file's name: of many the first, and how many more there are."""
    shown = (
        labels if len(labels) <= _MOST_NAMED else [*labels[: _MOST_NAMED - 1], f"{len(labels) - _MOST_NAMED + 1} more"]
    )
    return _write_part(format_list(shown), longest=len(" and ".join(shown)))


def _write_part(text: str, longest: int = 40) -> str:
    """Write a text with letters and digits alone, as every file system takes them."""
    return re.sub(r"[\W_]+", "-", text.lower())[:longest].strip("-")


def _list_limits(query: ReportQuery) -> Iterator[str]:
    """Say what narrows the query: its product, then its filters in the catalog's order."""
    if query.product in Product.__members__ and Product[query.product] is not Product.CONTENT:
        yield f" of {Product[query.product].phrase}"
    for name, value in sorted(query.filters, key=_place):
        label = label_filter(Filter[name]) if name in Filter.__members__ else name
        if not value:
            yield f" without a {label}"
        elif name == Filter.channelSlug.name:
            yield f" for {clean_line(value)}"
        else:
            yield f" with {label} {clean_line(value)}"


def _place(pair: tuple[str, str]) -> tuple[int, str]:
    known = list(Filter.__members__)
    return known.index(pair[0]) if pair[0] in known else len(known), pair[0]
