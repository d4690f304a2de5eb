"""The default deadline of a wait for a report."""

from __future__ import annotations

DEADLINE = 2.5 * 3600
"""Longest wait in seconds: the two hours that the original service may need, and some room."""
