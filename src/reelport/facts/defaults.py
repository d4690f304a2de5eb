"""Defaults of commands that work on tables, in a module that imports no library."""

from __future__ import annotations

MEMORY = "1GB"
"""The memory limit of a load or a merge."""
SETTLED_AFTER = 3
"""Days after which a day counts as settled, because restatements are rare from then on."""
REJECT_ROWS = 100_000
"""The most rows that a reject file holds."""
REJECT_BYTES = 100_000_000
"""The most bytes that a reject file has."""
