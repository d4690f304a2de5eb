"""Reports over several tables: rates that span two, whose money is whose, and what it is divided by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.cases import thin_out

from .few import CHANNELS, Ask, Row, earned, play
from .oracle import CELLS, DAYS, EARNINGS, MOMENTS, PAID, ROLES, asked, paid
from .sample import MINE
from .world import Tables, World

STACKED = """
WITH rows AS (
    SELECT f.started_at::DATE AS day, v.title, f.nb_impression AS ads, f.sellable_inventory AS slots, 0 AS eur, 0 AS usd
    FROM {ads} f LEFT JOIN videos v ON v.id = f.video_id WHERE {moments} AND {role}
    UNION ALL
    SELECT f.day, v.title, 0, 0, f.eur, f.usd
    FROM {earnings} f LEFT JOIN videos v ON v.id = f.video_id WHERE {days} AND {role}
)
SELECT {cells},
    rate(1000 * sum(eur), sum(ads), 4), rate(1000 * sum(usd), sum(ads), 4),
    rate(1000 * sum(eur), sum(slots), 4), rate(1000 * sum(usd), sum(slots), 4)
FROM rows GROUP BY {cells}
"""
MONEY_OVER_ADS = "ECPM_EUR ECPM_USD ERPM_EUR ERPM_USD"


@pytest.mark.parametrize("product", thin_out(ROLES, 2, nightly=True))
@pytest.mark.parametrize(("dimensions", "cells"), [("DAY VIDEO_TITLE", "day, title"), ("DAY", "day")])
def test_money_over_ads_is_a_sum_over_a_sum(world: World, product: str, dimensions: str, cells: str) -> None:
    """ECPM and ERPM divide the earnings of a row's cells by the ads of the same cells and the same payees."""
    tables = {"ads": paid("ads"), "earnings": EARNINGS}
    sql = STACKED.format(moments=MOMENTS, days=DAYS, role=PAID[product], cells=cells, **tables)
    expected = world.by_hand(sql, len(cells.split(",")))
    assert world.report(asked(MONEY_OVER_ADS, dimensions, product), MINE) == expected
    assert any(row[-1] for row in expected)


def test_views_and_earnings_share_a_day(world: World) -> None:
    """Families are stacked and grouped once: a day that only one of them knows is a row with 0 for the other."""
    sql = f"""
        SELECT day, country, sum(views), sum(eur) FROM (
            SELECT f.started_at::DATE AS day, visitor_country AS country, views, 0::DECIMAL(18, 6) AS eur
            FROM plays f WHERE {MOMENTS} AND {ROLES["CONTENT"]}
            UNION ALL
            SELECT f.day, visitor_country, 0, eur FROM {EARNINGS} f WHERE {DAYS} AND {PAID["CONTENT"]}
        ) GROUP BY ALL"""
    report = world.report(asked("VIEWS ESTIMATED_EARNINGS_EUR", "DAY VISITOR_COUNTRY"), MINE)
    assert report == world.by_hand(sql, 2)


def test_titles_beside_their_ids_are_those_of_the_ids(world: World) -> None:
    """A cell whose id is a cell too is looked up by it, whichever table the row is of: empty for an id nobody knows."""
    sql = f"""
        SELECT day, v.title, video_id, p.type, {CELLS["CONTENT_TAG_LIST"]}, player_id, sum(views), sum(eur)
        FROM (
            SELECT f.started_at::DATE AS day, video_id, player_id, views, 0::DECIMAL(18, 6) AS eur
            FROM plays f WHERE {MOMENTS} AND {ROLES["ALL"]}
            UNION ALL
            SELECT f.day, video_id, player_id, 0, eur FROM {EARNINGS} f WHERE {DAYS} AND {PAID["ALL"]}
        ) f LEFT JOIN videos v ON v.id = f.video_id LEFT JOIN players p ON p.id = f.player_id GROUP BY ALL"""
    dimensions = "DAY VIDEO_TITLE VIDEO_ID PLAYER_TYPE CONTENT_TAG_LIST PLAYER_ID"
    expected = world.by_hand(sql, 6)
    assert world.report(asked("VIEWS ESTIMATED_EARNINGS_EUR", dimensions, "ALL"), MINE) == expected
    assert {(row[1], row[2]) for row in expected} >= {("", "x-gone"), ("", "")}


def test_a_tag_beside_its_video_is_a_row(world: World) -> None:
    """A tag is no property of its video's id, for it may have several: each of them has its row."""
    sql = f"""
        SELECT f.started_at::DATE, video_id, v.tag, sum(views) FROM plays f
        LEFT JOIN (SELECT id, unnest(tags) AS tag FROM videos) v ON v.id = f.video_id
        WHERE {MOMENTS} AND {ROLES["CONTENT"]} GROUP BY ALL"""
    assert world.report(asked("VIEWS", "DAY VIDEO_ID CONTENT_TAG"), MINE) == world.by_hand(sql, 3)


def test_all_metrics_of_all_tables_share_a_month_and_a_title(world: World) -> None:
    """Plays, live, uploads, earnings, ads and every usage can be stacked into one report."""
    metrics = {
        "VIEWS": f"SELECT views FROM plays f WHERE {MOMENTS}",
        "LIVE_TIME_WATCHED_SECONDS": f"SELECT time_watched_seconds FROM plays f WHERE {MOMENTS} AND media_type='live'",
        "NO_ADS": f"SELECT no_ads FROM ads f WHERE {MOMENTS}",
        "AI_USED_CREDITS": f"SELECT ai_credits FROM usage f WHERE {DAYS} AND kind = 'ai'",
        "TRANSCODING_USED_VOD_SECONDS": f"SELECT transcoding_vod_seconds FROM usage f WHERE {DAYS}",
        "BANDWIDTH_USED_VOD_BYTES": f"SELECT bandwidth_vod_bytes FROM usage f WHERE {DAYS}",
        "UPLOADS": """SELECT 1 FROM videos f
            WHERE created_at >= '2023-06-28 00:00:00+00' AND created_at < '2023-07-04 00:00:00+00'""",
    }
    totals = [
        world.by_hand(f"SELECT sum(n) FROM ({sql} AND {ROLES['CONTENT']}) t(n)", 0)[0][0] for sql in metrics.values()
    ]
    report = world.report(asked(" ".join(metrics), "MONTH VIDEO_TITLE"), MINE)
    assert [str(sum(int(row[index]) for row in report)) for index in range(2, 2 + len(metrics))] == totals


def test_what_a_family_has_no_rows_for_is_0_or_empty(world: World) -> None:
    """Beside other rows an absent additive number is 0; an absent rate, stock or distinct count is empty."""
    metrics = "VIEWS UPLOADS LIVE_VIEWERS STORAGE_USED_BYTES AVERAGE_WATCH_TIME_SEC"
    report = world.report(asked(metrics, "VIDEO_ID"), MINE)
    sql = f"""SELECT DISTINCT video_id FROM plays f WHERE {MOMENTS} AND {ROLES["CONTENT"]}
        AND video_id NOT IN (SELECT id FROM videos f WHERE {ROLES["CONTENT"]})"""
    unowned = {row[0] for row in world.by_hand(sql, 1)}
    assert unowned
    assert {row[2] for row in report if row[0] in unowned} == {"0"}
    sql = f"""SELECT DISTINCT video_id FROM usage f WHERE {DAYS} AND {ROLES["CONTENT"]} AND storage_bytes IS NOT NULL"""
    stored = {row[0] for row in world.by_hand(sql, 1)}
    assert {row[4] for row in report if row[0] not in stored} == {""}
    assert {row[4] for row in world.report(asked(metrics, "VIDEO_ID", "EMBED"), MINE)} == {""}


PAYEES = [
    earned("1", monetization_type="video_monetization", publisher_channel_id="c9"),
    earned("2", monetization_type="website_monetization", publisher_channel_id="c9"),
    earned("4", monetization_type="claim", claimer_channel_id="c9"),
    earned("8", owner_channel_id="c9", monetization_type="website_monetization", publisher_channel_id="c2"),
    earned("16", owner_channel_id="c9", monetization_type="claim", claimer_channel_id="c2"),
    earned("32", owner_channel_id="c2", monetization_type="website_monetization", publisher_channel_id="c2"),
    earned("64", publisher_channel_id="c9", claimer_channel_id="c9"),
    earned("128", monetization_type="website_monetization", claimer_channel_id="c1"),
    earned("256", monetization_type="claim", publisher_channel_id="c1"),
    earned("512", owner_channel_id="c1", monetization_type="website_monetization", publisher_channel_id="c2"),
]


@pytest.mark.parametrize(
    ("product", "eur"),
    [("CONTENT", 1 + 32 + 64), ("EMBED", 8 + 32 + 512), ("CLAIM", 16), ("ALL", 1 + 8 + 16 + 32 + 64 + 512)],
)
def test_money_is_its_payees_alone(facts: Callable[[Tables], Ask], product: str, eur: int) -> None:
    """A video's is the owner's, a website's the publisher's, a claim's the claimer's, untold the owner's."""
    ask = facts({"earnings": PAYEES, "channels": CHANNELS})
    assert ask("ESTIMATED_EARNINGS_EUR", "", product) == [[f"{eur}.000000"]]


def test_the_channel_slug_of_money_is_the_payees(facts: Callable[[Tables], Ask]) -> None:
    """CHANNEL_SLUG, and the filter by it, look at whom the money is paid to, not at who owns the video."""
    ask = facts({"earnings": PAYEES, "channels": CHANNELS})
    paid = [["slug1", "65.000000"], ["slug2", "568.000000"]]
    assert ask("ESTIMATED_EARNINGS_EUR", "CHANNEL_SLUG", "ALL") == paid
    assert ask("ESTIMATED_EARNINGS_EUR", "", "ALL", channelSlug="slug1") == [["65.000000"]]
    assert ask("ESTIMATED_EARNINGS_EUR", "CHANNEL_SLUG") == [["slug1", "65.000000"], ["slug2", "32.000000"]]


NAMED = [
    earned("1", payee_channel_id="c1"),
    earned("2", payee_channel_id="c9"),
    earned("4", owner_channel_id="c9", monetization_type="website_monetization", payee_channel_id="c2"),
    earned("8", owner_channel_id="c9", publisher_channel_id="c2", payee_channel_id="c2"),
    earned("16", owner_channel_id="c9", claimer_channel_id="c1", publisher_channel_id="c1", payee_channel_id="c1"),
    earned("32", monetization_type="claim", claimer_channel_id="c2", payee_channel_id="c1"),
    earned("64", monetization_type="website_monetization", publisher_channel_id="c2", payee_channel_id="c9"),
]


@pytest.mark.parametrize(
    ("product", "eur"), [("CONTENT", 1 + 32), ("EMBED", 8 + 16), ("CLAIM", 16), ("ALL", 1 + 4 + 8 + 16 + 32)]
)
def test_a_payee_that_the_platform_names_wins(facts: Callable[[Tables], Ask], product: str, eur: int) -> None:
    """Whatever the kind of money; in the products of the roles that it has in the row, and in ALL also without one."""
    ask = facts({"earnings": NAMED, "channels": CHANNELS})
    assert ask("ESTIMATED_EARNINGS_EUR", "", product) == [[f"{eur}.000000"]]
    if product == "ALL":
        assert ask("ESTIMATED_EARNINGS_EUR", "CHANNEL_SLUG", "ALL") == [["slug1", "49.000000"], ["slug2", "12.000000"]]


def shown(impressions: int, **more: object) -> Row:
    return play() | {"nb_impression": impressions, "sellable_inventory": 2 * impressions} | more


def test_a_rate_divides_money_by_the_ads_that_earned_it(facts: Callable[[Tables], Ask]) -> None:
    """In each product by the ads of the same payees, though the ads of others are still counted as ads."""
    foreign = {"owner_channel_id": "c9", "publisher_channel_id": "c1"}
    website = foreign | {"monetization_type": "website_monetization"}
    video = foreign | {"monetization_type": "video_monetization"}
    ads = [shown(1000), shown(2000, **website), shown(500, **video)]
    ask = facts({"earnings": [earned("3"), earned("1", **website), earned("9", **video)], "ads": ads})
    assert ask("ECPM_EUR ERPM_EUR NB_IMPRESSION") == [["3.0000", "1.5000", "1000"]]
    assert ask("ECPM_EUR ERPM_EUR NB_IMPRESSION", "", "EMBED") == [["0.5000", "0.2500", "2500"]]
    assert ask("ECPM_EUR NB_IMPRESSION", "", "ALL") == [["1.3333", "3500"]]
    assert ask("ECPM_EUR", "MONETIZATION_TYPE", "EMBED") == [["website_monetization", "0.5000"]]


def test_ads_of_a_named_payee_are_its_divisor(facts: Callable[[Tables], Ask]) -> None:
    """A platform that names the payee of earnings names that of ads too: no money goes without its ads."""
    named = {"owner_channel_id": "c9", "payee_channel_id": "c1"}
    ads = [shown(1000), shown(500, **named), shown(250, payee_channel_id="c9")]
    ask = facts({"earnings": [earned("3"), earned("1", **named), earned("9", payee_channel_id="c9")], "ads": ads})
    assert ask("ECPM_EUR NB_IMPRESSION") == [["3.0000", "1250"]]
    assert ask("ECPM_EUR NB_IMPRESSION", "", "ALL") == [["2.6667", "1250"]]


@pytest.mark.parametrize(
    ("eur", "impressions", "expected"),
    [
        ("0.000050", 1000, "0.0001"),
        ("0.000049", 1000, "0.0000"),
        ("-0.000050", 1000, "-0.0001"),
        ("1.000000", 3, "333.3333"),
        ("-2.000000", 3, "-666.6667"),
        ("999999999999.999999", 1, "999999999999999.9990"),
        ("5.000000", 0, ""),
    ],
)
def test_rates_are_rounded_half_up_from_whole_numbers(
    facts: Callable[[Tables], Ask], eur: str, impressions: int, expected: str
) -> None:
    """A rate is exact until it is rounded once, half up and away from zero, to the catalog's digits."""
    ask = facts({"earnings": [earned(eur)], "ads": [play(nb_impression=impressions)]})
    assert ask("ECPM_EUR") == [[expected]]
