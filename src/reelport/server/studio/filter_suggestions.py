"""What a filter's text was meant to be, where a view has no numbers because nothing has that text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from reelport import check
from reelport.catalog import Filter
from reelport.catalog.labels import label_filter
from reelport.server.explore.numbers import Figure, Leaderboard, Lines, Numbers
from reelport.server.explore.view import Comparison, Sort, View
from reelport.server.explore.view_parameters import Defaults
from reelport.server.studio.view_numbers import compute_view
from reelport.server.studio.visit import Visit

_MOST = 3
"""Values that are named where none is like the text."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A filter whose text matches nothing, and views that have another value in its place, by that value."""

    label: str
    text: str
    is_near: bool
    views: Mapping[str, View]


async def suggest_values(visit: Visit, view: View, numbers: Numbers, defaults: Defaults) -> list[Suggestion]:
    """Suggest values for the filters of a view that has no numbers; of these days, and of the view's other filters."""
    if not isinstance(numbers.lines, Lines) or any(
        figure != Figure(None) for point in numbers.lines.points for figure in point.figures
    ):
        return []
    free = [(row, text) for row, text in view.filters if text and not row.choices]
    found = [await _suggest(visit, view, row, text, defaults) for row, text in free]
    return [each for each in found if each is not None]


async def _suggest(visit: Visit, view: View, row: Filter, text: str, defaults: Defaults) -> Suggestion | None:
    others = tuple(pair for pair in view.filters if pair[0] is not row)
    plain = replace(view, filters=others, comparison=Comparison.NONE, sort=Sort.VALUE, reverse=False)
    listed = replace(plain, dimensions=(row.dimension,), longer=row.dimension)
    if check.problems(listed.report_query(), today=defaults.today, rules=defaults.rules):
        return None
    board = (await compute_view(visit, listed, visit.organization_id)).leaderboards[row.dimension]
    values = (
        {entry.cell: entry.title for entry in board.entries if entry.cell} if isinstance(board, Leaderboard) else {}
    )
    near = find_near(text, values)
    shown = [near] if near else list(values)[:_MOST]
    views = {value: replace(view, filters=_exchange(view, row, value)) for value in shown}
    return Suggestion(label_filter(row), text, near is not None, views) if shown else None


def find_near(text: str, values: Mapping[str, str | None]) -> str | None:
    """Find the value that was probably meant by a text: its slug, its title, or what is written like one of them."""
    names = {_normalize(name): value for value, title in values.items() for name in (title, value) if name}
    written = _normalize(text)
    near = written if written in names else check.nearest(written, names)
    return names[near] if near else None


def _normalize(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")


def _exchange(view: View, row: Filter, value: str) -> tuple[tuple[Filter, str], ...]:
    return tuple((each, value if each is row else text) for each, text in view.filters)
