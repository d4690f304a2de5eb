"""PNG of charts: drawn without a network, in the machine's fonts."""

from __future__ import annotations

import pytest

from reelport.charts.chart_types import Bar, BarChart, LineChart, Series
from reelport.charts.drawing import draws_texts, explain_absence, render_png


def test_a_png_is_the_same_each_time() -> None:
    """Twice as wide as its SVG."""
    chart = LineChart("Views", ("2026-07-01", "2026-07-02"), (Series("Views", (1, 2)),))
    picture = render_png(chart)
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == 1600
    assert render_png(chart) == picture


@pytest.mark.parametrize("title", ["Crème brûlée", "Видеоклип", "العنوان بالعربية", "動画のタイトル", "🎬"])
def test_a_title_leaves_a_mark_in_the_picture(title: str) -> None:
    """Its letters, or a box for each that no font has: never nothing."""
    assert render_png(BarChart("Views", (Bar(title, 3),))) != render_png(BarChart("Views", (Bar("\u200b", 3),)))


def test_a_machine_without_fonts_draws_no_text() -> None:
    """The renderer leaves texts out then; where it draws letters, PNG is offered."""
    assert not draws_texts(without_fonts=True)
    assert draws_texts()
    assert explain_absence() is None
