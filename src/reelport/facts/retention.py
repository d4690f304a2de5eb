"""How long files stay that a load or a merge has replaced. Imports no library."""

from __future__ import annotations

KEPT_HOURS = 72
"""Hours that a replaced file is kept: a report may run for 48 hours after it was asked for."""
