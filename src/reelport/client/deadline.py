"""How long a report is waited for, where nobody says otherwise."""

from __future__ import annotations

DEADLINE = 2.5 * 3600
"""Seconds that a wait takes at most: the two hours that the original may need, and some room."""
