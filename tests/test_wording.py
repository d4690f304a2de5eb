"""Sentences are read at once: numbers have the noun that fits, and a docstring begins with a short line."""

from __future__ import annotations

import ast
from datetime import date
from pathlib import Path

import pytest

import reelport
from reelport.wording import format_count, format_days, is_name

PACKAGE = Path(reelport.__file__).parent


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_one_is_singular_and_all_else_plural(number: int, said: str) -> None:
    """None is plural too, and thousands are set apart."""
    assert format_count(number, "row") == said


def test_an_irregular_plural_is_given() -> None:
    """A noun with words behind it isn't made plural by an s."""
    said = [format_count(number, "key with its tokens", "keys with their tokens") for number in (1, 2)]
    assert said == ["1 key with its tokens", "2 keys with their tokens"]


def test_every_docstring_begins_with_a_line_under_90_letters() -> None:
    """What a module, class or function is or does is said in one short sentence; more may follow."""
    long = [(path.name, line) for path in PACKAGE.rglob("*.py") for line in _read_first_lines(path) if len(line) >= 90]
    assert long == []


def _read_first_lines(path: Path) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, documented)]
    return [(ast.get_docstring(node) or "").partition("\n")[0] for node in nodes]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (date(2026, 7, 4), date(2026, 7, 4), "4 July 2026"),
        (date(2026, 7, 1), date(2026, 7, 4), "1 to 4 July 2026"),
        (date(2026, 6, 28), date(2026, 7, 4), "28 June to 4 July 2026"),
        (date(2025, 12, 28), date(2026, 1, 4), "28 December 2025 to 4 January 2026"),
    ],
)
def test_a_range_of_days_names_each_month_and_year_once(start: date, end: date, said: str) -> None:
    """What both ends share is said with the last."""
    assert format_days(start, end) == said


@pytest.mark.parametrize(
    "name",
    [
        "\u0634\u0628\u06a9\u0647 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
        "ශ්\u200dරී ලංකා",  # Sinhala: a joined letter
        "ニュース\u3000チャンネル",  # Japanese: a blank as wide as a letter
        "Le Monde\u00a0: vidéos",  # French: a blank that doesn't break
        "👩\u200d👩\u200d👧 Family",  # one emoji of three, joined
        "\U0001fae8 new",  # an emoji that is newer than the Unicode of Python 3.11
        "עם סימן\u200f!",  # Hebrew: a mark that puts the sign at the right end
        "(שלום!)\u200f TV",  # the same behind the sign
        "1\ufe0f\u20e3 ❤\ufe0f\u200d🔥 ©\ufe0f",  # emoji in colour
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # the flag of England
        "葛\U000e0100城テレビ",  # a sign chooses one of a letter's shapes, as its city writes it
        "ᠮᠣᠩ\u180bᠭᠣᠯ ᠠᠷ\u180eᠠ",  # the same, and a vowel that stands apart
    ],
)
def test_a_name_is_a_line_in_any_script(name: str) -> None:
    """Joiners and wide blanks belong to how people write; Python calls them not printable."""
    assert is_name(name, 100)


@pytest.mark.parametrize(
    "unseen",
    [
        *("\u00ad", "\u034f", "\u061c", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u2060", "\u2800", "\u3164"),
        *("\ufe0f", "\ufeff", "\uffa0", "\U000e0067", "\U000e0101"),
    ],
)
def test_a_name_that_looks_like_another_or_like_none_is_no_name(unseen: str) -> None:
    """What nobody sees would let two partners, or two keys, be taken for one."""
    for name in (unseen, f"demo{unseen}", f"{unseen}demo", f"de{unseen}mo", f"dé{unseen}mo", f"Дe{unseen}мо"):
        assert not is_name(name, 100)
    assert not is_name("ශ්\u200d\u200dරී", 100)


@pytest.mark.parametrize("name", ["中国", "한국", "テレビ", "Việt Tế", "მედია"])
def test_letters_that_nothing_joins_have_no_joiner_behind_them(name: str) -> None:
    for unseen in ("\u200c", "\u200d", "\ufe0f", "\u180b"):
        assert is_name(name, 100)
        assert not is_name(name + unseen, 100)


@pytest.mark.parametrize(
    "name", [" a", "a\u3000", "a\nb", "a\0b", "a\u2028b", "a\u202eb", "\x1b[2J", "a\ud800", "abcde"]
)
def test_what_would_steer_an_output_is_no_name(name: str) -> None:
    """Controls, line ends, turned writing, half characters, blanks at an end, and too long a text."""
    assert not is_name(name, 4)
