"""Queries that Hypothesis draws."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from hypothesis import strategies as st

from reelport.catalog import Dimension, Metric, Product
from reelport.query import ReportQuery

from . import sample

ADDITIVE = [metric for metric in Metric if metric.additive]


@st.composite
def queries(draw: st.DrawFn, metrics: Iterable[Metric] = tuple(Metric)) -> ReportQuery:
    """A query that `check` would accept, over some of the worlds' days."""
    first = draw(st.sampled_from(list(metrics)))
    alike = [each for each in metrics if each.family is first.family or draw(st.integers(0, 20)) == 0]
    asked = draw(
        st.lists(st.sampled_from(alike), unique=True, max_size=2).map(
            lambda more: list({first: 0, **dict.fromkeys(more, 0)})
        )
    )
    families = {metric.family for metric in asked}
    row = frozenset(Dimension).intersection(*(family.dimensions(permissive=True) for family in families))
    dimensions = draw(st.lists(st.sampled_from(sorted(row, key=str)), unique=True, max_size=4))
    days = sorted(draw(st.tuples(_days(), _days())))
    product = draw(st.sampled_from(list(Product)))
    return ReportQuery.of(asked, dimensions, days[0], days[1], product=product)


def _days() -> st.SearchStrategy[date]:
    return st.integers(0, (sample.LAST - sample.FIRST).days).map(lambda days: sample.FIRST + timedelta(days=days))
