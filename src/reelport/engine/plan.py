"""Plans: SQL that gives the rows of a report's CSV, at once or in pieces."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine runs: one SELECT that gives the rows of the CSV in order, and the CSV's header."""

    sql: str
    columns: tuple[str, ...]


Pieces = Generator[Plan, int | None, None]
"""Yields plans in the order of their rows. Send it the number of rows that the previous plan gave, None at first."""


def single_piece(plan: Plan) -> Pieces:
    """Yield the one plan of a report that isn't split."""
    yield plan
