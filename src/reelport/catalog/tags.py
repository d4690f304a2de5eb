"""Several tags in one cell: how they are joined, and how a reader of the cell gets them back."""

from __future__ import annotations

import re

TAG_SEPARATOR = "|"
"""Between the tags of one CONTENT_TAG_LIST cell. No source shows the original's; ours to choose."""
TAG_ESCAPE = "\\"
"""Before a separator, or another of itself, that is part of a tag: without it two lists could be one cell.

A doubled separator could not do this: `a|` and `b` would read like `a` and `|b`.
"""

_TAG = re.compile(r"(?:[^\\|]|\\.)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def split_tags(cell: str) -> tuple[str, ...]:
    """The tags of a CONTENT_TAG_LIST cell that Reelport wrote, in their order; none of an empty cell."""
    return tuple(_ESCAPED.sub(r"\1", tag) for tag in _TAG.findall(cell))
