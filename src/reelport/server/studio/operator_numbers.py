"""The numbers of the whole platform, `/studio/operator/numbers`.

They are those of an overview of every channel, and of the organizations that had most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio.to_thread
from starlette.responses import Response

from reelport.catalog import Metric
from reelport.catalog.studio_pages import OVERVIEW_CHANNEL
from reelport.language import _
from reelport.server.access import operator_access
from reelport.server.access.operator_access import Platform
from reelport.server.explore.numbers import Figure, Leaderboard, OverBudget
from reelport.server.explore.view import View
from reelport.server.studio import explore, operator, overview, pages
from reelport.server.studio.formats import choose_metric_unit
from reelport.server.studio.overview import Asked, Wanted
from reelport.server.studio.view_page import Cell, make_cell, make_change
from reelport.server.studio.visit import Visit, not_found

PATH = f"{operator.PATH}/numbers"
_CHANNEL = OVERVIEW_CHANNEL.dimension
_RANKED = 10  # organizations that are shown
_PARTNER = "platform"  # whose slots the page takes: operators together have those of one organization


Headings = list[tuple[str, str]]
"""Headings of columns, each with how it looks."""
Ranked = tuple[int | None, str, list[tuple[Cell, Cell | None]]]
"""An organization's id, None for all of them, and name; for each metric its number, and how that changed."""


async def show_numbers(visit: Visit) -> Response:
    """Show the numbers of every channel, and the organizations with the highest."""
    platform, asked = await anyio.to_thread.run_sync(_read, visit)
    by_channel = [_split_by_channel(view) for view in asked.views]
    wanted: list[Wanted] = [(view, platform.every_channel, 1) for view in asked.views]
    wanted += [(view, platform.partners, 1) for view in by_channel]
    numbers = await overview.compute_views(visit, wanted, _PARTNER)

    def show() -> Response:
        boards = [(view.metrics, numbers[view].leaderboards[_CHANNEL]) for view in by_channel]
        ids = {each.slug: each.id for each in overview.list_channels(visit.service.settings)}
        columns = [
            (metric, {ids[entry.cell]: entry.figures[place] for entry in board.entries if entry.cell in ids})
            for metrics, board in boards
            if isinstance(board, Leaderboard)
            for place, metric in enumerate(metrics)
        ]
        headings, rows = _rank(platform, columns) if columns else ([], [])
        missing = next((board.sentence for _, board in boards if isinstance(board, OverBudget)), None)
        ranking: dict[str, Any] = {"headings": headings, "organizations": rows, "missing": missing}
        page = overview.describe_page(visit, asked, numbers)
        return pages.render(visit, "operator_numbers.html", pages=operator.list_pages(visit), **page, **ranking)

    return await pages.write_page(visit, _PARTNER, show)


def _read(visit: Visit) -> tuple[Platform, Asked]:
    platform = operator_access.find_platform(visit.service.db, visit.user.user_id)
    if platform is None:
        raise not_found()
    unscoped = explore.read_defaults(visit, scoped=False)
    return platform, overview.read_asked(visit, replace(unscoped, scopes=platform.every_channel.scopes), PATH)


def _split_by_channel(view: View) -> View:
    metrics = tuple(metric for metric in view.metrics if metric.additive)
    return replace(view, metrics=metrics, ranked_by=metrics[0], dimensions=(_CHANNEL,), longer=None, is_whole=True)


def _rank(platform: Platform, columns: Sequence[tuple[Metric, Mapping[str, Figure]]]) -> tuple[Headings, list[Ranked]]:
    of_whom = [*platform.organizations.items(), ((None, _("All organizations")), platform.partners.channels)]
    sums = {
        named: [_add_up(figures[id_] for id_ in channels if id_ in figures) for _metric, figures in columns]
        for named, channels in of_whom
    }
    order = {named: (named[0] is None, -(figures[0].value or 0), named[1]) for named, figures in sums.items()}
    *ranked, together = sorted(sums, key=order.__getitem__)
    units = [
        choose_metric_unit(metric, [sum_.value]) for (metric, _), sum_ in zip(columns, sums[together], strict=True)
    ]
    rows = [
        (
            *named,
            [
                (make_cell(unit, figure.value), None if figure.difference is None else make_change(unit, figure))
                for unit, figure in zip(units, sums[named], strict=True)
            ],
        )
        for named in (*ranked[:_RANKED], together)
    ]
    return [(unit.heading, "number") for unit in units], rows


def _add_up(figures: Iterable[Figure]) -> Figure:
    found = list(figures)
    befores = [each.before for each in found if each.before is not None]
    return Figure(sum(each.value or 0 for each in found), sum(befores) if befores else None)
