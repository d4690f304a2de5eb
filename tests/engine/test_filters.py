"""Each filter, in each product, against SQL written by hand."""

from __future__ import annotations

from itertools import product

import pytest
from tests.cases import thin_out

from reelport.catalog import Filter

from .oracle import DAYS, EARNINGS, MOMENTS, PAID, ROLES, asked
from .sample import MINE
from .world import World

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
CASES = {
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


@pytest.mark.parametrize(("case", "product"), thin_out(product(CASES, ROLES), 5, nightly=True), ids=ascii)
def test_each_filter_keeps_what_it_names(world: World, case: str, product: str) -> None:
    """A filter keeps the rows whose cell is its value: a slug whoever has it, the empty text the empty cells."""
    name, _, value = case.partition("=")
    for metric, (table, number, days) in TABLES.items():
        role, slug = (PAID[product], PAYEE_SLUG) if table is EARNINGS else (ROLES[product], SLUG[product])
        sql = f"""SELECT media_type, {number} FROM {table} f
            WHERE {days} AND {role} AND {CASES[case].format(slug=slug)} GROUP BY 1"""
        report = world.report(asked(metric, "MEDIA_TYPE", product, **{name: value}), MINE)
        assert report == world.by_hand(sql, 1)


def test_every_filter_has_a_case() -> None:
    """No filter of the catalog is left out above, and the closed lists are whole."""
    named = {case.partition("=")[0] for case in CASES}
    closed = {f"{row.name}={choice}" for row in Filter for choice in row.choices}
    assert named == {row.name for row in Filter}
    assert closed <= set(CASES)


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
