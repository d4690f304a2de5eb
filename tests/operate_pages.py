"""The operators' pages: their commands that a test runs elsewhere than the page stands, by the place they name."""

from __future__ import annotations

import re
from pathlib import Path

_PAGES = Path(__file__).parents[1] / "docs" / "operate"


def read_marked(place: str, page: str) -> list[str]:
    """Read the commands of a page that are marked for a place, in their order."""
    line = re.compile(rf"^(.*\S) +# run by a test {place}$", re.MULTILINE)
    found = line.findall((_PAGES / f"{page}.md").read_text("utf-8"))
    assert found, f"{page}.md has no command that is run {place}"
    return found
