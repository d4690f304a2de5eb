"""PNG of charts: drawn without a network, with squares for what no font has, and a note on them."""

from __future__ import annotations

from reelport.charts import Bar, BarChart, LineChart, Series
from reelport.charts.png_renderer import render_png, replace_texts


def test_what_cannot_be_drawn_is_replaced_and_noted() -> None:
    """In labels, names and notes; numbers stay with their bars."""
    chart = BarChart("Views", (Bar("🎬 one", 3), Bar("🎉 one", 2, 1)), notes=("visitorDomainGroup = 🎉 x",))
    drawn = replace_texts(chart, lambda text: text.replace("🎬", "□").replace("🎉", "□"))
    assert isinstance(drawn, BarChart)
    assert drawn.bars == (Bar("□ one", 3), Bar("□ one", 2, 1))
    assert drawn.notes == ("visitorDomainGroup = □ x", "□ stands for what no font here can draw.")
    lines = LineChart("Views", ("2026-07-01",), (Series("🎬", (1,)),), comparison=Series("🎉", (2,)))
    replaced = replace_texts(lines, lambda _: "□")
    assert isinstance(replaced, LineChart)
    assert replaced.comparison == Series("□", (2,))
    assert replace_texts(LineChart("Views", (), ()), str).notes == ()


def test_a_png_is_the_same_each_time() -> None:
    """Twice as wide as its SVG."""
    chart = LineChart("Views", ("2026-07-01", "2026-07-02"), (Series("Views", (1, 2)),))
    picture = render_png(chart)
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == 1600
    assert render_png(chart) == picture
