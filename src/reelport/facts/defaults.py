"""Defaults of commands that work on tables, in a module that imports no library."""

from __future__ import annotations

MEMORY = "1GB"
"""The memory limit of a load or a merge."""
SETTLED_AFTER = 3
"""Days after which a day counts as settled, because restatements are rare from then on."""
KEPT_HOURS = 72
"""Hours that a replaced file is kept: a report may run for 48 hours after it was asked for."""
REJECT_ROWS = 100_000
"""The most rows that a reject file holds."""
REJECT_BYTES = 100_000_000
"""The most bytes that a reject file has."""
