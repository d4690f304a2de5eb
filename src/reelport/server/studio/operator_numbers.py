"""The numbers of the whole platform, `/studio/operator/numbers`.

They are those of an overview of every channel, and of the organizations that had most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from reelport.catalog import Metric
from reelport.catalog.first_look import OVERVIEW_CHANNEL
from reelport.language import _
from reelport.server.access import looks
from reelport.server.access.looks import Platform
from reelport.server.explore.numbers import Figure, Leaderboard, OverBudget
from reelport.server.explore.view import Comparison, View
from reelport.server.studio import explore, operator, overview, pages
from reelport.server.studio.overview import Asked, Wanted
from reelport.server.studio.view_page import Cell, make_cell, make_change
from reelport.server.studio.visit import Visit, not_found

PATH = f"{operator.PATH}/numbers"
_CHANNEL = OVERVIEW_CHANNEL.dimension
_RANKED = 10  # organizations that are shown
_PARTNER = "platform"  # whose slots the page takes: operators together have those of one organization


@dataclass(frozen=True, slots=True)
class RankedOrganization:
    """An organization, without an id all of them: for each metric its number and change."""

    id: int | None
    name: str
    cells: tuple[tuple[Cell, Cell | None], ...]


async def show_numbers(visit: Visit) -> Response:
    """Show the numbers of every channel, and the organizations with the highest."""
    platform = await anyio.to_thread.run_sync(looks.find_platform, visit.service.db, visit.user.user_id)
    if platform is None:
        raise not_found()
    asked = await anyio.to_thread.run_sync(_read, visit, platform.every_channel.scopes)
    by_channel = [_split_by_channel(view) for view in asked.views]
    wanted = [Wanted(view, platform.every_channel) for view in asked.views]
    wanted += [Wanted(view, platform.partners) for view in by_channel]
    numbers = await overview.compute_views(visit, wanted, _PARTNER)

    def show() -> Response:
        boards = {view: numbers[view].leaderboards[_CHANNEL] for view in by_channel}
        columns = [each for view, board in boards.items() for each in _make_columns(view, board)]
        slugs = {each.id: each.slug for each in overview.list_channels(visit.service.settings)}
        headings, rows = _rank(platform, slugs, columns) if columns else ([], [])
        missing = next((board.sentence for board in boards.values() if isinstance(board, OverBudget)), None)
        ranking: dict[str, Any] = {"headings": headings, "organizations": rows, "missing": missing}
        page = overview.describe_page(visit, asked, numbers)
        return pages.render(visit, "operator_numbers.html", pages=operator.list_pages(visit), **page, **ranking)

    return await pages.write_page(visit, _PARTNER, show)


def _read(visit: Visit, scopes: frozenset[str] | None) -> Asked:
    defaults = replace(explore.read_defaults(visit, scoped=False), scopes=scopes)
    return overview.read_asked(visit, defaults, PATH)


def _split_by_channel(view: View) -> View:
    """Split a view by channel: its metrics that add up to those of an organization."""
    metrics = tuple(metric for metric in view.metrics if metric.additive)
    return replace(view, metrics=metrics, ranked_by=metrics[0], dimensions=(_CHANNEL,), longer=None, is_whole=True)


@dataclass(frozen=True, slots=True)
class _Column:
    """A metric, its figures by the slug of a channel, and whether those before count."""

    metric: Metric
    figures: Mapping[str | None, Figure]
    is_compared: bool

    def add_up(self, slugs: Iterable[str]) -> Figure:
        found = [self.figures[slug] for slug in slugs if slug in self.figures]
        before = sum(each.before or 0 for each in found) if self.is_compared else None
        return Figure(sum(each.value or 0 for each in found), before)


def _make_columns(view: View, board: Leaderboard | OverBudget) -> Iterator[_Column]:
    if isinstance(board, OverBudget):
        return
    for place, metric in enumerate(view.metrics):
        figures = {entry.cell: entry.figures[place] for entry in board.entries}
        yield _Column(metric, figures, view.comparison is not Comparison.NONE)


def _rank(
    platform: Platform, slugs: Mapping[str, str], columns: Sequence[_Column]
) -> tuple[list[str], list[RankedOrganization]]:
    """Add channels up to organizations; write headings, and who has most of the first metric."""

    def add_up(channels: frozenset[str]) -> list[Figure]:
        return [column.add_up(slugs[id_] for id_ in channels if id_ in slugs) for column in columns]

    sums = {(each.id, each.name): add_up(each.channels) for each in platform.organizations}
    first = sorted(sums.items(), key=lambda each: (-(each[1][0].value or 0), each[0][1]))[:_RANKED]
    together = add_up(platform.partners.channels)
    units = [overview.choose_metric_unit(column.metric, sum_) for column, sum_ in zip(columns, together, strict=True)]

    def write(id_: int | None, name: str, figures: Sequence[Figure]) -> RankedOrganization:
        cells = (
            (make_cell(unit, figure.value), None if figure.difference is None else make_change(unit, figure))
            for unit, figure in zip(units, figures, strict=True)
        )
        return RankedOrganization(id_, name, tuple(cells))

    rows = [write(*named, figures) for named, figures in first]
    return [unit.heading for unit in units], [*rows, write(None, _("All organizations"), together)]
