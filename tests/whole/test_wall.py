"""The wall between partners, over the wire: every kind of report beside SQL written by hand over the facts.

The SQL names the role that the product names, and nothing of the compiler.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from datetime import date

import duckdb
import pytest
from tests.cases import thin_out
from tests.warm_service import Service

from reelport.catalog import Family, Metric, Product
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import TABLES

from .partner import Partner

START, END = date(2026, 1, 1), date(2026, 1, 7)
DAYS = {"startDate": START.isoformat(), "endDate": END.isoformat()}
DEMO = ("demo-news", "demo-sports", "demo-live")
LIMITED = ("demo-sports",)

# Of each family one metric: its rows, and its number in them.
PLAYS = "SELECT *, started_at::DATE AS on_day FROM plays"
ADS = "SELECT *, started_at::DATE AS on_day FROM ads"
PAYEE = (
    "CASE WHEN payee_channel_id IS NOT NULL THEN payee_channel_id"
    " WHEN monetization_type = 'website_monetization' THEN publisher_channel_id"
    " WHEN monetization_type = 'claim' THEN claimer_channel_id ELSE owner_channel_id END AS payee"
)
EARNINGS = f"SELECT *, day AS on_day, {PAYEE} FROM earnings"
PAID_ADS = f"SELECT *, started_at::DATE AS on_day, {PAYEE} FROM ads"
USAGE = "SELECT *, day AS on_day FROM usage WHERE kind ="
OWNED = "SELECT * REPLACE (NULL AS publisher_channel_id, NULL AS claimer_channel_id) FROM"
KINDS: dict[Family, tuple[str, str, str]] = {
    Family.AUDIENCE: ("VIEWS", PLAYS, "sum(views)"),
    Family.LIVE: ("LIVE_VIEWERS", f"{PLAYS} WHERE media_type = 'live'", "count(DISTINCT viewer)"),
    Family.UPLOADS: (
        "UPLOADS",
        (
            "SELECT id AS video_id, owner_channel_id, NULL AS publisher_channel_id, NULL AS claimer_channel_id,"
            " created_at::DATE AS on_day FROM videos"
        ),
        "count(*)",
    ),
    Family.REVENUE: ("ESTIMATED_EARNINGS_EUR", EARNINGS, "sum(eur)"),
    Family.REVENUE_LEGACY: ("ESTIMATED_EARNINGS_USD_OLD", EARNINGS, "coalesce(sum(usd_old), 0)"),
    Family.ADS: ("SELLABLE_INVENTORY", ADS, "sum(sellable_inventory)"),
    Family.ADS_BLANK: ("TOTAL_INVENTORY", ADS, "sum(sellable_inventory + no_ads)"),
    Family.ADS_MISSED: ("NB_MISSED_IMPRESSION", ADS, "sum(sellable_inventory - nb_impression)"),
    Family.ADS_SOLD: ("NB_IMPRESSION", ADS, "sum(nb_impression)"),
    Family.REVENUE_ADS: (
        "ECPM_EUR",
        (
            "SELECT video_id, owner_channel_id, publisher_channel_id, claimer_channel_id, payee, on_day, eur,"
            f" 0 AS shown FROM ({EARNINGS}) UNION ALL SELECT video_id, owner_channel_id, publisher_channel_id,"
            f" claimer_channel_id, payee, on_day, 0, nb_impression FROM ({PAID_ADS})"
        ),
        "(1000 * sum(eur))::DOUBLE / nullif(sum(shown), 0)",
    ),
    Family.BANDWIDTH: ("BANDWIDTH_USED_VOD_BYTES", f"{USAGE} 'bandwidth'", "coalesce(sum(bandwidth_vod_bytes), 0)"),
    Family.TRANSCODING: (
        "TRANSCODING_USED_VOD_SECONDS",
        f"{OWNED} ({USAGE} 'transcoding')",
        "coalesce(sum(transcoding_vod_seconds), 0)",
    ),
    Family.STORAGE: (
        "STORAGE_USED_BYTES",
        f"{OWNED} ({USAGE} 'storage' AND day = '{END}')",
        "sum(storage_bytes)",
    ),
    Family.AI: ("AI_USED_CREDITS", f"{OWNED} ({USAGE} 'ai')", "coalesce(sum(ai_credits), 0)"),
}
ROLES = {
    Product.CONTENT: "owner_channel_id IN ids",
    Product.EMBED: "publisher_channel_id IN ids",
    Product.CLAIM: "claimer_channel_id IN ids",
    Product.ALL: "owner_channel_id IN ids OR publisher_channel_id IN ids OR claimer_channel_id IN ids",
}
MONEY = {Family.REVENUE, Family.REVENUE_LEGACY, Family.REVENUE_ADS}
PAID = {
    Product.CONTENT: "payee IN ids AND payee = owner_channel_id",
    Product.EMBED: "payee IN ids AND payee = publisher_channel_id",
    Product.CLAIM: "payee IN ids AND payee = claimer_channel_id",
    Product.ALL: "payee IN ids",
}


@pytest.fixture(scope="module")
def service(sampled: Service) -> Service:
    """A service with sample facts of that week and others, where both partners stand in every role to each other."""
    return sampled


@pytest.fixture(scope="module")
def facts(service: Service) -> Iterator[duckdb.DuckDBPyConnection]:
    """The facts as plain tables, for hand-written SQL."""
    snapshot = pin(service.settings.facts_root, TABLES)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in TABLES:
            relation = connection.read_parquet(list(snapshot.files(name)), union_by_name=True, hive_partitioning=False)
            relation.create(name)
        yield connection


@pytest.fixture(scope="module")
def kinds(request: pytest.FixtureRequest) -> list[tuple[Family, Product]]:
    """The kinds of reports that tests ask for."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    found = [item.callspec.params for item in items if "family" in item.fixturenames]
    return [
        (family, product)
        for params in found
        if isinstance(family := params["family"], Family) and isinstance(product := params["product"], Product)
    ]


@pytest.fixture(scope="module")
def everything(service: Service, kinds: list[tuple[Family, Product]]) -> Partner:
    """A key for all channels of `demo`, whose reports are all asked for already."""
    return asked(Partner(service, service.key("demo")), kinds)


@pytest.fixture(scope="module")
def sports(service: Service, kinds: list[tuple[Family, Product]]) -> Partner:
    """A key for one channel of `demo`, likewise."""
    return asked(Partner(service, service.key("demo", channels=LIMITED)), kinds)


def asked(partner: Partner, kinds: list[tuple[Family, Product]]) -> Partner:
    """Every report of the partner is in the queue, so that none waits for the one before it to be fetched."""
    for family, product in kinds:
        ask(partner, family, product)
    return partner


def by_hand(
    facts: duckdb.DuckDBPyConnection, family: Family, product: Product, slugs: tuple[str, ...]
) -> dict[tuple[str, str], str]:
    """The number of each video and owner that the reader may see, by hand."""
    _, rows, number = KINDS[family]
    listed = ", ".join(f"'{slug}'" for slug in slugs)
    role = (PAID if family in MONEY else ROLES)[product].replace(
        "IN ids", f"IN (SELECT id FROM channels WHERE slug IN ({listed}))"
    )
    found = facts.sql(
        f"SELECT coalesce(video_id, ''), coalesce(c.slug, ''), {number} FROM ({rows}) AS f"
        f" LEFT JOIN channels AS c ON c.id = f.owner_channel_id"
        f" WHERE ({role}) AND on_day BETWEEN '{START}' AND '{END}' GROUP BY ALL"
    ).fetchall()
    return {(video, owner): "" if value is None else str(value) for video, owner, value in found}


def ask(partner: Partner, family: Family, product: Product) -> str:
    """Ask for the same over the wire; the same ask again is the same report."""
    dimensions = ["VIDEO_ID", "VIDEO_OWNER_CHANNEL_SLUG"]
    return partner.ask(metrics=[KINDS[family][0]], dimensions=dimensions, product=product.name, **DAYS)


def reported(partner: Partner, family: Family, product: Product) -> dict[tuple[str, str], str]:
    """What the wire gives."""
    rows = csv.reader(io.StringIO(partner.fetch(ask(partner, family, product)).decode()))
    assert next(rows) == ["video_id", "video_owner_channel_slug", KINDS[family][0].lower()]
    return {(video, owner): value for video, owner, value in rows}


def numbers(rows: dict[tuple[str, str], str]) -> dict[tuple[str, str], float | None]:
    """Numbers to compare, however many zeros they are written with."""
    return {cells: float(value) if value else None for cells, value in rows.items()}


def test_every_family_has_a_kind_of_report_here() -> None:
    """No family is left out of the wall."""
    assert set(KINDS) == set(Family)
    assert all(Metric[name].family is family for family, (name, _, _) in KINDS.items())


@pytest.mark.parametrize(("family", "product"), thin_out(itertools.product(Family, Product), 5), ids=str)
def test_a_report_holds_the_readers_rows_and_no_others(
    everything: Partner,
    sports: Partner,
    facts: duckdb.DuckDBPyConnection,
    family: Family,
    product: Product,
) -> None:
    """Each row has a channel of the key in the product's role, money as its payee; none is missing."""
    for partner, slugs in ((everything, DEMO), (sports, LIMITED)):
        wire = numbers(reported(partner, family, product))
        assert wire == pytest.approx(numbers(by_hand(facts, family, product, slugs)), abs=1e-4)


@pytest.mark.parametrize("product", Product, ids=str)
def test_a_rival_appears_only_where_it_is_embedded_or_claimed(everything: Partner, product: Product) -> None:
    """Of the other partner's videos nothing is seen as content, and some as embeds and claims."""
    owners = {owner for _, owner in reported(everything, Family.AUDIENCE, product)}
    foreign = {owner for owner in owners if owner not in DEMO}
    assert bool(foreign) is (product is not Product.CONTENT)


def test_a_key_cant_read_another_organizations_report(service: Service, everything: Partner, sports: Partner) -> None:
    """A report token alone opens nothing: for another partner, and for a narrower key, there is no such report."""
    token = everything.ask(metrics=["VIEWS"], dimensions=["MONTH"], **DAYS)
    everything.wait(token)
    rival = Partner(service, service.key("rival"))
    poor = Partner(service, service.key("demo", ["create_reports"]))
    paid = everything.ask(metrics=["ESTIMATED_EARNINGS_EUR"], dimensions=["MONTH"], **DAYS)
    assert everything.look(token) is not None
    assert rival.look(token) is None
    assert sports.look(token) is None
    assert poor.look(token) is not None
    assert poor.look(paid) is None
