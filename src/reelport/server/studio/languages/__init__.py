"""The languages of Studio's pages: English, and one for each `.po` file in this folder."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from gettext import GNUTranslations
from importlib import resources
from types import MappingProxyType

from babel import Locale, negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from reelport.language import ENGLISH, Language

_SUFFIX = ".po"
_LARGE = ("1000000000000", "1000000000", "1000000", "1000")
_LONGEST_HEADER = 1000
_ACCEPTED = re.compile(r"(?:^|,)([a-z0-9-]+)(?:;q=(\d\.?\d*))?(?=,|$)")  # a language, and how much it is wanted


@cache
def load_languages() -> Mapping[str, Language]:
    """Load every language, by its code; English comes first."""
    folder = resources.files(__package__)
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(_SUFFIX))
    found = {name.removesuffix(_SUFFIX): folder.joinpath(name).read_bytes() for name in names}
    others = {code: _make_language(code, content) for code, content in found.items()}
    english = replace(ENGLISH, countries=Locale.parse(ENGLISH.code).territories)
    return MappingProxyType({ENGLISH.code: english, **others})


def choose_language(chosen: str | None, accepted: str) -> Language:
    """Choose the user's language, else the best of an Accept-Language, else English."""
    languages = load_languages()
    if chosen and chosen in languages:
        return languages[chosen]
    by_name = {code.lower(): language for code, language in languages.items()}
    found = _ACCEPTED.findall(accepted[:_LONGEST_HEADER].lower().replace(" ", ""))
    ranked = sorted(((float(rank or 1), name) for name, rank in found), key=lambda each: -each[0])
    wanted = [name for rank, name in ranked if rank > 0]
    return by_name[negotiate_locale(wanted, list(by_name), sep="-") or ENGLISH.code]


def name_language(code: str) -> str:
    """Name a language in itself: Français."""
    name = Locale.parse(code).get_display_name(code) or code
    return name[:1].upper() + name[1:]


def _make_language(code: str, content: bytes) -> Language:
    catalog, compiled, locale = read_po(io.BytesIO(content), locale=code), io.BytesIO(), Locale.parse(code)
    write_mo(compiled, catalog)
    compiled.seek(0)
    symbols = locale.number_symbols["latn"]
    patterns = locale.compact_decimal_formats["short"]["other"]
    return Language(
        code,
        GNUTranslations(compiled),
        tuple(locale.months["format"]["wide"][month] for month in range(1, 13)),
        tuple(locale.months["format"]["abbreviated"][month] for month in range(1, 13)),
        tuple(locale.days["format"]["abbreviated"][day] for day in range(7)),
        symbols["group"],
        symbols["decimal"],
        tuple(patterns[size].pattern.strip("0\N{NO-BREAK SPACE} ") for size in _LARGE),
        locale.territories,
    )
