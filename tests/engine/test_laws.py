"""Laws that hold for every report, tried on drawn queries over several worlds of facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reelport.catalog import Dimension, Family, Filter, Metric, Product, Ratio, Role
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.mapping import SOURCES, find_sources
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

from . import sample
from .drawn import ADDITIVE, queries
from .sample import MINE
from .world import Rows, Tables, World, laid

pytestmark = pytest.mark.long

Sums = dict[tuple[str, ...], list[Decimal]]
ROLE = {Product.CONTENT: (Role.OWNER,), Product.EMBED: (Role.PUBLISHER,), Product.CLAIM: (Role.CLAIMER,)}
SEEDS = 3
fewer = settings(max_examples=settings().max_examples // 2)
"""Laws of which one example takes many reports."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine) -> list[World]:
    folder = tmp_path_factory.mktemp("laws")
    return [laid(sample.tables(seed), folder / str(seed), engine) for seed in range(SEEDS)]


@pytest.fixture(scope="module")
def walled(worlds: list[World], tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[int, Product], World]:
    """The same worlds without a fact row that isn't the reader's by the product's role or as its payee."""
    folder = tmp_path_factory.mktemp("walled")
    return {
        (seed, product): laid(_mine(world.tables, product), _made(folder, seed, product), world.engine)
        for seed, world in enumerate(worlds)
        for product in Product
    }


@pytest.fixture(scope="module")
def scattered(worlds: list[World], tmp_path_factory: pytest.TempPathFactory) -> list[World]:
    """The same worlds sorted by owner and cut into files of a few rows, each with its days and owners."""
    folder = tmp_path_factory.mktemp("scattered")
    return [
        laid(_by_owner(world.tables), folder / str(seed), world.engine, rows_a_file=25)
        for seed, world in enumerate(worlds)
    ]


def _by_owner(tables: Tables) -> Tables:
    return {
        name: sorted(rows, key=lambda row: str(row["owner_channel_id"])) if TABLES[name].is_fact else rows
        for name, rows in tables.items()
    }


def _made(folder: Path, seed: int, product: Product) -> Path:
    return folder / str(seed) / product.name


def _mine(tables: Tables, product: Product) -> Tables:
    columns = [f"{role}_channel_id" for role in ROLE.get(product, (*Role, "payee"))]
    return {
        name: [row for row in rows if any(row.get(column) in MINE for column in columns)]
        if TABLES[name].is_fact
        else rows
        for name, rows in tables.items()
    }


seeds = st.integers(0, SEEDS - 1)


def sums(rows: Rows, keys: list[int], numbers: list[int]) -> Sums:
    """The columns `numbers`, summed by the columns `keys`; an empty number counts as 0."""
    found: Sums = defaultdict(lambda: [Decimal(0)] * len(numbers))
    for row in rows:
        key = tuple(row[index] for index in keys)
        found[key] = [total + Decimal(row[index] or 0) for total, index in zip(found[key], numbers, strict=True)]
    return dict(found)


def totals(query: ReportQuery, rows: Rows) -> Sums:
    """A report's rows as sums by all its cells."""
    width = len(query.dimensions)
    return sums(rows, list(range(width)), list(range(width, width + len(query.metrics))))


@given(seed=seeds, query=queries(ADDITIVE), data=st.data())
def test_a_dimension_can_be_summed_away(
    worlds: list[World], seed: int, query: ReportQuery, data: st.DataObject
) -> None:
    """Adding a single-valued dimension and summing it away, the empty value included, gives the same numbers."""
    single = [name for name in query.dimensions if not Dimension[name].many_valued]
    assume(single)
    away = query.dimensions.index(data.draw(st.sampled_from(single)))
    rest = [name for name in query.dimensions if name != query.dimensions[away]]
    coarse = ReportQuery.of(query.metrics, rest, query.start, query.end, product=query.product)
    keys = [index for index in range(len(query.dimensions)) if index != away]
    numbers = list(range(len(query.dimensions), len(query.dimensions) + len(query.metrics)))
    fine = sums(worlds[seed].report(query, MINE), keys, numbers)
    assert fine == totals(coarse, worlds[seed].report(coarse, MINE))


@fewer
@given(seed=seeds, query=queries(ADDITIVE), data=st.data())
def test_two_ranges_are_their_union(worlds: list[World], seed: int, query: ReportQuery, data: st.DataObject) -> None:
    """The report of days A and B is the sum of the reports of A and of B."""
    assume(query.days > 1)
    cut = query.start + timedelta(days=data.draw(st.integers(0, query.days - 2)))
    whole = worlds[seed].report(query, MINE)
    first = worlds[seed].report(query.within(query.start, cut), MINE)
    second = worlds[seed].report(query.within(cut + timedelta(days=1), query.end), MINE)
    assert totals(query, whole) == totals(query, first + second)
    if query.dimensions[:1] == ("DAY",):
        assert whole == first + second


@fewer
@given(seed=seeds, query=queries(ADDITIVE), data=st.data())
def test_a_report_is_the_sum_over_the_values_of_a_filter(
    worlds: list[World], seed: int, query: ReportQuery, data: st.DataObject
) -> None:
    """A report equals its reports for every value of a filter, the empty one included."""
    families = {Metric[name].family for name in query.metrics}
    filters = sorted(frozenset(Filter).intersection(*(family.filters for family in families)), key=str)
    by = data.draw(st.sampled_from(filters))
    parts: Rows = []
    for value in _values(by):
        days = query.start, query.end
        narrowed = ReportQuery.of(query.metrics, query.dimensions, *days, {by.name: value}, query.product)
        parts += worlds[seed].report(narrowed, MINE)
    assert totals(query, worlds[seed].report(query, MINE)) == totals(query, parts)


def _values(by: Filter) -> list[str]:
    """Every value that the cell of the filter takes in the worlds, and the empty one."""
    if by.choices:
        return [*by.choices, ""]
    groups = ["dailymotion", "news group", "été, «fête»", ""]
    return groups if by is Filter.visitorDomainGroup else ["demo-news", "demo-sport", "rival", "other", ""]


RATES = {
    "AVERAGE_WATCH_TIME_SEC": ("TIME_WATCHED_SECONDS", ["VIEWS"]),
    "FILL_RATE": ("NB_IMPRESSION", ["SELLABLE_INVENTORY"]),
    "GDPR_FULL_CONSENT_SCORE": (
        "GDPR_FULL_CONSENT_INVENTORY",
        [f"GDPR_{state}_CONSENT_INVENTORY" for state in ("EMPTY", "ERROR", "FULL", "OTHER", "REFUSE")],
    ),
    "IVT_SCORE": ("INVALID_TRAFFIC_INVENTORY", ["INVALID_TRAFFIC_INVENTORY", "VALID_TRAFFIC_INVENTORY"]),
    "VTR_SCORE": ("AD_VIEW_COMPLETED", ["AD_VIEW_COMPLETED", "AD_VIEW_NOT_COMPLETED"]),
    "VIEWABILITY_SCORE": ("HIGH_VIEWABLE_IMPRESSIONS", ["NB_IMPRESSION"]),
    "NO_AD_RATE": ("NO_ADS", ["TOTAL_INVENTORY"]),
}
"""Every rate whose sums are metrics themselves."""
APART = {"VIEW_THROUGH_RATE", "ECPM_EUR", "ECPM_USD", "ERPM_EUR", "ERPM_USD"}
"""Rates over sums that are no metrics: `test_meaning.py` and `test_mixed_families.py` have them."""


@given(seed=seeds, rate=st.sampled_from(sorted(RATES)), data=st.data())
def test_a_rate_is_a_sum_over_a_sum_at_any_grain(
    worlds: list[World], seed: int, rate: str, data: st.DataObject
) -> None:
    """In each row a rate is what the sums of that very row give, empty where they divide by 0."""
    over, under = RATES[rate]
    metrics = [rate, *dict.fromkeys([over, *under])]
    asked = data.draw(queries([Metric[rate]]))
    families = {Metric[name].family for name in metrics}
    row = frozenset(Dimension).intersection(*(family.dimensions(permissive=True) for family in families))
    dimensions = [name for name in asked.dimensions if Dimension[name] in row]
    query = ReportQuery.of(metrics, dimensions, asked.start, asked.end, product=asked.product)
    for cells in worlds[seed].report(query, MINE):
        named = dict(zip(metrics, cells[len(dimensions) :], strict=True))
        below = sum(Decimal(named[name]) for name in under)
        assert named[rate] == (_rate(rate, Decimal(named[over]), Decimal(below)) if below else "")


def _rate(name: str, over: Decimal, below: Decimal) -> str:
    rule = Metric[name].rule
    assert isinstance(rule, Ratio)
    with localcontext(prec=80):
        return str((rule.scale * over / below).quantize(Decimal(1).scaleb(-rule.digits), ROUND_HALF_UP) + 0)


def test_every_rate_is_put_to_the_law() -> None:
    """No rate of the catalog is left out above."""
    assert {*RATES, *APART} == {metric.name for metric in Metric if isinstance(metric.rule, Ratio)}


@given(seed=seeds, query=queries())
def test_other_partners_rows_change_nothing(
    worlds: list[World], walled: Mapping[tuple[int, Product], World], seed: int, query: ReportQuery
) -> None:
    """A report is the same where no row of another partner exists at all: none is ever in it."""
    alone = walled[seed, Product[query.product]]
    assert worlds[seed].text(query, MINE) == alone.text(query, MINE)


@given(seed=seeds, query=queries(), channels=st.sampled_from([MINE, frozenset({"c-sport"})]))
def test_how_facts_lie_in_files_changes_nothing(
    worlds: list[World], scattered: list[World], seed: int, query: ReportQuery, channels: frozenset[str]
) -> None:
    """A report is the same, byte for byte, from one file a table and from many that are left out by days and owners."""
    assert worlds[seed].text(query, channels) == scattered[seed].text(query, channels)


@given(seed=seeds, query=queries(ADDITIVE), data=st.data())
def test_channels_add_up(worlds: list[World], seed: int, query: ReportQuery, data: st.DataObject) -> None:
    """In one role a fact has one channel: a report of some channels is the sum of the reports of each."""
    assume(query.product != Product.ALL.name)
    channels = data.draw(st.frozensets(st.sampled_from(sorted(MINE))))
    parts = [row for channel in sorted(channels) for row in worlds[seed].report(query, frozenset({channel}))]
    assert totals(query, worlds[seed].report(query, channels)) == totals(query, parts)


MONEY = {
    Metric.ESTIMATED_EARNINGS_EUR: "eur",
    Metric.ESTIMATED_EARNINGS_USD: "usd",
    Metric.ESTIMATED_EARNINGS_EUR_OLD: "eur_old",
    Metric.ESTIMATED_EARNINGS_USD_OLD: "usd_old",
}
partners = st.lists(st.integers(0, 3), min_size=len(sample.CHANNELS), max_size=len(sample.CHANNELS))


def payee(row: Mapping[str, object]) -> object:
    """The channel that a row's money belongs to, None where it is nobody's."""
    if row["payee_channel_id"] is not None:
        return row["payee_channel_id"]
    match row["monetization_type"]:
        case "claim":
            return row["claimer_channel_id"]
        case "website_monetization":
            return row["publisher_channel_id"]
        case _:
            return row["owner_channel_id"]


@given(seed=seeds, query=queries(MONEY), holders=partners)
def test_no_euro_counts_twice_and_none_is_lost(
    worlds: list[World], seed: int, query: ReportQuery, holders: list[int]
) -> None:
    """However channels are held, all partners' earnings under ALL, and what is nobody's, are the table's."""
    everything = ReportQuery.of(query.metrics, [], query.start, query.end, product=Product.ALL.name)
    held = [frozenset(c for c, h in zip(sample.CHANNELS, holders, strict=True) if h == holder) for holder in range(4)]
    rows = [row for row in worlds[seed].tables["earnings"] if query.start <= day_of(row) <= query.end]
    nobodys = [row for row in rows if payee(row) is None]
    reports = [worlds[seed].report(everything, channels) for channels in held]
    for at, column in enumerate(MONEY[Metric[name]] for name in query.metrics):
        paid = sum((Decimal(row[at]) for report in reports for row in report), _sum(nobodys, column))
        assert paid == _sum(rows, column)
    for channels, report in zip(held, reports, strict=True):
        own = [_sum([row for row in rows if payee(row) in channels], MONEY[Metric[name]]) for name in query.metrics]
        assert [Decimal(cell) for row in report for cell in row] in (own, [])


def day_of(row: Mapping[str, object]) -> date:
    """The day of a row of earnings."""
    day = row["day"]
    assert isinstance(day, date)
    return day


def _sum(rows: Iterable[Mapping[str, object]], column: str) -> Decimal:
    values = (row[column] for row in rows)
    return sum((value for value in values if isinstance(value, Decimal)), Decimal(0))


@given(seed=seeds, query=queries(MONEY), channels=st.frozensets(st.sampled_from(sample.CHANNELS)))
def test_money_of_a_product_is_a_part_of_all_money(
    worlds: list[World], seed: int, query: ReportQuery, channels: frozenset[str]
) -> None:
    """By the payee's roles: rows under CONTENT, EMBED and CLAIM are rows of ALL, which has each of them once."""
    rows = [row for row in worlds[seed].tables["earnings"] if query.start <= day_of(row) <= query.end]
    for product, roles in ROLE.items():
        asked = ReportQuery.of(query.metrics, [], query.start, query.end, product=product.name)
        own = [row for row in rows if payee(row) in channels and payee(row) == row[f"{roles[0]}_channel_id"]]
        expected = [[_sum(own, MONEY[Metric[name]]) for name in query.metrics]] if own else []
        assert [[Decimal(cell) for cell in row] for row in worlds[seed].report(asked, channels)] == expected


def test_the_families_of_one_role_are_known() -> None:
    """Families answer the products whose role one of their sources has."""
    one_role = {family for family in Family if _roles(family) == {Role.OWNER}}
    assert one_role == {Family.UPLOADS, Family.TRANSCODING, Family.STORAGE, Family.AI}
    assert all(Role.OWNER in source.roles for source in SOURCES.values())


def _roles(family: Family) -> set[Role]:
    metrics = tuple(metric for metric in Metric if metric.family is family)
    return {role for source in find_sources(metrics) for role in source.roles}
