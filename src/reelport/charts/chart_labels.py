"""Texts of charts and tables: metrics in words, numbers, labels, and their drawn widths."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal

from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import capitalize, label_dimension, label_metric, spell_name
from reelport.language import _
from reelport.wording import clean_line

_JOINER = "\u200d"
_REGIONS = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_EMOJI_VARIANT = "\ufe0f"
_MOST_MARKS = 2
_OVERLAY = 1  # Unicode's combining class of marks that strike a letter through
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


def format_number(value: Decimal | float | None) -> str:
    """Format a number for people: 1,234,567 or 0.42; a dash for None."""
    if value is None:
        return "-"
    whole = value == int(value) or not -1000 < value < 1000  # noqa: PLR2004 - a grand
    return f"{value:,.0f}" if whole else f"{value:,.2f}"


def make_label(text: str) -> str:
    """Turn an untrusted text into a line of the same width in every terminal and renderer.

    An emoji that is joined of several becomes its first; skin tones, variants, strokes through letters and marks beyond
    two a letter go.
    """
    line = re.sub(r"\s+", " ", clean_line(unicodedata.normalize("NFC", text))).strip()
    return "".join(map(_simplify, split_clusters(line))) or _("Unknown")


def isolate(text: str) -> str:
    """Isolate right-to-left text (Unicode), so that it doesn't reorder the text beside it."""
    if any(unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT for sign in text):
        return f"{_ISOLATE}{text}{_END_ISOLATE}"
    return text


def split_clusters(text: str) -> Iterator[str]:
    """Split a text into visible characters: a letter with its marks, a joined emoji, a flag."""
    cluster = ""
    for sign in text:
        if cluster and not _extends(cluster, sign):
            yield cluster
            cluster = ""
        cluster += sign
    if cluster:
        yield cluster


def _extends(cluster: str, sign: str) -> bool:
    if ord(sign) in _REGIONS:
        return len(cluster) == 1 and ord(cluster) in _REGIONS
    joined = cluster[-1] == _JOINER and unicodedata.category(cluster[0]) == "So"
    return joined or _is_mark(sign) or sign == _JOINER or ord(sign) in _SKIN_TONES


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign).startswith("M")


def _simplify(cluster: str) -> str:
    """Remove from a cluster what terminals and fonts draw with different widths."""
    base, rest = cluster[0], cluster[1:]
    if ord(base) in _REGIONS:
        return cluster
    if unicodedata.category(base) == "So":
        return base
    marks = [sign for sign in rest if sign != _EMOJI_VARIANT and unicodedata.combining(sign) != _OVERLAY]
    return base + "".join(marks[:_MOST_MARKS] if all(map(_is_mark, marks)) else marks)


def measure_text(text: str, size: float = _SIZE) -> float:
    """The width that a text takes at most, estimated, as its font is the reader's."""
    return size * sum(map(_measure_sign, text))


def cut_to_room(text: str, room: float, size: float = _SIZE) -> str:
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
