"""What a report's file shows: the same chart as all of its rows give, totals where they add up, its first rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import anyio
import pytest
from tests.cases import thin_out

from reelport.charts.drawing import draw_file
from reelport.charts.report_chart import ChartPlan, NoChart, plan_report_chart
from reelport.cli.output.chart import read_groups
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.plan import Plan
from reelport.query import ReportQuery
from reelport.server.explore.file_preview import Rows, draw_chart, read_first_rows, total_columns
from reelport.server.explore.numbers import OverBudget
from reelport.storage.local_folder import LocalFolder

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
