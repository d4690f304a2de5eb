"""What the catalog names lies somewhere, once; what a report will read; whom the loaded earnings belong to."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from reelport.catalog import Dimension, Distinct, Family, Filter, Metric, Payee, Product, Role, Stock, Sum, measures
from reelport.cli.main import main
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.mapping import CELLS, LOOKUPS, MEASURES, QUALIFYING, SOURCES, LookupCell, can_split, find_sources
from reelport.engine.payee_totals import PayeeTotal, sum_by_payee
from reelport.engine.report_size import RowGroupIndex
from reelport.engine.resolved_query import Refinement, SourceQuery, resolve_query
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError, ReelportError
from reelport.facts.allowed_values import MONETIZATION_TYPES
from reelport.facts.layout import check_layout
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

from . import sample
from .test_laws import day_of, payee
from .world import World, loaded


def _metrics(family: Family) -> tuple[Metric, ...]:
    return tuple(metric for metric in Metric if metric.family is family)


def test_each_measure_is_located_once_and_none_is_idle() -> None:
    """The measures of the catalog's rules are exactly those that the mapping locates."""
    named = {name for metric in Metric for name in measures(metric.rule)}
    assert set(MEASURES) == named


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_reads_columns_that_exist(name: str) -> None:
    """A measure's expression names columns of its source's table, and money where it says so."""
    measure = MEASURES[name]
    columns = [column.name for column in sqlglot.parse_one(measure.value, read="duckdb").find_all(exp.Column)]
    kinds = {TABLES[measure.source.table].column(column).kind.value for column in columns}
    assert ("money" in kinds) == bool(measure.digits)


@pytest.mark.parametrize("family", Family, ids=str)
def test_each_source_carries_what_its_family_offers(family: Family) -> None:
    """Every dimension and filter of a family, inferred ones too, is there in each source of its metrics."""
    sources = find_sources(_metrics(family))
    assert sources
    offered = family.dimensions(permissive=True) | {row.dimension for row in family.filters}
    lacking = {(source.name, each.name) for source in sources for each in offered if not can_split(source, each)}
    assert not lacking


@pytest.mark.parametrize("dimension", Dimension, ids=str)
def test_each_dimension_has_a_cell(dimension: Dimension) -> None:
    """Every dimension has a place that at least one source carries, and a lookup that gives its column."""
    assert any(can_split(source, dimension) for source in SOURCES.values())
    cell = CELLS[dimension]
    if isinstance(cell, LookupCell):
        assert cell.column in LOOKUPS[cell.lookup].columns


@pytest.mark.parametrize("name", LOOKUPS)
def test_each_lookup_reads_object_tables(name: str) -> None:
    """And no facts."""
    assert LOOKUPS[name].tables
    assert not any(TABLES[table].is_fact for table in LOOKUPS[name].tables)


def test_each_filter_is_of_a_cell_that_can_be_narrowed() -> None:
    """Filters look at texts: none is of a time, and none at a cell that a fact has many of."""
    assert all(row.dimension.grain is None and not row.dimension.many_valued for row in Filter)


def test_digits_of_sums_are_the_columns() -> None:
    """A sum is written with the digits of the column that it adds up."""
    sums = [metric for metric in Metric if isinstance(metric.rule, Sum)]
    assert all(metric.digits == MEASURES[measures(metric.rule)[0]].digits for metric in sums)


def test_a_distinct_count_counts_values_and_no_other_metric_does() -> None:
    """A column's values are counted or summed by its kind, whichever metric is asked for."""
    for metric in Metric:
        counts = {MEASURES[name].is_distinct_count for name in measures(metric.rule)}
        assert counts == {isinstance(metric.rule, Distinct)}


@pytest.mark.parametrize(
    ("dimensions", "filters", "kept"),
    [
        (["MONETIZATION_TYPE"], {}, ()),
        ([], {"monetizationType": "video"}, ()),
        ([], {}, ((Dimension.MONETIZATION_TYPE, "video"),)),
    ],
    ids=["by a dimension", "by a filter", "narrowed"],
)
def test_a_query_that_was_not_checked_has_no_sources(
    dimensions: list[str], filters: dict[str, str], kept: tuple[tuple[Dimension, str], ...]
) -> None:
    """No SQL is made of facts that lack what it asks for, whichever way it asks."""
    query = ReportQuery.of(["STORAGE_USED_BYTES"], dimensions, FIRST, LAST, filters)
    with pytest.raises(InternalError, match="storage facts carry no MONETIZATION_TYPE: the query was not checked"):
        _ = resolve_query(query, Tenant(frozenset({"a"})), Refinement(kept)).sources


def test_a_source_of_stocks_holds_nothing_else() -> None:
    """The latest day narrows all that a report takes from a source: stocks share theirs with no flow."""
    stocks = {source for metric in Metric if isinstance(metric.rule, Stock) for source in _names(metric)}
    others = {source for metric in Metric if not isinstance(metric.rule, Stock) for source in _names(metric)}
    assert stocks
    assert not stocks & others


def _names(metric: Metric) -> set[str]:
    return {source.name for source in find_sources((metric,))}


def test_names_inside_a_query_do_not_meet() -> None:
    """Headers, measures and the reader's own channel are told apart where they stand in one row."""
    headers = {dimension.header for dimension in Dimension}
    assert headers.isdisjoint(MEASURES)
    assert QUALIFYING not in headers | set(MEASURES)
    assert all(column.name != QUALIFYING for table in TABLES.values() for column in table.columns)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine) -> tuple[Path, World]:
    """A data directory that the fixed facts were loaded into."""
    folder = tmp_path_factory.mktemp("payees") / "data"
    check_layout(folder)
    tables = sample.tables()
    return folder, loaded({name: tables[name] for name in ("earnings", "channels")}, folder, engine)


def by_hand(world: World, start: date, end: date) -> list[PayeeTotal]:
    """The sums of the same rows in plain Python."""
    found: dict[object, list[Mapping[str, object]]] = defaultdict(list)
    for row in world.tables["earnings"]:
        if start <= day_of(row) <= end:
            found[payee(row)].append(row)
    slugs = {row["id"]: row["slug"] for row in world.tables["channels"]}
    sums = [
        (channel, slugs.get(channel), len(rows), *(_sum(rows, column) for column in ("eur", "usd")))
        for channel, rows in found.items()
    ]
    return [PayeeTotal(*one) for one in sorted(sums, key=lambda one: (one[0] is None, str(one[0])))]  # type: ignore[arg-type]  # cells of rows


def _sum(rows: list[Mapping[str, object]], column: str) -> Decimal:
    return sum((Decimal(str(row[column])) for row in rows), Decimal(0))


def test_payees_and_nobody_are_the_whole_table(data: tuple[Path, World]) -> None:
    """Each channel's rows and sums are those of the rule, and together they are all that is loaded."""
    folder, world = data
    found = list(sum_by_payee(folder / "facts", None, None))
    assert found == by_hand(world, sample.FIRST, sample.LAST)
    assert found[-1].channel is None
    assert sum(one.eur for one in found) == _sum(list(world.tables["earnings"]), "eur")
    some = list(sum_by_payee(folder / "facts", sample.START, sample.END))
    assert some == by_hand(world, sample.START, sample.END)
    assert some != found


def test_the_command_shows_payees_nobody_and_the_total(
    data: tuple[Path, World], capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a payee, nobody's, their sum; the same for programs; a range that ends before it begins is refused."""
    folder, world = data

    def run(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["payees", *words, "--data", str(folder)])
        return left.value.code, *capsys.readouterr()

    expected = by_hand(world, sample.FIRST, sample.LAST)
    status, out, _ = run()
    lines = out.splitlines()
    assert (status, len(lines)) == (0, len(expected) + 2)
    assert lines[-2].startswith("(nobody)")
    assert lines[-1].split()[:2] == ["total", f"{len(world.tables['earnings'])}"]
    assert [one["rows"] for one in json.loads(run("--json")[1])] == [one.rows for one in expected]
    status, _, err = run("--start", "2023-07-02", "--end", "2023-07-01")
    assert (status, "is before" in err) == (2, True)


def test_each_kind_of_monetization_has_its_payee() -> None:
    """The kinds are those of the facts, and the empty one; each role can be paid."""
    assert {row.kind for row in Payee} == {*MONETIZATION_TYPES, ""}
    assert {row.role for row in Payee} == set(Role)


FIRST, LAST = date(2026, 7, 1), date(2026, 7, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of four row groups of two rows: a on days 1 and 2, a on 3 and 4, b on 1 and 2, é on 3 and nobody."""
    folder = tmp_path / "a*b?[c]' é" / "earnings"
    folder.mkdir(parents=True)
    rows = {
        "owner_channel_id": ["a", "a", "a", "a", "b", "b", "é", None],
        "day": [date(2026, 7, day) for day in (1, 2, 3, 4, 1, 2, 3, 4)],
    }
    pq.write_table(pa.table(rows), folder / "f.parquet", row_group_size=2)
    return folder / "f.parquet"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[RowGroupIndex]:
    with QueryEngine("400MB", 1, None, within=(tmp_path,)) as engine:
        yield RowGroupIndex(engine)


@pytest.mark.parametrize(
    ("channels", "start", "end", "rows"),
    [
        (None, FIRST, LAST, 8),
        (None, FIRST, FIRST, 4),
        (None, date(2026, 7, 5), date(2026, 7, 6), 0),
        ({"a"}, FIRST, LAST, 4),
        ({"a"}, date(2026, 7, 2), date(2026, 7, 2), 2),
        ({"b", "é"}, FIRST, LAST, 4),
        ({"aa"}, FIRST, LAST, 0),
    ],
)
def test_only_row_groups_that_may_hold_a_row_count(
    index: RowGroupIndex, path: Path, channels: set[str] | None, start: date, end: date, rows: int
) -> None:
    """By days, and where only owners count by owners; a second look reads no footer."""
    earnings, snapshot = pinned(path, channels, start, end)
    assert index.count_rows(earnings, snapshot) == rows
    path.unlink()
    assert index.count_rows(earnings, snapshot) == rows


def pinned(path: Path, channels: set[str] | None, start: date, end: date) -> tuple[SourceQuery, Snapshot]:
    """A question about the file's earnings by owners; by every role without channels."""
    product = Product.ALL if channels is None else Product.CONTENT
    query = ReportQuery.of(["ESTIMATED_EARNINGS_EUR"], [], start, end, product=product)
    files = {"earnings": (DataFile(path.name, 0, 8),)}
    (earnings,) = resolve_query(query, Tenant(frozenset({"a"} if channels is None else channels))).sources
    return earnings, Snapshot(path.parent.parent, {"earnings": 0}, files)


def test_a_file_that_can_not_be_read_is_told(index: RowGroupIndex, path: Path) -> None:
    """It raises, as reading its rows would."""
    path.write_bytes(b"no parquet")
    with pytest.raises(ReelportError, match="this page"):
        index.count_rows(*pinned(path, None, FIRST, LAST))
