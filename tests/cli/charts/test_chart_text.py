"""Labels in columns of a terminal: cut, or wrapped whole."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.charts.test_chart_labels import TEXTS

from reelport.charts.chart_labels import make_label, split_clusters
from reelport.cli.charts.chart_text import cut_to_width, wrap_to_width


@given(TEXTS, st.integers(2, 40))
def test_no_label_is_wider_than_it_may_be(text: str, width: int) -> None:
    """Columns of a terminal are counted; what is left is the label's beginning."""
    label = make_label(text)
    short = cut_to_width(label, width)
    assert cell_len(short) <= width
    assert cut_to_width(short, width) == short
    assert "".join(split_clusters(label)) == label
    if short != label:
        assert label.startswith(short.removesuffix("…"))


@given(TEXTS, st.integers(2, 40))
def test_a_wrapped_label_is_whole(text: str, width: int) -> None:
    """Its lines are no wider than they may be, and hold everything but blanks."""
    label = make_label(text)
    lines = wrap_to_width(label, width).split("\n")
    assert max(map(cell_len, lines)) <= width
    assert re.sub(r"[\s\u2068\u2069]", "", "".join(lines)) == re.sub(r"\s", "", label)
    assert wrap_to_width("A night at the ministry", 11) == "A night at\nthe\nministry"
