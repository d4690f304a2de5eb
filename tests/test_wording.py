"""Sentences are read at once: numbers have the noun that fits, and a docstring begins with a short line."""

from __future__ import annotations

import ast
from datetime import date
from pathlib import Path

import pytest

import reelport
from reelport.wording import format_count, format_days

PACKAGE = Path(reelport.__file__).parent
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_one_is_singular_and_all_else_plural(number: int, said: str) -> None:
    """None is plural too, and thousands are set apart."""
    assert format_count(number, "row") == said


def test_an_irregular_plural_is_given() -> None:
    """A noun with words behind it isn't made plural by an s."""
    said = [format_count(number, "key with its tokens", "keys with their tokens") for number in (1, 2)]
    assert said == ["1 key with its tokens", "2 keys with their tokens"]


@pytest.mark.parametrize("module", MODULES)
def test_a_docstring_begins_with_a_line_under_90_letters(module: str) -> None:
    """What a module, class or function is or does is said in one short sentence; more may follow."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [
        node for node in ast.walk(ast.parse((PACKAGE / module).read_text("utf-8"))) if isinstance(node, documented)
    ]
    first = [(ast.get_docstring(node) or "").partition("\n")[0] for node in nodes]
    assert [line for line in first if len(line) >= 90] == []


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
