"""How wide a text is drawn, at most: estimated, because a page's font is the reader's."""

from __future__ import annotations

import unicodedata

from reelport.charts.chart_labels import split_clusters

SIZE = 12
"""The font size of a chart's texts."""

_WIDTHS = {
    sign: tenths / 10
    for tenths, signs in {
        3: "'Iijl",
        4: " !(),-./:;[\\]ft|",
        5: '"*J`r',
        6: "?L_cksvxyz",
        8: "&CDGHNOQRU",
        9: "#+<=>M^w~",
        10: "%Wm",
        11: "@",
    }.items()
    for sign in signs
}
"""Widths of ASCII in DejaVu Sans and Liberation Sans (Arial), the larger rounded up, by the font's size."""

_OTHER_ASCII, _OTHER, _WIDE = 0.7, 0.9, 1.3
_INVISIBLE = {"Mn", "Me", "Cf"}


def measure_text(text: str, size: float = SIZE) -> float:
    """Return the width that a text takes at most, in units of its chart."""
    return size * sum(map(_measure_sign, text))


def cut_to_room(text: str, room: float, size: float = SIZE) -> str:
    """Cut a text so that it is no wider than `room`, with an ellipsis where it was longer."""
    if measure_text(text, size) <= room:
        return text
    kept, left = "", room - measure_text("…", size)
    for cluster in split_clusters(text):
        left -= measure_text(cluster, size)
        if left < 0:
            break
        kept += cluster
    return f"{kept.rstrip()}…"


def _measure_sign(sign: str) -> float:
    if sign.isascii():
        return _WIDTHS.get(sign, _OTHER_ASCII)
    if unicodedata.category(sign) in _INVISIBLE:
        return 0.0
    wide = unicodedata.east_asian_width(sign) in "WF" or unicodedata.category(sign) == "So"
    return _WIDE if wide else _OTHER
