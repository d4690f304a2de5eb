"""The operators' pages: the commands of the fences that name the place in which a test runs them."""

from __future__ import annotations

import re
from pathlib import Path

_PAGES = Path(__file__).parents[1] / "docs" / "operate"
FENCE = re.compile(r"^```(\w*)(?: test=([\w.-]+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""A fenced block: its language, the place of its test ("": where the pages' own test runs), its text."""


def read_marked(place: str, page: str) -> list[str]:
    """Read the commands of a page whose fences name a place, in their order."""
    text = (_PAGES / f"{page}.md").read_text("utf-8")
    found = [line for _, named, block in FENCE.findall(text) if named == place for line in block.splitlines()]
    assert found, f"{page}.md has no command for {place}"
    return found
