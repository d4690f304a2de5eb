"""The engine's mapping is total: what the catalog names lies somewhere, once, with the columns it needs."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from reelport.catalog import Dimension, Family, Filter, Metric, Stock, Sum, measures
from reelport.engine.mapping import CELLS, LOOKUPS, MEASURES, QUALIFYING, SOURCES, LookupCell, can_split, find_sources
from reelport.facts.tables import TABLES


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
        given = sqlglot.parse_one(LOOKUPS[cell.lookup].sql, read="duckdb", into=exp.Select).selects
        assert {"id", cell.column} <= {column.alias_or_name for column in given}


@pytest.mark.parametrize("name", LOOKUPS)
def test_each_lookup_says_which_tables_it_reads(name: str) -> None:
    """A lookup reads the object tables that it lists, and no facts."""
    read = {table.name for table in sqlglot.parse_one(LOOKUPS[name].sql, read="duckdb").find_all(exp.Table)}
    assert read == set(LOOKUPS[name].tables)
    assert not any(TABLES[table].is_fact for table in read)


def test_each_filter_is_of_a_cell_that_can_be_narrowed() -> None:
    """Filters look at texts: none is of a time, and none at a cell that a fact has many of."""
    assert all(row.dimension.grain is None and not row.dimension.many_valued for row in Filter)


def test_digits_of_sums_are_the_columns() -> None:
    """A sum is written with the digits of the column that it adds up."""
    sums = [metric for metric in Metric if isinstance(metric.rule, Sum)]
    assert all(metric.digits == MEASURES[measures(metric.rule)[0]].digits for metric in sums)


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
