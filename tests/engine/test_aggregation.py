"""A report whose first half was aggregated elsewhere is, byte for byte, the report of one statement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import cycle, islice
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.cases import thin_out

from reelport.catalog import Dimension, Distinct, Family, Grain, Metric, Product, Stock
from reelport.check import Rules, problems
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import compile_query
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.plan import single_piece
from reelport.engine.resolved_query import ResolvedQuery, resolve_query
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

from . import sample
from .aggregators import ByHalves, ByParquet, Recorded
from .drawn import queries
from .few import ME, earned, play, stored
from .sample import END, MINE, START
from .world import World, laid

ONCE = 10**9
FEWER = settings(max_examples=settings().max_examples // 2)
"""Each example is two or three reports; `--hypothesis-profile explore` still draws hundreds."""

EVERYTHING = Rules(permissive=True, dimensions=len(Dimension))
LATE = ReportQuery.of(["VIEWS"], ["VIDEO_ID", "VIDEO_TITLE", "CONTENT_TAG_LIST"], START, END)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Aggregator:
    return ByParquet(tmp_path_factory.mktemp("aggregated"))


def adds_up_over_days(query: ReportQuery) -> bool:
    """Whether reports of two ranges of days add up: not stocks and distinct counts, but where a row is of one day."""
    grains = [Dimension[name].grain for name in query.dimensions]
    by_day = any(grain is not None and grain <= Grain.DAY for grain in grains)
    return by_day or not any(isinstance(Metric[name].rule, Distinct | Stock) for name in query.metrics)


def of_family(family: Family, product: Product) -> Iterator[ReportQuery]:
    """All metrics by all dimensions at once and by none; then each metric by a few dimensions, until all had a turn."""
    metrics = [metric for metric in Metric if metric.family is family]
    dimensions = [dimension for dimension in Dimension if dimension in family.dimensions(permissive=True)]
    for split in (dimensions, []):
        yield ReportQuery.of(metrics, split, START, END, {}, product)
    few = [dimensions[at : at + 3] for at in range(0, len(dimensions), 3)]
    for metric, split in islice(zip(cycle(metrics), cycle(few), strict=False), max(len(metrics), len(few))):
        yield ReportQuery.of([metric], split, START, END, {}, product)


@pytest.mark.parametrize(
    ("family", "product"), thin_out(zip(Family, cycle(Product), strict=False), 14, nightly=True), ids=str
)
def test_a_report_is_the_same_wherever_it_was_aggregated(
    world: World, elsewhere: Aggregator, family: Family, product: Product
) -> None:
    """Every metric and dimension: month by month where it begins with a time, else at once."""
    for query in of_family(family, product):
        assert not problems(query, today=sample.LAST, rules=EVERYTHING)
        assert world.text(query, MINE, aggregator=elsewhere) == world.text(query, MINE)


@FEWER
@given(query=queries())
def test_a_drawn_report_is_the_same_wherever_it_was_aggregated(
    world: World, elsewhere: Aggregator, query: ReportQuery
) -> None:
    """Families, products, dimensions and days in any combination."""
    assert world.text(query, MINE, aggregator=elsewhere) == world.text(query, MINE)


@pytest.mark.parametrize("family", thin_out(Family, 6, nightly=True), ids=str)
def test_a_query_tells_the_types_of_its_aggregated_columns(world: World, family: Family) -> None:
    """By name, in order and with the types that DuckDB gives; a HUGEINT as a decimal without a fraction."""
    told = {"TEXT": "VARCHAR"}
    for query in of_family(family, Product.ALL):
        resolved = resolve_query(query, Tenant(MINE))
        select = DUCKDB.aggregate(resolved, world.snapshot)
        given = {name: type_ for name, type_, *_ in world.plain.execute(f"DESCRIBE {select}").fetchall()}
        columns = {name: told.get(type_, type_).replace(" ", "") for name, type_ in resolved.column_types.items()}
        assert list(given) == list(columns)
        counts = {name for name, type_ in given.items() if type_ == "HUGEINT"}
        assert {columns.pop(name) for name in counts} <= {"DECIMAL(38,0)"}
        assert given.items() >= columns.items()


def test_each_piece_is_aggregated_by_itself(world: World, elsewhere: Aggregator) -> None:
    """Whoever aggregates a report by day is asked for one month after the other."""
    recorded = Recorded(elsewhere)
    query = ReportQuery.of(["VIEWS"], ["DAY"], START, END)
    assert world.text(query, MINE, aggregator=recorded) == world.text(query, MINE)
    asked = [(each.start, each.end) for each in recorded.asked]
    assert asked == [(START, date(2023, 6, 30)), (date(2023, 7, 1), END)]


def test_nobody_aggregates_for_a_tenant_without_rows(world: World) -> None:
    """A partner without a channel, and a product whose role the facts lack: a header, and no aggregator is asked."""
    recorded = Recorded(DUCKDB)
    uploads = ReportQuery.of(["UPLOADS"], ["DAY"], START, END, product=Product.EMBED.name)
    assert world.text(uploads, MINE, aggregator=recorded) == "day,uploads\n"
    assert world.text(replace(uploads, product="CONTENT"), frozenset(), aggregator=recorded) == "day,uploads\n"
    assert recorded.asked == []


def test_metrics_without_a_source_are_handed_over_empty(world: World, elsewhere: Aggregator) -> None:
    """Uploads and storage have no publisher: beside views of EMBED their columns are empty, of whatever type."""
    metrics = ["VIEWS", "UPLOADS", "STORAGE_USED_BYTES", "ESTIMATED_EARNINGS_EUR", "LIVE_VIEWERS"]
    for dimensions in (["DAY", "VIDEO_ID"], []):
        query = ReportQuery.of(metrics, dimensions, START, END, product=Product.EMBED.name)
        assert world.text(query, MINE, aggregator=elsewhere) == world.text(query, MINE)


def test_a_report_without_facts_is_a_header(world: World, elsewhere: Aggregator) -> None:
    """With dimensions or without, an aggregation of no rows gives no row."""
    early = date(2020, 1, 1), date(2020, 3, 1)
    for dimensions in (["DAY", "VIDEO_ID", "VIDEO_TITLE"], ["VISITOR_COUNTRY"], []):
        query = ReportQuery.of(["VIEWS", "ECPM_EUR"], dimensions, *early)
        header = ",".join([*dimensions, "VIEWS", "ECPM_EUR"]).lower()
        assert world.text(query, MINE, aggregator=elsewhere) == f"{header}\n"


def test_sums_keep_all_their_digits(folder: Path, engine: QueryEngine, elsewhere: Aggregator) -> None:
    """Sums that no double and no integer of 64 bits holds, and money to its last digit."""
    most = 2**63 - 1
    plays = [play(views=most)] * 3
    world = laid({"plays": plays, "earnings": [earned("999999999999.999999")] * 3}, folder, engine)
    query = ReportQuery.of(["VIEWS", "ESTIMATED_EARNINGS_EUR"], [], date(2023, 7, 1), date(2023, 7, 1))
    text = world.text(query, ME, aggregator=elsewhere)
    assert text.splitlines()[1] == f"{3 * most},2999999999999.999997"


def test_writing_reads_the_relation_and_lookups_alone(world: World) -> None:
    """Once aggregated, a report is written from a snapshot that has no facts: titles are looked up, nothing else."""
    objects = {name: files for name, files in world.snapshot.listing.items() if not TABLES[name].is_fact}
    without = replace(world.snapshot, listing=objects)

    class Before(Aggregator):
        def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
            assert snapshot is without
            return ByParquet(world.folder / "late").aggregate(resolved, world.snapshot)

    plan = compile_query(LATE, Tenant(MINE), without, Before())
    assert [key.name for key in resolve_query(LATE, Tenant(MINE)).keys] == ["VIDEO_ID"]
    world.engine.session().write(single_piece(plan), world.folder / "late.csv")
    assert (world.folder / "late.csv").read_text() == world.text(LATE, MINE)


@FEWER
@given(query=queries(), data=st.data())
def test_additive_aggregations_add_up_over_days(world: World, query: ReportQuery, data: st.DataObject) -> None:
    """Two ranges of days, aggregated apart and added up by their keys, give the report of both, rates included."""
    assume(query.days > 1 and adds_up_over_days(query))
    cut = query.start + timedelta(days=data.draw(st.integers(0, query.days - 2)))
    by_halves = world.text(query, MINE, worth=ONCE, aggregator=ByHalves(cut, world.folder / "kept"))
    assert by_halves == world.text(query, MINE, worth=ONCE)


@pytest.mark.parametrize(("metric", "whole", "halves"), [("LIVE_VIEWERS", "1", "2"), ("STORAGE_USED_BYTES", "8", "10")])
def test_what_is_not_additive_does_not_add_up(
    folder: Path, engine: QueryEngine, metric: str, whole: str, halves: str
) -> None:
    """A viewer of two days would count twice, and storage of two days as both days' together; by day both are right."""
    days = ["2023-07-01", "2023-07-02"]
    plays = [play(f"{day}T05:00:00", media_type="live", viewer="v1") for day in days]
    usage = [stored(day, size) for day, size in zip(days, (2, 8), strict=True)]
    world = laid({"plays": plays, "usage": usage}, folder, engine)
    added = ByHalves(date(2023, 7, 1), folder / "kept")
    query = ReportQuery.of([metric], [], date(2023, 7, 1), date(2023, 7, 2))
    assert not adds_up_over_days(query)
    assert world.text(query, ME).splitlines()[1] == whole
    assert world.text(query, ME, aggregator=added).splitlines()[1] == halves
    by_day = replace(query, dimensions=("DAY",))
    assert adds_up_over_days(by_day)
    assert world.text(by_day, ME, worth=ONCE, aggregator=added) == world.text(by_day, ME)
