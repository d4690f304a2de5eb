"""Joins several tags into one cell, and splits such a cell."""

from __future__ import annotations

import re

TAG_SEPARATOR = "|"
"""Separates the tags of one CONTENT_TAG_LIST cell. No source shows the original's separator: this one is our choice."""
TAG_ESCAPE = "\\"
"""Escapes a separator or an escape within a tag: without it two different lists could give the same cell.

Doubling the separator would not do: the tags `a|` and `b` would read like `a` and `|b`.
"""

_TAG = re.compile(r"(?:[^\\|]|\\.)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def split_tags(cell: str) -> tuple[str, ...]:
    """Split a CONTENT_TAG_LIST cell that Reelport wrote into its tags; an empty one has none."""
    return tuple(_ESCAPED.sub(r"\1", tag) for tag in _TAG.findall(cell))
