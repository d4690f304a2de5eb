"""Texts of charts and tables: metrics in words, numbers, labels, and their drawn widths."""

from __future__ import annotations

import re
import unicodedata

from rich.cells import split_graphemes

from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import capitalize, label_dimension, label_metric, spell_name
from reelport.language import _
from reelport.wording import clean_line

_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_RIGHT_TO_LEFT = {"R", "AL", "AN"}

_SIZE = 12  # the font size of a chart's texts

# Widths of ASCII in DejaVu Sans and Liberation Sans (Arial), the larger rounded up, by the font's size.
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

_OTHER_ASCII, _OTHER, _WIDE = 0.7, 0.9, 1.3
_INVISIBLE = {"Mn", "Me", "Cf"}


def name_in_sentence(name: str) -> str:
    """Return a metric's or dimension's wire name as words inside a sentence."""
    if name in Metric.__members__:
        return label_metric(Metric[name])
    return label_dimension(Dimension[name]) if name in Dimension.__members__ else spell_name(name)


def name_as_heading(name: str) -> str:
    """Return a wire name as a heading: Watch time, eCPM (EUR)."""
    return capitalize(name_in_sentence(name))


def make_label(text: str) -> str:
    """Turn an untrusted text into a line without control characters; a word for an empty one."""
    return re.sub(r"\s+", " ", clean_line(unicodedata.normalize("NFC", text))).strip() or _("Unknown")


def isolate(text: str) -> str:
    """Isolate right-to-left text (Unicode), so that it doesn't reorder the text beside it."""
    if any(unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT for sign in text):
        return f"{_ISOLATE}{text}{_END_ISOLATE}"
    return text


def measure_text(text: str, size: float = _SIZE) -> float:
    """The width that a text takes at most, estimated, as its font is the reader's."""
    return size * sum(map(_measure_sign, text))


def cut_to_room(text: str, room: float, size: float = _SIZE) -> str:
    """Cut a text so that it is no wider than `room`, with an ellipsis where it was longer."""
    if measure_text(text, size) <= room:
        return text
    left, kept = room - measure_text("…", size), 0
    for start, end, _cells in split_graphemes(text)[0]:
        left -= measure_text(text[start:end], size)
        if left < 0:
            break
        kept = end
    return f"{text[:kept].rstrip()}…"


def _measure_sign(sign: str) -> float:
    if sign.isascii():
        return _WIDTHS.get(sign, _OTHER_ASCII)
    if unicodedata.category(sign) in _INVISIBLE:
        return 0.0
    wide = unicodedata.east_asian_width(sign) in "WF" or unicodedata.category(sign) == "So"
    return _WIDE if wide else _OTHER
