"""Parse the column names of an export into words and a unit."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
_SIGNS = {"€": " eur ", "$": " usd ", "#": " count ", "%": " percent "}
_UNITS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("ms", "millis", "msec", "milliseconds", "millisecond"), ("seconds", "1000")),
    **dict.fromkeys(("s", "sec", "secs", "seconds", "second"), ("seconds", "1")),
    **dict.fromkeys(("min", "mins", "minutes", "minute", "m"), ("seconds", "60")),
    **dict.fromkeys(("h", "hr", "hrs", "hours"), ("seconds", "3600")),
    **dict.fromkeys(("bytes", "byte", "b"), ("bytes", "1")),
    **dict.fromkeys(("kb", "kilobytes"), ("bytes", "1000")),
    **dict.fromkeys(("mb", "megabytes"), ("bytes", "1000000")),
    **dict.fromkeys(("gb", "gigabytes"), ("bytes", "1000000000")),
    **dict.fromkeys(("tb", "terabytes"), ("bytes", "1000000000000")),
    "kib": ("bytes", "1024"),
    "mib": ("bytes", "1048576"),
    "gib": ("bytes", "1073741824"),
    "tib": ("bytes", "1099511627776"),
    **dict.fromkeys(("eur", "euro", "euros"), ("EUR", "1")),
    **dict.fromkeys(("usd", "dollars", "dollar"), ("USD", "1")),
}
_PARTS = {"milliseconds", "millisecond", "millis", "msec", "ms"}
_IDLE = {"in", "of", "the", "count", "number", "total", "nb", "utc", "at", "sum", "per"}
"""Words that carry little meaning; names are also matched without them."""

_LONGEST = 200
"""Characters of a name that are looked at: no known name is half as long."""


@dataclass(frozen=True, slots=True)
class NamedUnit:
    """A column name's unit: what it measures (`seconds`, `bytes`, `EUR`, `USD`); the factor.

    If `divides` is true the value is divided by the factor (milliseconds), else multiplied.
    """

    of: str
    factor: str
    word: str
    divides: bool = False


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column's name as words, without its unit.

    `bare` also leaves out words that carry little meaning, `whole` includes the unit. `is_micro` is true for money
    in millionths.
    """

    words: str
    bare: str
    whole: str
    unit: NamedUnit | None
    is_micro: bool


def parse_column_name(name: str) -> ColumnName:
    """Parse a name in snake case, camel case, with blanks, or with its unit in brackets."""
    name = name[:_LONGEST]
    for sign, word in _SIGNS.items():
        name = name.replace(sign, word)
    words = [part.lower() for word in _WORD.findall(name) for part in _CAMEL.split(word)]
    is_micro = any(word in {"micros", "micro"} for word in words)
    rest = [word for word in words if word not in {"micros", "micro"}]
    # The last unit word counts. A short one, such as "h" or "mb", counts only at the end of a longer name.
    place = next((at for at in reversed(range(len(rest))) if rest[at] in _UNITS and _is_unit(rest, at)), None)
    unit = None
    if place is not None:
        word = rest.pop(place)
        of, factor = _UNITS[word]
        unit = NamedUnit(of, factor, word, divides=word in _PARTS)
    bare = [word for word in rest if word not in _IDLE] or rest
    return ColumnName(" ".join(rest), " ".join(bare), " ".join(words), unit, is_micro)


def _is_unit(words: list[str], place: int) -> bool:
    """Whether the word is a unit; a short one only at the end of a name of several words."""
    return len(words[place]) > 2 or (place == len(words) - 1 and len(words) > 1)  # noqa: PLR2004 - such as "h" or "mb"
