"""Labels cut and wrapped to columns of a terminal."""

from __future__ import annotations

from rich.cells import cell_len, chop_cells, set_cell_size

from reelport.charts.chart_labels import isolate


def cut_to_width(text: str, width: int) -> str:
    """Cut a text to at most `width` terminal columns, with an ellipsis where it was longer."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def wrap_to_width(text: str, width: int) -> str:
    """Wrap a text to lines of at most `width` terminal columns, at blanks where possible."""
    lines = [""]
    for word in text.split():
        for piece in chop_cells(word, width):
            longer = f"{lines[-1]} {piece}".strip()
            lines[-1:] = [longer] if cell_len(longer) <= width else [lines[-1], piece]
    return "\n".join(map(isolate, lines))
