"""Names the files that users save by what is in them: reports, exported tables, charts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import normalize

from reelport.catalog import Dimension, Metric, Product
from reelport.query import ReportQuery, filter_place

_ACCENTS = re.compile("[\u0300-\u036f]")
_MOST_NAMED = 3
"""Metrics, or dimensions, that a file is named for."""
_LONGEST_STEM = 180  # bytes of a file's name before its days: file systems take 255 in all


def name_file(query: ReportQuery, ending: str) -> str:
    """Name a report's file, such as `views-by-day_demo-news_2026-11-02_2026-11-29.csv`."""
    labels = {row.name: row.label for row in (*Metric, *Dimension)}
    metrics, by = ([labels.get(name, name) for name in names] for names in (query.metrics, query.dimensions))
    what = _join_words(metrics)
    product = [] if query.product == Product.CONTENT.name else [query.product]
    values = [value for _, value in sorted(query.filters, key=filter_place)]
    limits = [part for text in (*product, *values) if (part := _write_part(text))]
    split = f"{what}-by-{_join_words(by)}" if by else what
    stem = "_".join([split, *limits]).encode()[:_LONGEST_STEM].decode(errors="ignore").rstrip("-_")
    return f"{stem}_{query.start}_{query.end}.{ending}"


def _join_words(labels: Sequence[str]) -> str:
    shown = (
        labels if len(labels) <= _MOST_NAMED else [*labels[: _MOST_NAMED - 1], f"{len(labels) - _MOST_NAMED + 1} more"]
    )
    listed = " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)
    return _write_part(listed, longest=len(" and ".join(shown)))


def _write_part(text: str, longest: int = 40) -> str:
    """Write a text with letters and digits alone, without accents."""
    plain = _ACCENTS.sub("", normalize("NFKD", text))
    return re.sub(r"[\W_]+", "-", normalize("NFC", plain).lower())[:longest].strip("-")
