"""Every metric, dimension, product and filter against SQL written by hand, and the whole matrix that is accepted."""

from __future__ import annotations

from itertools import cycle, product

import pytest
from tests.cases import thin_out

from reelport.catalog import Dimension, Family, Filter, Metric, Product, Scope
from reelport.check import Rules, problems
from reelport.engine.compile import compile_query
from reelport.engine.tenant import EveryChannel, Tenant
from reelport.query import ReportQuery

from . import sample
from .oracle import CELLS, CHANNELS, DAYS, EARNINGS, METRICS, MOMENTS, PAID, ROLES, SOURCES, asked, by_hand
from .sample import END, MINE, START
from .world import World

WIDEST = max(SOURCES, key=lambda family: len(Family[family].dimensions(permissive=True)))


def dimensions_of(family: str) -> list[str]:
    return sorted(each.name for each in Family[family].dimensions(permissive=True))


SPLITS: list[tuple[str, tuple[str, ...]]] = [(WIDEST, (dimension,)) for dimension in dimensions_of(WIDEST)]
SPLITS += [
    (family, tuple(names[at : at + 2]))
    for family in SOURCES
    if family != WIDEST and (names := dimensions_of(family))
    for at in range(0, len(names), 2)
]


def of_family(family: str) -> list[str]:
    return [metric.name for metric in Metric if metric.family.name == family]


PRODUCTS = [each.name for each in Product]
TOTAL: list[str] = []
EVERY = EveryChannel(frozenset(Scope))
SPLIT = ["MONTH", "VIDEO_TITLE"]


@pytest.mark.parametrize(("family", "product"), thin_out(product(SOURCES, PRODUCTS), 3, nightly=True))
def test_each_metric_is_its_hand_written_number(world: World, family: str, product: str) -> None:
    """Every metric, in every product, in all and by month and title, equals hand-written SQL."""
    for dimensions in (TOTAL, SPLIT):
        _compare(world, family, of_family(family), dimensions, product)


@pytest.mark.parametrize("metric", thin_out(METRICS, 20, nightly=True))
def test_each_metric_alone_is_its_hand_written_number(world: World, metric: str) -> None:
    """Nothing that another metric brings with it is needed: one metric and product after the other."""
    turn = list(METRICS).index(metric)
    _compare(world, Metric[metric].family.name, [metric], (TOTAL, SPLIT)[turn % 2], PRODUCTS[turn // 2 % 4])


def _compare(world: World, family: str, metrics: list[str], dimensions: list[str], product: str) -> None:
    expected = world.by_hand(by_hand(family, metrics, dimensions, product), len(dimensions))
    assert world.report(asked(" ".join(metrics), " ".join(dimensions), product), MINE) == expected
    assert bool(expected) == (SOURCES[family][2][product] != "false")


@pytest.mark.parametrize(("family", "product"), thin_out(product(SOURCES, PRODUCTS), 5, nightly=True))
def test_the_platform_sees_the_rows_of_every_channel(world: World, family: str, product: str) -> None:
    """In each product those rows that have a channel of that role, and the money of every payee."""
    metrics, by = of_family(family), ["VIDEO_OWNER_CHANNEL_SLUG"]
    sql = by_hand(family, metrics, by, product).replace(f"IN {CHANNELS}", "IS NOT NULL")
    found = world.report(asked(" ".join(metrics), " ".join(by), product), EVERY)
    assert found == world.by_hand(sql, len(by))
    assert not found or found != world.report(asked(" ".join(metrics), " ".join(by), product), MINE)


@pytest.mark.parametrize(("family", "dimensions"), thin_out(SPLITS, 15, nightly=True), ids=str)
def test_each_dimension_splits_as_hand_written(world: World, family: str, dimensions: tuple[str, ...]) -> None:
    """Every dimension of every family of one source, over all three roles, equals hand-written SQL.

    Alone where a family has the most of them, and two at a time elsewhere.
    """
    _compare(world, family, of_family(family), list(dimensions), "ALL")


def test_nothing_is_left_without_hand_written_sql() -> None:
    """Metrics and dimensions of the catalog are all written out here, but for those with tests of their own."""
    apart = {metric.name for metric in Metric if metric.family is Family.REVENUE_ADS}
    assert set(METRICS) | apart == {metric.name for metric in Metric}
    times = {dimension.name for dimension in Dimension if dimension.grain}
    assert set(CELLS) | times | {"CHANNEL_SLUG"} == {dimension.name for dimension in Dimension}


EVERYTHING = Rules(permissive=True, dimensions=len(Dimension))
CASES = [(family, product) for family in Family for product in Product]
ONCE = 10**9
"""Facts that are worth less are asked at once, as a short report is; `test_pieces.py` has the others."""


def _asked(metrics: list[Metric], product: Product, dimensions: list[Dimension], **filters: str) -> ReportQuery:
    return ReportQuery.of(metrics, dimensions, START, END, filters, product)


def _fits(query: ReportQuery) -> bool:
    return not problems(query, today=sample.LAST, rules=EVERYTHING)


@pytest.mark.long
@pytest.mark.parametrize("family", thin_out(Family, 7, nightly=True), ids=str)
def test_what_check_accepts_of_a_family_can_be_planned(world: World, family: Family) -> None:
    """Each dimension alone, and each filter in each product, with one metric, product and choice after the other."""
    metrics, products = cycle(_metrics(family)), cycle(Product)
    queries = [_asked([next(metrics)], next(products), [dimension]) for dimension in Dimension]
    queries += [_asked([next(metrics)], product, [Dimension.CHANNEL_SLUG]) for product in Product]
    choices = {row: cycle(row.choices or ("x", "")) for row in Filter}
    queries += [
        _asked([next(metrics)], product, [], **{row.name: next(each)})
        for product in Product
        for row, each in choices.items()
    ]
    accepted = [query for query in queries if _fits(query)]
    assert len(accepted) >= len(family.dimensions(permissive=True)) + len(Product) * len(family.filters)
    for query in accepted:
        plan = compile_query(query, Tenant(MINE), world.snapshot)
        described = world.plain.execute(f"DESCRIBE {plan.sql}").fetchall()
        assert tuple(column[0] for column in described) == plan.columns
        assert not {"DOUBLE", "FLOAT", "TIMESTAMP", "BOOLEAN"} & {column[1] for column in described}


@pytest.mark.long
@pytest.mark.parametrize(("family", "product"), thin_out(CASES, 5, nightly=True), ids=str)
def test_each_family_runs_by_all_its_dimensions(world: World, family: Family, product: Product) -> None:
    """Every metric x dimension x product that check accepts: all metrics by all of their dimensions at once."""
    metrics = _metrics(family)
    for metric in metrics:
        fitting = {dimension for dimension in Dimension if _fits(_asked([metric], product, [dimension]))}
        assert fitting == family.dimensions(permissive=True)
    _run(world, metrics, product, family)


@pytest.mark.long
@pytest.mark.parametrize("metric", thin_out(Metric, 10, nightly=True), ids=str)
def test_each_metric_runs_by_all_its_dimensions_alone(world: World, metric: Metric) -> None:
    """Without another one beside it, which would bring tables and columns that it lacks itself."""
    _run(world, [metric], list(Product)[list(Metric).index(metric) % len(Product)], metric.family)


def _metrics(family: Family) -> list[Metric]:
    return [metric for metric in Metric if metric.family is family]


def _run(world: World, metrics: list[Metric], product: Product, family: Family) -> None:
    dimensions = [dimension for dimension in Dimension if dimension in family.dimensions(permissive=True)]
    header, *_ = world.text(_asked(metrics, product, dimensions), MINE, worth=ONCE).splitlines()
    assert header.split(",") == [each.header for each in dimensions] + [each.header for each in metrics]


SLUG = {
    "CONTENT": "(SELECT slug FROM channels WHERE id = f.owner_channel_id)",
    "EMBED": "(SELECT slug FROM channels WHERE id = f.publisher_channel_id)",
    "CLAIM": "(SELECT slug FROM channels WHERE id = f.claimer_channel_id)",
    "ALL": """(SELECT slug FROM channels WHERE id = CASE
        WHEN f.owner_channel_id IN ('c-news', 'c-sport', 'c-old', 'c-gone') THEN f.owner_channel_id
        WHEN f.publisher_channel_id IN ('c-news', 'c-sport', 'c-old', 'c-gone') THEN f.publisher_channel_id
        ELSE f.claimer_channel_id END)""",
}
OWNER_SLUG = SLUG["CONTENT"]
FILTERS = {
    "channelSlug=demo-sport": "{slug} = 'demo-sport'",
    "channelSlug=demo-news": "{slug} = 'demo-news'",
    "channelSlug=": "{slug} IS NULL",
    "channelSlug=nobody": "false",
    "videoOwnerChannelSlug=rival": f"{OWNER_SLUG} = 'rival'",
    "videoOwnerChannelSlug=": f"{OWNER_SLUG} IS NULL",
    "visitorDomainGroup=été, «fête»": "visitor_domain_group = 'été, «fête»'",
    "visitorDomainGroup=": "visitor_domain_group IS NULL",
    "visitorDomainGroup=' OR 1=1 --": "false",
    "visitorDomainGroup=\\": "false",
    "visitorDomainGroup=\x00": "false",
    "visitorDomainGroup=\ud800": "false",
    "mediaType=LIVE": "media_type = 'live'",
    "mediaType=VIDEO": "media_type = 'video'",
    "monetizationType=CLAIM": "monetization_type = 'claim'",
    "monetizationType=VIDEO_MONETIZATION": "monetization_type = 'video_monetization'",
    "monetizationType=WEBSITE_MONETIZATION": "monetization_type = 'website_monetization'",
}
TABLES = {
    "VIEWS": ("plays", "sum(views)", MOMENTS),
    "ESTIMATED_EARNINGS_EUR": (EARNINGS, "sum(eur)", DAYS),
    "NO_ADS": ("ads", "sum(no_ads)", MOMENTS),
}
PAYEE_SLUG = "(SELECT slug FROM channels WHERE id = f.payee)"


@pytest.mark.parametrize(("case", "product"), thin_out(product(FILTERS, ROLES), 5, nightly=True), ids=ascii)
def test_each_filter_keeps_what_it_names(world: World, case: str, product: str) -> None:
    """A filter keeps the rows whose cell is its value: a slug whoever has it, the empty text the empty cells."""
    name, _, value = case.partition("=")
    for metric, (table, number, days) in TABLES.items():
        role, slug = (PAID[product], PAYEE_SLUG) if table is EARNINGS else (ROLES[product], SLUG[product])
        sql = f"""SELECT media_type, {number} FROM {table} f
            WHERE {days} AND {role} AND {FILTERS[case].format(slug=slug)} GROUP BY 1"""
        report = world.report(asked(metric, "MEDIA_TYPE", product, **{name: value}), MINE)
        assert report == world.by_hand(sql, 1)


def test_every_filter_has_a_case() -> None:
    """No filter of the catalog is left out above, and the closed lists are whole."""
    named = {case.partition("=")[0] for case in FILTERS}
    closed = {f"{row.name}={choice}" for row in Filter for choice in row.choices}
    assert named == {row.name for row in Filter}
    assert closed <= set(FILTERS)


def test_filters_together_keep_what_each_keeps(world: World) -> None:
    """Several filters narrow a report one after the other."""
    sql = f"""SELECT sum(views) FROM plays f WHERE {MOMENTS} AND {ROLES["ALL"]}
        AND {SLUG["ALL"]} = 'demo-news' AND media_type = 'live' AND {OWNER_SLUG} = 'rival'"""
    query = asked("VIEWS", "", "ALL", channelSlug="demo-news", mediaType="LIVE", videoOwnerChannelSlug="rival")
    assert world.report(query, MINE) == world.by_hand(sql, 0)


def test_another_familys_filter_leaves_the_latest_day_alone(world: World) -> None:
    """Which day a stock is taken on depends on the reader's rows alone, whatever a filter keeps of them."""
    sql = f"""SELECT coalesce(sum(views), 0), (SELECT sum(storage_bytes) FROM usage f WHERE kind = 'storage'
            AND day = (SELECT max(day) FROM usage f
                WHERE kind = 'storage' AND day <= '2023-07-03' AND {ROLES["CONTENT"]})
            AND {ROLES["CONTENT"]} AND {OWNER_SLUG} = 'demo-sport' AND media_type = 'live')
        FROM plays f WHERE {MOMENTS} AND {ROLES["CONTENT"]} AND {OWNER_SLUG} = 'demo-sport' AND media_type = 'live'"""
    query = asked("VIEWS STORAGE_USED_BYTES", "", videoOwnerChannelSlug="demo-sport", mediaType="LIVE")
    assert world.report(query, MINE) == world.by_hand(sql, 0)
