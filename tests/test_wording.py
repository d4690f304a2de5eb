"""Numbers in sentences are said with the noun that fits."""

from __future__ import annotations

import pytest

from reelport.wording import format_count


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_one_is_singular_and_all_else_plural(number: int, said: str) -> None:
    """None is plural too, and thousands are set apart."""
    assert format_count(number, "row") == said


def test_an_irregular_plural_is_given() -> None:
    """A noun with words behind it isn't made plural by an s."""
    said = [format_count(number, "key with its tokens", "keys with their tokens") for number in (1, 2)]
    assert said == ["1 key with its tokens", "2 keys with their tokens"]
