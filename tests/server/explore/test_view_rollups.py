"""Views read rollups for fewer rows, never for another number; a report's preview shows what all of its rows give."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import anyio
import pyarrow as pa
import pytest
from tests.cases import thin_out
from tests.fact_rows import make_play, make_shown_plays
from tests.rotten_files import build_double, double_views

from reelport.catalog import Dimension, Grain, Metric, Product
from reelport.charts.chart_types import BarChart, LineChart
from reelport.charts.drawing import draw_file
from reelport.charts.report_chart import ChartPlan, NoChart, plan_report_chart
from reelport.cli.output.chart import read_groups
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.plan import Plan
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupList
from reelport.engine.rollups.columns import make_rollup
from reelport.engine.tenant import Tenant
from reelport.facts.loading.compaction import copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.role_copies import LEAST_ROWS
from reelport.facts.rollups import add_rollup
from reelport.query import ReportQuery
from reelport.server.explore.file_preview import Rows, draw_chart, read_first_rows, total_columns
from reelport.server.explore.numbers import Figure, Leaderboard, Numbers, OverBudget
from reelport.server.explore.view import View
from reelport.server.explore.view_days import Comparison
from reelport.server.explore.view_engine import LINES, ViewEngine
from reelport.server.settings import read_settings
from reelport.storage.local_folder import LocalFolder

FIRST = date(2026, 1, 3)
TENANT = Tenant(frozenset({"c1"}))
COUNTRIES, VIDEOS = Dimension.VISITOR_COUNTRY, Dimension.VIDEO_ID
NOTHING = OverBudget("It wasn't computed.")


def make_view(*dimensions: Dimension) -> View:
    """Two days, compared with the two before."""
    days = FIRST, FIRST + timedelta(1)
    return View((Metric.VIEWS,), dimensions, *days, Metric.VIEWS, Grain.DAY, comparison=Comparison.PREVIOUS)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of a hundred plays each, and a rollup of them by country."""
    rows = [
        make_play(f"2026-01-0{day}T05:00:00", day, video_id=f"v{number % 20}", visitor_country=("FR", "DE")[number % 2])
        for day in range(1, 5)
        for number in range(100)
    ]
    root = tmp_path_factory.mktemp("built") / "facts"
    load_arrow(root, "plays", pa.Table.from_pylist(rows), "one")
    add_rollup(root, make_rollup("plays", ["visitor_country"]))
    build_rollups(root, space=10**9)
    return root


@pytest.fixture
def data(built: Path, tmp_path: Path) -> Path:
    """A data directory with a copy of them, of each test's own."""
    shutil.copytree(built, tmp_path / "facts")
    return tmp_path


@contextmanager
def opened(data: Path, **given: object) -> Iterator[ViewEngine]:
    engine = ViewEngine(read_settings(data=data, **given), threads=1)
    try:
        yield engine
    finally:
        engine.close()


def compute(engine: ViewEngine, view: View) -> tuple[Numbers, int]:
    """The numbers of a view, and the rows that its parts read at most."""
    session = engine.open_session()
    try:
        planned = engine.plan(view, TENANT)
        outcomes = {part: each.outcome for part, each in planned.items() if each.outcome is not None}
        for parts in engine.group(planned):
            outcomes |= engine.run(session, parts)
    finally:
        session.close()
    rows = sum(choice.rows for part in planned.values() for choice in part.aggregator.choices)
    return engine.read(view, outcomes, NOTHING), rows


def data_file(data: Path) -> Path:
    ((segment,),) = RollupList.read(data / "facts").segments.values()
    return segment.data


def test_parts_that_a_rollup_serves_read_it_and_others_the_facts(data: Path) -> None:
    """Lines and countries of both ranges come from two rows a day; the videos from every play."""
    with opened(data) as engine, opened(data, rollups="off") as plain:
        assert compute(engine, make_view(COUNTRIES))[1] == 2 * 2 * 4
        assert compute(engine, make_view(COUNTRIES, VIDEOS))[1] == 2 * 2 * 4 + 2 * 200
        assert compute(plain, make_view(COUNTRIES))[1] == 2 * 2 * 200
        view = make_view(COUNTRIES, VIDEOS)
        assert compute(engine, view)[0] == compute(plain, view)[0]
        assert compute(engine, view)[0].totals == (Figure(700, 300),)


def test_parts_that_read_the_same_rows_are_one_statement(data: Path) -> None:
    """Lines and leaderboards scan the facts once; tags, which take long, and videos, which no rollup has, go apart."""
    view = make_view(COUNTRIES, VIDEOS, Dimension.CONTENT_TAG)
    with opened(data) as engine, opened(data, rollups="off") as plain:
        shared = [set(parts) for parts in plain.group(plain.plan(view, TENANT))]
        assert shared == [{LINES, COUNTRIES, VIDEOS}, {Dimension.CONTENT_TAG}]
        assert {LINES, COUNTRIES} in [set(parts) for parts in engine.group(engine.plan(view, TENANT))]


def test_the_read_budget_counts_the_rows_of_rollups(data: Path) -> None:
    """What the facts would take too many rows for is shown."""
    with opened(data, explore_rows=100) as engine:
        numbers = compute(engine, make_view(COUNTRIES, VIDEOS))[0]
        assert numbers.totals == (Figure(700, 300),)
        assert isinstance(numbers.leaderboards[COUNTRIES], Leaderboard)
        assert isinstance(numbers.leaderboards[VIDEOS], OverBudget)
    with opened(data, explore_rows=7) as engine:
        assert compute(engine, make_view())[0].totals == OverBudget(
            "It would read up to 8 rows; a page reads 7 at most."
        )


def test_a_view_is_read_from_the_file_of_the_rollup(data: Path) -> None:
    """A file that says twice the views is believed: which shows that it is read."""
    build_double(data_file(data))
    with opened(data) as engine:
        assert compute(engine, make_view(COUNTRIES))[0].totals == (Figure(1400, 600),)


@pytest.mark.parametrize(
    "damage",
    thin_out([Path.unlink, lambda path: path.write_bytes(b"no Parquet"), double_views], 2),
    ids=["gone", "damaged", "rotten"],
)
def test_a_rollup_that_can_not_be_read_fails_no_view(data: Path, damage: Callable[[Path], object]) -> None:
    """The same view comes from the facts."""
    damage(data_file(data))
    with opened(data) as engine:
        assert compute(engine, make_view(COUNTRIES))[0].totals == (Figure(700, 300),)


def test_a_damaged_copy_by_role_fails_no_view(tmp_path: Path) -> None:
    """Views of what a channel's players showed read the facts themselves then."""
    root = tmp_path / "facts"
    load_arrow(root, "plays", make_shown_plays(datetime(2026, 1, 3, tzinfo=UTC)), "one")
    copy_tables_by_roles(root)
    (copy,) = (root / "plays").rglob("_by_publisher/*/*.parquet")
    copy.write_bytes(b"no Parquet")
    with opened(tmp_path) as engine:
        numbers = compute(engine, replace(make_view(), product=Product.EMBED))[0]
    assert numbers.totals == (Figure(LEAST_ROWS, None),)


def test_facts_instead_of_a_rollup_keep_within_the_read_budget(data: Path) -> None:
    """Where the rollup is gone and the facts are too many rows, the part says so."""
    data_file(data).unlink()
    with opened(data, explore_rows=100) as engine:
        assert compute(engine, make_view())[0].totals == OverBudget(
            "It would read up to 400 rows; a page reads 100 at most."
        )


def test_parts_that_fall_back_to_the_facts_share_one_read_budget(data: Path) -> None:
    """Each of two would fit alone with its 400 rows; of 700 the second has no more than the first left."""
    countries = []
    for most in (700, 800):
        build_rollups(data / "facts", space=10**9)
        data_file(data).unlink()
        with opened(data, explore_rows=most) as engine:
            numbers = compute(engine, make_view(COUNTRIES))[0]
            assert numbers.totals == (Figure(700, 300),)
            countries.append(numbers.leaderboards[COUNTRIES])
    assert countries[0] == OverBudget("It would read up to 800 rows; a page reads 700 at most.")
    assert isinstance(countries[1], Leaderboard)


START = date(2026, 7, 1)


@pytest.fixture(scope="module")
def engine() -> Iterator[QueryEngine]:
    """The engine of a page."""
    with QueryEngine("512MiB", 1, None) as engine:
        yield engine


def ask(metrics: str, dimensions: str, days: int = 9) -> ReportQuery:
    """A query of so many days."""
    return ReportQuery.of(metrics.split(), dimensions.split(), START, START + timedelta(days=days - 1))


def write_report(folder: Path, query: ReportQuery, rows: Sequence[Sequence[object]]) -> Path:
    """Write a report's file: DuckDB would take its name for a pattern, its folder's for a column."""
    file = folder / "views=7" / "a[b]*.csv"
    file.parent.mkdir(exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerows([[name.lower() for name in (*query.dimensions, *query.metrics)], *rows])
    return file


def random_rows(query: ReportQuery, many: int) -> list[list[str]]:
    """Rows of random categories with quotes, line ends and empty cells, by every day of the query."""
    random = Random(many)  # noqa: S311 - the same rows each time
    names = ["", "a", 'b "quoted", with commas', "two\nlines", "أخبار", *(f"c{n}" for n in range(40))]
    keys = {
        tuple(
            str(START + timedelta(days=random.randrange(9))) if name == "DAY" else random.choice(names)
            for name in query.dimensions
        )
        for _ in range(many)
    }
    return [[*key, *(_random_number(random, name) for name in query.metrics)] for key in sorted(keys)]


def _random_number(random: Random, metric: str) -> str:
    if metric == "FILL_RATE":
        return random.choice(["", f"0.{random.randrange(10000):04}"])
    return f"{random.randrange(10**6)}{'.123456' if metric.endswith('EUR') else ''}"


def in_page(engine: QueryEngine, work: object, *given: object) -> object:
    """What a page gets that runs its plans in the engine."""

    async def fetch(plan: Plan) -> Rows:
        session = engine.session()
        try:
            return await anyio.to_thread.run_sync(session.fetch, plan, "this page")
        finally:
            session.close()

    async def run() -> object:
        return await work(*given, fetch)  # type: ignore[operator]

    return anyio.run(run)


@pytest.mark.parametrize(
    ("metrics", "dimensions"),
    thin_out(
        [
            ("VIEWS", "DAY"),
            ("VIEWS", "VIDEO_TITLE"),
            ("VIEWS", "VIDEO_TITLE VISITOR_COUNTRY"),
            ("VIEWS", "DAY VIDEO_TITLE VISITOR_COUNTRY"),
            ("LIVE_VIEWERS", "DAY CHANNEL_SLUG"),
            ("FILL_RATE", "DAY INVENTORY_POSITION"),
            ("FILL_RATE NB_IMPRESSION SELLABLE_INVENTORY", "DAY INVENTORY_POSITION VISITOR_COUNTRY"),
            ("FILL_RATE NB_IMPRESSION SELLABLE_INVENTORY", "INVENTORY_POSITION VISITOR_COUNTRY"),
            ("ESTIMATED_EARNINGS_EUR", "MONTH DAY"),
        ],
        4,
    ),
)
@pytest.mark.parametrize("many", [0, 1, 9, 900])
def test_the_chart_of_a_file_is_that_of_all_its_rows(
    tmp_path: Path, engine: QueryEngine, metrics: str, dimensions: str, many: int
) -> None:
    """Sums of the engine, of the largest categories alone, draw the same as every row read one by one."""
    query = ask(metrics, dimensions)
    rows = random_rows(query, many)
    plan = plan_report_chart(query)
    assert isinstance(plan, ChartPlan)
    names = [name.lower() for name in (*query.dimensions, *query.metrics)]
    groups = read_groups(names, rows, plan.keys, [name.lower() for name in query.metrics], plan.formula)
    file = write_report(tmp_path, query, rows)
    drawn = in_page(engine, draw_chart, file, query, START)
    assert draw_file(drawn) == draw_file(plan.draw(groups, START, moving=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("time", ["", "DAY"])
def test_a_chart_names_videos_by_their_titles(tmp_path: Path, engine: QueryEngine, time: str) -> None:
    """Two of one title are told apart by their ids, and one without a title has its id for a name."""
    query, day = ask("VIEWS", f"{time} VIDEO_ID VIDEO_TITLE"), ["2026-07-01"] if time else []
    rows = [[*day, "x1", "Derby", 4], [*day, "x2", "Derby", 3], [*day, "x3", "", 2], [*day, "x4", "Cup\nfinal", 1]]
    chart = in_page(engine, draw_chart, write_report(tmp_path, query, rows), query, START)
    assert isinstance(chart, LineChart | BarChart)
    names = [line.name for line in chart.series] if isinstance(chart, LineChart) else [bar.label for bar in chart.bars]
    assert names == ["Derby (x1)", "Derby (x2)", "x3", "Cup final"]


def test_a_chart_that_would_be_wrong_or_costs_too_much_says_why(tmp_path: Path) -> None:
    """The reason is a sentence; nothing is read for the first."""

    async def refuse(_: Plan) -> Rows | OverBudget:
        return OverBudget("It took longer than 5 s.")

    async def run(query: ReportQuery) -> object:
        return await draw_chart(tmp_path / "none.csv", query, None, refuse)

    wrong = anyio.run(run, ask("LIVE_VIEWERS", "DAY CHANNEL_SLUG VIDEO_ID"))
    assert wrong == NoChart("LIVE_VIEWERS doesn't add up over VIDEO_ID; ask for it by DAY and CHANNEL_SLUG alone.")
    assert anyio.run(run, ask("VIEWS", "DAY")) == NoChart("There is no chart. It took longer than 5 s.")


def test_columns_are_totalled_where_their_rows_add_up(tmp_path: Path, engine: QueryEngine) -> None:
    """Counts are summed, a rate is made of its parts; viewers are not added, and a column says so."""
    query = ask("VIEWS FILL_RATE NB_IMPRESSION SELLABLE_INVENTORY LIVE_VIEWERS", "DAY")
    rows = [["2026-07-01", 5, "0.1000", 1, 10, 3], ["2026-07-02", 7, "", 81, 90, 4]]
    columns = in_page(engine, total_columns, write_report(tmp_path, query, rows), query)
    found = {column.header: (column.kind, column.total, column.reason) for column in columns}  # type: ignore[attr-defined]
    assert found == {
        "day": ("day", None, None),
        "views": ("views", 12, None),
        "fill_rate": ("share", Decimal("0.8200"), None),
        "nb_impression": ("impressions", 82, None),
        "sellable_inventory": ("ad opportunities", 100, None),
        "live_viewers": ("viewers", None, "One viewer may be counted in several rows."),
    }


@pytest.mark.parametrize(
    ("metrics", "dimensions", "reason"),
    [
        ("VIEWS", "CONTENT_TAG", "One fact may stand in several rows, one for each tag."),
        ("STORAGE_USED_BYTES", "DAY", "What there is on a day doesn't add up over days."),
        ("VIEW_THROUGH_RATE", "DAY", "A rate doesn't add up, and the report lacks the numbers that it is made of."),
    ],
)
def test_a_column_without_a_total_says_why(
    tmp_path: Path, engine: QueryEngine, metrics: str, dimensions: str, reason: str
) -> None:
    """Never a sum that means nothing."""
    query = ask(metrics, dimensions)
    columns = in_page(engine, total_columns, write_report(tmp_path, query, [["2026-07-01", "5"]]), query)
    assert [column.reason for column in columns] == [None, reason]  # type: ignore[attr-defined]


def test_first_rows_are_whole_whatever_the_file_holds(tmp_path: Path) -> None:
    """Quoted line ends, letters of several bytes at the end of what is read, long cells, files without rows."""
    query = ask("VIEWS", "VIDEO_TITLE")
    store = LocalFolder(tmp_path / "views=7")
    write_report(tmp_path, query, [])
    assert read_first_rows(store, "a[b]*.csv", 5) == []
    rows = [[f'{number} "two"\nlines', str(number)] for number in range(3)]
    write_report(tmp_path, query, rows)
    assert read_first_rows(store, "a[b]*.csv", 5) == rows
    assert read_first_rows(store, "a[b]*.csv", 2) == rows[:2]
    write_report(tmp_path, query, [["é" * 1000, str(number)] for number in range(1000)])
    assert len(read_first_rows(store, "a[b]*.csv", 1000)) in range(120, 132)
    assert read_first_rows(store, "a[b]*.csv", 1000)[-1][0] == "é" * 1000
    write_report(tmp_path, query, [["a", "1"], ["x" * 200_000, "2"]])
    assert read_first_rows(store, "a[b]*.csv", 5) == [["a", "1"]]
    with pytest.raises(FileNotFoundError):
        read_first_rows(store, "other.csv", 5)
