"""The language that pages are written in: its texts, months and signs of numbers.

Every text is English in the code. Studio sets the language of each visit; everything else writes English.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from gettext import NullTranslations

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its code (BCP 47), texts, months and signs of numbers.

    `large` are the signs for 10¹², 10⁹, 10⁶ and 10³, as in 12.3 k.
    `countries` are names by ISO 3166 code: none in the English of programs.
    """

    code: str
    texts: NullTranslations = field(default_factory=NullTranslations, repr=False)
    months: tuple[str, ...] = _MONTHS
    short_months: tuple[str, ...] = tuple(month[:3] for month in _MONTHS)
    short_days: tuple[str, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    group: str = ","
    point: str = "."
    large: tuple[str, str, str, str] = ("T", "B", "M", "k")
    countries: Mapping[str, str] = field(default_factory=dict, repr=False)


ENGLISH = Language("en")
_CURRENT: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def current_language() -> Language:
    """Return the language of this visit; English outside of one."""
    return _CURRENT.get()


def write_in(language: Language) -> None:
    """Write in this language until the end of this task, and in threads that it starts."""
    _CURRENT.set(language)


def _(text: str, /, **values: object) -> str:
    """Translate a text; `%(name)s` stands for the value of that name.

    With values, `%%` is a percent sign.
    """
    found = current_language().texts.gettext(text) if text else ""
    return found % values if values else found


def ngettext(one: str, many: str, n: int, /, **values: object) -> str:
    """Translate a text that counts something; `%(n)s` stands for the number."""
    return current_language().texts.ngettext(one, many, n) % {"n": localize(f"{n:,}"), **values}


def N_(text: str) -> str:  # noqa: N802 - gettext's name, by which texts are found
    """Mark a text that is translated later, where it is shown."""
    return text


def localize(number: str) -> str:
    """Write a number that has English signs, such as 1,234.5, with those of the language."""
    language = current_language()
    return number.translate({ord(","): language.group, ord("."): language.point})
