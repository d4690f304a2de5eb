"""Views read the rollups that reports read: for fewer rows, never for another number."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.cases import thin_out
from tests.rotten_files import build_double, double_views

from reelport.catalog import Dimension, Grain, Metric, Product
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupList
from reelport.engine.rollups.shape import make_rollup
from reelport.engine.tenant import Tenant
from reelport.facts.loading.compaction import copy_tables_by_roles
from reelport.facts.loading.load import load_arrow
from reelport.facts.log.role_copies import LEAST_ROWS
from reelport.facts.rollups import add_rollup
from reelport.server.explore.numbers import Figure, Leaderboard, Numbers, OverBudget
from reelport.server.explore.view import Comparison, View
from reelport.server.explore.view_engine import LINES, ViewEngine
from reelport.server.settings import read_settings

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
    rows: list[dict[str, object]] = [
        {"started_at": f"2026-01-0{day}T05:00:00", "owner_channel_id": "c1", "video_id": f"v{number % 20}"}
        | {"media_type": "video", "views": day, "time_watched_seconds": 1, "visitor_country": ("FR", "DE")[number % 2]}
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
    rows = sum(part.kept_rows + sum(scan.rows for scan in part.scans) for part in planned.values())
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
    texts = {"owner_channel_id": "c9", "publisher_channel_id": "c1", "video_id": "v", "media_type": "video"}
    columns = {name: pa.repeat(pa.scalar(text), LEAST_ROWS) for name, text in texts.items()}
    counts = dict.fromkeys(("views", "time_watched_seconds"), pa.repeat(pa.scalar(1), LEAST_ROWS))
    times = pa.repeat(pa.scalar(datetime(2026, 1, 3, tzinfo=UTC)), LEAST_ROWS)
    root = tmp_path / "facts"
    load_arrow(root, "plays", pa.table({"started_at": times, **columns, **counts}), "one")
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
