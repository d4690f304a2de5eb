"""Every number of a view is a cell of the report that it stands for, made by the real engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.engine import sample
from tests.engine.sample_world import copy_sample
from tests.engine.world import World, written
from tests.server.explore.views import views

from reelport.catalog import Dimension, Filter, Grain, Metric
from reelport.cells import split_tags
from reelport.charts.time_axis import format_time
from reelport.engine.aggregation import Aggregator
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.leaderboards import ENTRIES, MORE_ENTRIES
from reelport.engine.plan import Plan, join_selects
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.engine.rollups.columns import groupable_columns, make_rollup
from reelport.engine.tenant import Tenant
from reelport.facts.rollups import Rollup, add_rollup
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery
from reelport.server.explore.numbers import Entry, Figure, Leaderboard, Lines, Number, Totals
from reelport.server.explore.view import Sort, View
from reelport.server.explore.view_days import Comparison, default_grain
from reelport.server.explore.view_engine import (
    add_up_lines,
    compile_board,
    compile_lines,
    compile_totals,
    is_total_of_lines,
    read_leaderboard,
    read_lines,
    read_totals,
)

pytestmark = pytest.mark.long
TENANT = Tenant(sample.MINE)
_VALUES = {
    Filter.channelSlug: ("demo-news", "demo-sport", "rival", ""),
    Filter.videoOwnerChannelSlug: ("demo-news", "other", ""),
    Filter.visitorDomainGroup: ("dailymotion", "été, «fête»", ""),
}
_CELLS = {
    Dimension.VISITOR_COUNTRY: ("FR", "DE"),
    Dimension.VISITOR_DEVICE_TYPE: ("mobile", "tv"),
    Dimension.VISITOR_PAGE_URL: ("https://example.com/\u202eيوم", 'https://example.com/"q"'),
    Dimension.VIDEO_ID: ("x1", "x2", "x-gone"),
    Dimension.VIDEO_TITLE: ("Same", 'a "quote"', "two\nlines", "NULL"),
    Dimension.CONTENT_TAG: ("a", "c|d"),
    Dimension.CHANNEL_SLUG: ("demo-news",),
    Dimension.VIDEO_OWNER_CHANNEL_SLUG: ("demo-news", "other"),
    Dimension.MEDIA_TYPE: ("live", "video"),
}


def _addable(view: View) -> View:
    """The view with several kept cells of a dimension only where rows of a report add up to its numbers."""
    cells = view.kept_by_dimension()
    adds_up = all(metric.additive for metric in view.metrics)
    kept = {row: found if adds_up and not row.many_valued else found[:1] for row, found in cells.items()}
    return replace(view, kept=tuple((row, cell) for row, found in kept.items() for cell in found))


VIEWS = views(
    values=lambda row: some.sampled_from(_VALUES[row]),
    last=sample.LAST,
    longest=14,
    back=9,
    cells=lambda row: some.sampled_from(("", *_CELLS.get(row, ("it's",)))),
    searches=False,
).map(_addable)
few = settings(max_examples=max(settings().max_examples // 3, 3))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The fixed facts of the engine's tests, and rollups of each fact table."""
    with QueryEngine("1GiB", 2, tmp_path_factory.mktemp("spill")) as engine:
        made = copy_sample(tmp_path_factory, engine)
        build_rollups(made.snapshot.root, list(_add_rollups(made)), space=10**9)
        yield made


def _add_rollups(world: World) -> Iterator[Rollup]:
    for table in (table for table in TABLES.values() if table.is_fact):
        for columns in ((), sorted(groupable_columns(table))):
            rollup = make_rollup(table.name, columns)
            add_rollup(world.snapshot.root, rollup)
            yield rollup


def fetch(world: World, compile_part: Callable[[Aggregator], Plan]) -> list[tuple[object, ...]]:
    """Fetch the rows of a part: the same from facts as from rollups, and twice in a statement that scans these once."""
    found: list[list[tuple[object, ...]]] = []
    with closing(world.engine.session()) as session:
        for rollups in (RollupList(), RollupList.read(world.snapshot.root)):
            found.append(session.fetch(compile_part(RollupAggregator(rollups)), "this page"))
            sharing = RollupAggregator(rollups, shares_scans=True)
            sql = compile_part(sharing).sql
            (lists,) = session.fetch(join_selects([sql, sql], sharing.scans), "this page")
            found += [[tuple(row.values()) for row in rows or ()] for rows in lists]
    assert all(sorted(each, key=str) == sorted(found[0], key=str) for each in found)
    return found[0]


def totals_of(world: World, view: View) -> Totals:
    return read_totals(view, fetch(world, partial(compile_totals, view, TENANT, world.snapshot)))


def lines_of(world: World, view: View) -> Lines:
    return read_lines(view, fetch(world, partial(compile_lines, view, TENANT, world.snapshot)))


def board_of(world: World, view: View, dimension: Dimension, search: str = "") -> Leaderboard:
    rows = fetch(world, partial(compile_board, view, dimension, TENANT, world.snapshot, search=search))
    return read_leaderboard(view, dimension, rows, totals_of(world, view))


def cells(world: World, view: View, *by: Dimension, compared: bool = False) -> dict[str, list[str]]:
    """The cells of metrics in the file of a part's report, of the rows that the view keeps, by a dimension or none."""
    return report_cells(world, view, by, (view.compared_days if compared else None) or (view.start, view.end))


def report_cells(world: World, view: View, by: tuple[Dimension, ...], days: tuple[date, date]) -> dict[str, list[str]]:
    """The cells of metrics in a report of these days; of several kept cells each number is the sum of theirs."""
    query = view.query(tuple(dict.fromkeys((*by, *view.kept_by_dimension()))), days)
    width = len(query.dimensions)
    found: dict[str, list[str]] = {}
    for row in kept_rows(view, query, world.report(query, sample.MINE)):
        key = "".join(row[: len(by)])
        adds_up = key in found and all(metric.additive for metric in view.metrics)
        assert adds_up or key not in found
        found[key] = (
            [written(Decimal(a) + Decimal(b)) for a, b in zip(found[key], row[width:], strict=True)]
            if adds_up
            else row[width:]
        )
    return found


def kept_rows(view: View, query: ReportQuery, rows: list[list[str]]) -> list[list[str]]:
    """Those rows of a report that have the cells to which the view is narrowed."""
    places = [(query.dimensions.index(dimension.name), cells) for dimension, cells in view.kept_by_dimension().items()]
    return [row for row in rows if all(row[place] in cells for place, cells in places)]


def values(figures: tuple[Figure, ...]) -> list[str]:
    return [written(figure.value) for figure in figures]


def befores(figures: tuple[Figure, ...]) -> list[str]:
    return [written(figure.before) for figure in figures]


def empty(view: View) -> list[str]:
    return [""] * len(view.metrics)


@few
@given(view=VIEWS)
def test_totals_are_the_cells_of_the_report_without_dimensions(world: World, view: View) -> None:
    """Those of the view's days, and beside them those of the compared days; none where there are no facts."""
    totals = totals_of(world, view)
    assert values(totals) == cells(world, view).get("", empty(view))
    before = cells(world, view, compared=True) if view.compared_days else {}
    assert befores(totals) == before.get("", empty(view))


@few
@given(view=VIEWS)
def test_lines_that_add_up_come_to_the_totals(world: World, view: View) -> None:
    """Where every metric is additive, the totals need no statement of their own."""
    additive = tuple(metric for metric in view.metrics if metric.additive)
    if not additive:
        return
    view = replace(view, metrics=additive, ranked_by=additive[0])
    if is_total_of_lines(view):
        rows = fetch(world, partial(compile_lines, view, TENANT, world.snapshot))
        assert add_up_lines(view, rows) == totals_of(world, view)


@few
@given(view=VIEWS)
def test_lines_are_the_cells_of_the_report_by_time(world: World, view: View) -> None:
    """Every hour, day or month of the view has its place on the lines, those without facts without a number."""
    points = lines_of(world, view)
    if view.grain is Grain.WEEK:
        weeks = [(max(point.day, view.start), min(point.day + timedelta(6), view.end)) for point in points]
        weekly = [report_cells(world, view, (), days).get("", empty(view)) for days in weeks]
        assert [values(point.figures) for point in points] == weekly
        return
    found = cells(world, view, view.time)
    places = [format_time(point.day, view.grain) for point in points]
    assert [values(point.figures) for point in points] == [found.get(place, empty(view)) for place in places]
    assert set(found) <= set(places)


@few
@given(view=VIEWS)
def test_compared_lines_are_the_report_of_the_compared_days(world: World, view: View) -> None:
    """Time by time, each with the one of its kind: weeks with weeks, a month with that of the year before."""
    points = lines_of(world, view)
    if not view.compares_lines or view.compared_days is None:
        assert all(befores(point.figures) == empty(view) for point in points)
        return
    if view.grain is Grain.WEEK:
        back = view.start - view.compared_days[0]
        weeks = [
            (max(point.day, view.start) - back, min(point.day + timedelta(6), view.end) - back) for point in points
        ]
        assert [befores(point.figures) for point in points] == [
            report_cells(world, view, (), days).get("", empty(view)) for days in weeks
        ]
        return
    found = cells(world, view, view.time, compared=True)
    expected = [found.get(format_time(view.compared_time(point.day), view.grain), empty(view)) for point in points]
    assert [befores(point.figures) for point in points] == expected


@few
@given(view=VIEWS)
def test_leaderboards_are_rows_of_the_report_by_their_dimension(world: World, view: View) -> None:
    """Each entry is a row of it, and the board says how many rows there are."""
    for dimension in view.dimensions:
        board = board_of(world, view, dimension)
        found = cells(world, view, dimension)
        shown = [entry for entry in board.entries if entry.is_shown]
        assert board.rows == len(found) or not board.entries
        assert [values(entry.figures) for entry in shown] == [found[entry.cell or ""] for entry in shown]
        before = cells(world, view, dimension, compared=True) if view.compared_days else {}
        assert board.compared == len(before) or not board.entries
        for entry in board.entries:
            assert befores(entry.figures) == before.get(entry.cell or "", _absent(view) if before else empty(view))


@few
@given(view=VIEWS)
def test_a_leaderboard_keeps_the_first_of_all_rows(world: World, view: View) -> None:
    """No row that was left out ranks before one that is shown; what adds up adds up to the total with the rest."""
    place = view.metrics.index(view.ranked_by)
    for dimension in view.dimensions:
        board = board_of(world, view, dimension)
        most = MORE_ENTRIES if view.longer is dimension else ENTRIES
        if view.sort is not Sort.CHANGE:
            ranked = [row[place] for row in cells(world, view, dimension).values() if row[place]]
            ranked = sorted(ranked, key=Decimal, reverse=not view.reverse)[:most]
            assert [value for entry in board.entries if (value := values(entry.figures)[place])] == ranked
        scores = [_score(view, entry.figures[place]) for entry in board.entries]
        known = [score for score in scores if score is not None]
        assert scores == sorted(known, reverse=not view.reverse) + [None] * (len(scores) - len(known))
        totals = totals_of(world, view)
        for metric, total, rest, shown in zip(
            view.metrics, totals, board.rest, zip(*map(_numbers, board.entries), strict=True), strict=False
        ):
            if metric.additive and not dimension.many_valued and total.value is not None:
                assert sum(shown) + (rest or 0) == total.value


@few
@given(view=VIEWS)
def test_the_report_of_a_view_adds_up_to_its_totals(world: World, view: View) -> None:
    """What adds up over all of its dimensions comes to the number that the page shows."""
    rows = kept_rows(view, view.report_query(), world.report(view.report_query(), sample.MINE))
    width = len(view.report_query().dimensions)
    if any(dimension.many_valued for dimension in view.dimensions):
        return
    for place, (metric, total) in enumerate(zip(view.metrics, totals_of(world, view), strict=True)):
        if metric.additive:
            assert sum(Decimal(row[width + place]) for row in rows) == (total.value or 0)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_leaderboard_begins_with_the_most_and_reversed_with_the_least(world: World, *, reverse: bool) -> None:
    view = replace(_by_video(sample.START, sample.END), reverse=reverse)
    shown = [entry.figures[0].value or 0 for entry in board_of(world, view, Dimension.VIDEO_ID).entries]
    assert shown == sorted(shown, reverse=not reverse)
    assert shown[0] != shown[-1]


def test_a_rate_over_several_values_is_that_of_their_sums(world: World) -> None:
    """And no mean of their rates."""
    metrics = (Metric.AVERAGE_WATCH_TIME_SEC, Metric.TIME_WATCHED_SECONDS, Metric.VIEWS)
    view = replace(_by_video(sample.START, sample.END), metrics=metrics, ranked_by=Metric.VIEWS)
    rate, seconds, views = values(totals_of(world, view.keep(Dimension.VIDEO_ID, ["x1", "x2"])))
    alone = [values(totals_of(world, view.keep(Dimension.VIDEO_ID, [each]))) for each in ("x1", "x2")]
    assert int(seconds) == sum(int(row[1]) for row in alone)
    assert round(Decimal(rate), 2) == round(Decimal(seconds) / Decimal(views), 2)
    assert rate not in {row[0] for row in alone}


def test_a_play_with_several_of_the_kept_tags_counts_once(world: World) -> None:
    """Whichever of them it has."""
    view = _by_video(sample.START, sample.END).keep(Dimension.CONTENT_TAG, ["a", "b"])
    rows = world.report(view.query((Dimension.CONTENT_TAG_LIST,)), sample.MINE)
    found = sum(int(count) for tags, count in rows if {"a", "b"}.intersection(split_tags(tags)))
    apart = [totals_of(world, view.keep(Dimension.CONTENT_TAG, [tag]))[0].value or 0 for tag in ("a", "b")]
    assert totals_of(world, view)[0].value == found < sum(apart)


@pytest.mark.parametrize(("search", "found"), [("COMMA", ["x2"]), ("x-g", ["x-gone"]), ("%", []), ("nothing", [])])
def test_a_leaderboard_is_searched_by_ids_and_titles(world: World, search: str, found: list[str]) -> None:
    """A part of one, whatever its case; nothing in it is a pattern."""
    view = _by_video(sample.START, sample.END)
    assert [entry.cell for entry in board_of(world, view, Dimension.VIDEO_ID, search).entries] == found


def test_an_entry_that_is_gone_is_ranked_by_its_loss(world: World) -> None:
    """Sorted by change, what only the compared days have comes in, and is told from what the report has."""
    boards = (board_of(world, _losing(sample.LAST - timedelta(days)), Dimension.VIDEO_ID) for days in range(1, 12))
    board = next(board for board in boards if len({entry.is_shown for entry in board.entries}) > 1)
    gone = [entry.figures[0] for entry in board.entries if not entry.is_shown]
    assert [(figure.value, figure.difference) for figure in gone] == [(0, -(figure.before or 0)) for figure in gone]
    losses = [entry.figures[0].difference or 0 for entry in board.entries]
    assert losses == sorted(losses)


def test_what_is_named_is_shown_with_its_title(world: World) -> None:
    """What nothing describes has none. Two channels of one slug are one row."""
    view = replace(_by_video(sample.START, sample.END), dimensions=(Dimension.VIDEO_ID, Dimension.CHANNEL_SLUG))
    videos, channels = ([(row.cell, row.title) for row in board_of(world, view, by).entries] for by in view.dimensions)
    assert {("x2", "comma, here"), ("x-gone", None)} <= set(videos)
    assert sorted(each for each in channels if each[0])[:2] == [("demo-news", "News"), ("demo-sport", None)]


@pytest.mark.parametrize(
    ("figure", "difference", "change"),
    [
        (Figure(3, 2), 1, Decimal("0.5")),
        (Figure(0, 2), -2, Decimal(-1)),
        (Figure(2, 0), 2, None),
        (Figure(0, 0), 0, None),
        (Figure(2, None), None, None),
        (Figure(None, 2), None, None),
        (Figure(Decimal("1.5"), Decimal(-1)), Decimal("2.5"), Decimal("2.5")),
    ],
)
def test_a_change_is_never_infinite(figure: Figure, difference: Number, change: Decimal | None) -> None:
    """From nothing, or from no number, there is no percentage."""
    assert (figure.difference, figure.change) == (difference, change)


@pytest.mark.parametrize(
    ("metric", "dimension", "reason"),
    [
        (Metric.VIEWS, Dimension.VIDEO_ID, None),
        (Metric.STORAGE_USED_BYTES, Dimension.VIDEO_ID, None),
        (Metric.VIEWS, Dimension.CONTENT_TAG, "One video may be counted with several values"),
        (Metric.LIVE_VIEWERS, Dimension.VIDEO_ID, "One viewer may be counted with several values"),
        (Metric.FILL_RATE, Dimension.VISITOR_COUNTRY, "A rate doesn't add up"),
    ],
)
def test_a_share_is_only_of_what_adds_up(
    world: World, metric: Metric, dimension: Dimension, reason: str | None
) -> None:
    """Elsewhere the board says why there is none, and what the rest comes to isn't told."""
    view = View((metric,), (dimension,), sample.START, sample.END, metric, _by_video(sample.START, sample.END).grain)
    board = board_of(world, view, dimension)
    shares = [entry.shares[0] for entry in board.entries]
    if reason is None:
        assert board.reasons == {}
        total = totals_of(world, view)[0].value
        rest = Decimal(board.rest[0] or 0) / Decimal(total or 1)
        assert abs(sum((share for share in shares if share is not None), rest) - 1) < Decimal("1e-9")
    else:
        assert board.reasons[metric].startswith(reason)
        assert shares == [None] * len(shares)
        assert board.rest == (None,)


def _by_video(start: date, end: date) -> View:
    return View((Metric.VIEWS,), (Dimension.VIDEO_ID,), start, end, Metric.VIEWS, default_grain(1))


def _losing(day: date) -> View:
    return replace(_by_video(day, day), sort=Sort.CHANGE, reverse=True, comparison=Comparison.PREVIOUS)


def _absent(view: View) -> list[str]:
    """What a row that isn't there has beside rows that are: nothing adds up to 0."""
    return ["0" if metric.additive else "" for metric in view.metrics]


def _score(view: View, figure: Figure) -> Number:
    return figure.difference if view.sort is Sort.CHANGE else figure.value


def _numbers(entry: Entry) -> list[int | Decimal]:
    return [figure.value or 0 for figure in entry.figures]
