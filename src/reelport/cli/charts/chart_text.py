"""Texts of charts and tables: names in words, numbers, and labels that take as much room as was counted for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal

from rich.cells import cell_len, chop_cells

from reelport.cli.output.terminal_text import plain

UNDRAWABLE = "□"
EMPTY = "(empty)"

_ACRONYMS: dict[str, str] = {
    **{word: word.upper() for word in ("ai", "eur", "fps", "gdpr", "id", "ivt", "url", "usd", "vod", "vtr")},
    "ecpm": "eCPM",
    "erpm": "eRPM",
}
_JOINER, _NON_JOINER = "\u200d", "\u200c"
_LIGATURES = re.compile("f(?=[fil])")
"""Letters that a font may draw as one: our renderer then takes no other letter of the text from a second font."""

_ROUNDS = 3
_REGIONS = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_EMOJI_VARIANT = "\ufe0f"
_MOST_MARKS = 2
_OVERLAY = 1
"""The class of marks that strike a letter through."""

_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_RIGHT_TO_LEFT = {"R", "AL", "AN"}


def phrase(name: str) -> str:
    """Return a name of the wire as words inside a sentence: time watched seconds, eCPM EUR."""
    return " ".join(_ACRONYMS.get(word, word) for word in name.lower().split("_"))


def words(name: str) -> str:
    """Return a name of the wire as words of their own: Time watched seconds, eCPM EUR."""
    text = phrase(name)
    return text if text.startswith(("eCPM", "eRPM")) else text[:1].upper() + text[1:]


def number(value: Decimal | float | None) -> str:
    """Return a number for people: 1,234,567 or 0.42; a dash for None."""
    if value is None:
        return "-"
    whole = value == int(value) or not -1000 < value < 1000  # noqa: PLR2004 - a grand
    return f"{value:,.0f}" if whole else f"{value:,.2f}"


def make_label(text: str) -> str:
    """Return a text from outside as one line in which every terminal and renderer sees the same width.

    An emoji that is joined of several becomes its first; skin tones, variants, strokes through letters and marks beyond
    two a letter go.
    """
    line = re.sub(r"\s+", " ", plain(unicodedata.normalize("NFC", text))).strip()
    return "".join(map(_simplify, split_clusters(line))) or EMPTY


def cut(text: str, width: int) -> str:
    """Return a text that takes at most so many columns of a terminal, with an ellipsis where it was longer."""
    if cell_len(text) <= width:
        return text
    kept, room = "", width - 1
    for cluster in split_clusters(text):
        room -= cell_len(cluster)
        if room < 0:
            break
        kept += cluster
    return kept.rstrip() + "…"


def wrap(text: str, width: int) -> str:
    """Return a text on lines of at most so many columns of a terminal, broken at blanks where that is possible."""
    lines = [""]
    for word in text.split():
        for piece in chop_cells(word, width):
            longer = f"{lines[-1]} {piece}".strip()
            lines[-1:] = [longer] if cell_len(longer) <= width else [lines[-1], piece]
    return "\n".join(map(isolate, lines))


def isolate(text: str) -> str:
    """Return a text that doesn't reorder what stands beside it: right-to-left writing is put into an isolate."""
    if any(unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT for sign in text):
        return f"{_ISOLATE}{text}{_END_ISOLATE}"
    return text


def replace_undrawable(text: str, find_missing: Callable[[str], Collection[str]]) -> str:
    """Return a text with a square for each character that can't be drawn; flags become the letters of their region.

    `find_missing` tells the characters of a text that are boxes in its picture; a mark goes with its letter, so that
    nothing is drawn over anything. Letters with spacing marks, as those of India, are always squares: our renderer
    sets them over each other.
    """
    drawn = "".join(map(_replace_unsettable, split_clusters(text)))
    drawn = drawn if drawn.isascii() else _LIGATURES.sub(f"f{_NON_JOINER}", drawn)
    for _ in range(_ROUNDS):
        missing = find_missing(drawn)
        if not missing:
            return isolate(drawn)
        drawn = "".join(_without(missing, cluster) for cluster in split_clusters(drawn))
    return "".join(each if each.isascii() else UNDRAWABLE for each in split_clusters(drawn))


def split_clusters(text: str) -> Iterator[str]:
    """Give the characters as they are seen: a letter with its marks, an emoji with all that is joined to it, a flag."""
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
    """The cluster without what terminals and fonts disagree about."""
    base, rest = cluster[0], cluster[1:]
    if ord(base) in _REGIONS:
        return cluster
    if unicodedata.category(base) == "So":
        return base
    marks = [sign for sign in rest if sign != _EMOJI_VARIANT and unicodedata.combining(sign) != _OVERLAY]
    return base + "".join(marks[:_MOST_MARKS] if all(map(_is_mark, marks)) else marks)


def _replace_unsettable(cluster: str) -> str:
    if ord(cluster[0]) in _REGIONS:
        return "".join(chr(ord(sign) - _REGIONS.start + ord("A")) for sign in cluster)
    return UNDRAWABLE if any(unicodedata.category(sign) == "Mc" for sign in cluster) else cluster


def _without(missing: Collection[str], cluster: str) -> str:
    """A cluster without the marks that are missing; for its letter the plain one that it stands for, or a square."""
    if cluster[0] not in missing:
        return "".join(sign for sign in cluster if sign not in missing)
    plainer = unicodedata.normalize("NFKC", cluster[0])
    return plainer if plainer.isascii() and plainer.isprintable() else UNDRAWABLE
