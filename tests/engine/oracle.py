"""Hand-written SQL for every metric, dimension and product: what the compiler is held against, none of it shared.

`f` stands for a row of facts. `rate(numerator, denominator, digits)` rounds half away from zero.
"""

from __future__ import annotations

import re

from reelport.query import ReportQuery

from .sample import END, MINE, START

CHANNELS = "('c-news', 'c-sport', 'c-old', 'c-gone')"
assert set(CHANNELS.strip("()").replace("'", "").split(", ")) == MINE

ROLES = {
    "CONTENT": f"f.owner_channel_id IN {CHANNELS}",
    "EMBED": f"f.publisher_channel_id IN {CHANNELS}",
    "CLAIM": f"f.claimer_channel_id IN {CHANNELS}",
    "ALL": f"(f.owner_channel_id IN {CHANNELS} OR f.publisher_channel_id IN {CHANNELS}"
    f" OR f.claimer_channel_id IN {CHANNELS})",
}
PAID = {
    "CONTENT": f"f.payee IN {CHANNELS} AND f.payee = f.owner_channel_id",
    "EMBED": f"f.payee IN {CHANNELS} AND f.payee = f.publisher_channel_id",
    "CLAIM": f"f.payee IN {CHANNELS} AND f.payee = f.claimer_channel_id",
    "ALL": f"f.payee IN {CHANNELS}",
}
"""Whose money a row is, over rows that `paid` gave a payee."""
OWNED_ONLY = ROLES | {"EMBED": "false", "CLAIM": "false", "ALL": ROLES["CONTENT"]}

MOMENTS = "f.started_at >= '2023-06-28 00:00:00+00' AND f.started_at < '2023-07-04 00:00:00+00'"
CREATED = "f.created_at >= '2023-06-28 00:00:00+00' AND f.created_at < '2023-07-04 00:00:00+00'"
DAYS = "f.day BETWEEN '2023-06-28' AND '2023-07-03'"


def paid(table: str) -> str:
    """The table's rows with the payee of each; empty where a website has no publisher or a claim no claimer."""
    return f"""(
        SELECT *, payee_channel_id AS payee FROM {table} WHERE payee_channel_id IS NOT NULL
        UNION ALL
        SELECT *, owner_channel_id AS payee FROM {table} WHERE payee_channel_id IS NULL
            AND (monetization_type IS NULL OR monetization_type = 'video_monetization')
        UNION ALL
        SELECT *, publisher_channel_id AS payee FROM {table}
        WHERE payee_channel_id IS NULL AND monetization_type = 'website_monetization'
        UNION ALL
        SELECT *, claimer_channel_id AS payee FROM {table}
        WHERE payee_channel_id IS NULL AND monetization_type = 'claim'
    )"""


EARNINGS = paid("earnings")
_UPLOADS = "(SELECT id AS video_id, owner_channel_id, visibility, created_at FROM videos)"

SOURCES = {
    "AUDIENCE": ("plays", MOMENTS, ROLES),
    "LIVE": ("plays", f"{MOMENTS} AND f.media_type = 'live'", ROLES),
    "UPLOADS": (_UPLOADS, CREATED, OWNED_ONLY),
    "REVENUE": (EARNINGS, DAYS, PAID),
    "REVENUE_LEGACY": (EARNINGS, DAYS, PAID),
    "ADS": ("ads", MOMENTS, ROLES),
    "ADS_BLANK": ("ads", MOMENTS, ROLES),
    "ADS_MISSED": ("ads", MOMENTS, ROLES),
    "ADS_SOLD": ("ads", MOMENTS, ROLES),
    "BANDWIDTH": ("usage", f"{DAYS} AND f.kind = 'bandwidth'", ROLES),
    "TRANSCODING": ("usage", f"{DAYS} AND f.kind = 'transcoding'", OWNED_ONLY),
    "STORAGE": ("usage", f"{DAYS} AND f.kind = 'storage'", OWNED_ONLY),
    "AI": ("usage", f"{DAYS} AND f.kind = 'ai'", OWNED_ONLY),
}
"""Families of one source: its table, its rows, its products. REVENUE_ADS has two, and a test of its own."""

JOINS = {
    "v": "LEFT JOIN videos v ON v.id = f.video_id",
    "t": "LEFT JOIN (SELECT id, unnest(tags) AS tag FROM videos) t ON t.id = f.video_id",
    "p": "LEFT JOIN players p ON p.id = f.player_id",
    "l": "LEFT JOIN playlists l ON l.id = f.playlist_id",
    "oc": "LEFT JOIN channels oc ON oc.id = f.owner_channel_id",
    "oa": "LEFT JOIN accounts oa ON oa.id = oc.account_id",
    "op": "LEFT JOIN accounts op ON op.id = oa.parent_account_id",
    "pc": "LEFT JOIN channels pc ON pc.id = f.publisher_channel_id",
    "pa": "LEFT JOIN accounts pa ON pa.id = pc.account_id",
    "pp": "LEFT JOIN accounts pp ON pp.id = pa.parent_account_id",
    "cc": "LEFT JOIN channels cc ON cc.id = f.claimer_channel_id",
    "ca": "LEFT JOIN accounts ca ON ca.id = cc.account_id",
    "cp": "LEFT JOIN accounts cp ON cp.id = ca.parent_account_id",
    "mine": f"""LEFT JOIN channels mine ON mine.id = CASE
        WHEN f.owner_channel_id IN {CHANNELS} THEN f.owner_channel_id
        WHEN f.publisher_channel_id IN {CHANNELS} THEN f.publisher_channel_id
        ELSE f.claimer_channel_id END""",
    "y": "LEFT JOIN channels y ON y.id = f.payee",
    "o": "LEFT JOIN channels o ON o.id = f.owner_channel_id",
    "e": "LEFT JOIN channels e ON e.id = f.publisher_channel_id",
    "c": "LEFT JOIN channels c ON c.id = f.claimer_channel_id",
}

_COLUMNS = [
    *["VISIBILITY", "MEDIA_TYPE", "CONTENT_TYPE", "ACTION", "PLAYER_SIZE", "PLAYER_SIZE_BUCKET", "VISITOR_COUNTRY"],
    *["VISITOR_DEVICE_TYPE", "VISITOR_DOMAIN_GROUP", "VISITOR_SUBDOMAIN", "VISITOR_PAGE_URL", "INVENTORY_POSITION"],
    *["INVENTORY_POSITION_INDEX", "AD_FORMAT", "BUYER", "BUYERTYPE", "AD_ERROR_CODE", "AD_ERROR_READABLE", "OUTCOME"],
    *["NOAD_REASON_READABLE", "ADS_TXT_STATUS", "MONETIZATION_TYPE", "MONETIZATION_PRODUCT", "RENDITION_FORMAT"],
    *["RENDITION_RESOLUTION", "RENDITION_FPS", "AI_FEATURE_NAME"],
]

CELLS = {
    "VIDEO_OWNER_CHANNEL_SLUG": "oc.slug",
    "VIDEO_OWNER_ID": "oc.account_id",
    "VIDEO_OWNER_USERNAME": "oa.username",
    "OWNER_OR_PARENT_USERNAME": "if(oa.parent_account_id IS NULL, oa.username, op.username)",
    "PUBLISHER_CHANNEL": "pc.slug",
    "PUBLISHER_ID": "pc.account_id",
    "PUBLISHER_OR_PARENT_USERNAME": "if(pa.parent_account_id IS NULL, pa.username, pp.username)",
    "CLAIMER_CHANNEL": "cc.slug",
    "CLAIMER_OR_PARENT_USERNAME": "if(ca.parent_account_id IS NULL, ca.username, cp.username)",
    "ACCOUNT_ID": "oc.account_id",
    "ACCOUNT_USERNAME": "oa.username",
    "PARENT_ACCOUNT_ID": "oa.parent_account_id",
    "PARENT_ACCOUNT_USERNAME": "op.username",
    "VIDEO_ID": "f.video_id",
    "VIDEO_TITLE": "v.title",
    "CONTENT_TAG": "t.tag",
    "CONTENT_TAG_LIST": r"""nullif(
        list_aggregate([regexp_replace(tag, '([|\\])', '\\\1', 'g') for tag in v.tags], 'string_agg', '|'), '')""",
    "PLAYLIST_ID": "f.playlist_id",
    "PLAYLIST_TITLE": "l.title",
    "PLAYLIST_TYPE": "l.type",
    "VIDEO_POSITION": "f.video_position::TEXT",
    "PLAYER_ID": "f.player_id",
    "PLAYER_TITLE": "p.title",
    "PLAYER_TYPE": "p.type",
    **{name: f"f.{name.lower()}" for name in _COLUMNS},
}
"""Every dimension that is neither a time nor depends on the product."""

_SLUG_BY = {"CONTENT": "o.slug", "EMBED": "e.slug", "CLAIM": "c.slug", "ALL": "mine.slug", "PAID": "y.slug"}
_TIMES = {
    "MINUTE": "strftime({time}, '%Y-%m-%dT%H:%M:00Z')",
    "HOUR": "strftime({time}, '%Y-%m-%dT%H:00:00Z')",
    "DAY": "strftime({time}, '%Y-%m-%d')",
    "MONTH": "strftime({time}, '%Y-%m')",
}

METRICS = {
    "VIEWS": "sum(f.views)",
    "TIME_WATCHED_SECONDS": "sum(f.time_watched_seconds)",
    "VIEW_THROUGH_RATE": """rate(
        100 * sum(f.time_watched_seconds) FILTER (f.watchable_seconds IS NOT NULL), sum(f.watchable_seconds), 2)""",
    "AVERAGE_WATCH_TIME_SEC": "rate(sum(f.time_watched_seconds), sum(f.views), 2)",
    "UPLOADS": "count(*)",
    "LIVE_TIME_WATCHED_SECONDS": "sum(f.time_watched_seconds)",
    "LIVE_VIEWERS": "nullif(count(DISTINCT f.viewer), 0)",
    "ESTIMATED_EARNINGS_EUR": "sum(f.eur)",
    "ESTIMATED_EARNINGS_USD": "sum(f.usd)",
    "ESTIMATED_EARNINGS_EUR_OLD": "coalesce(sum(f.eur_old), 0::DECIMAL(38, 6))",
    "ESTIMATED_EARNINGS_USD_OLD": "coalesce(sum(f.usd_old), 0::DECIMAL(38, 6))",
    "SELLABLE_INVENTORY": "sum(f.sellable_inventory)",
    "FILL_RATE": "rate(sum(f.nb_impression), sum(f.sellable_inventory), 4)",
    "GDPR_EMPTY_CONSENT_INVENTORY": "sum(f.gdpr_empty_consent_inventory)",
    "GDPR_ERROR_CONSENT_INVENTORY": "sum(f.gdpr_error_consent_inventory)",
    "GDPR_FULL_CONSENT_INVENTORY": "sum(f.gdpr_full_consent_inventory)",
    "GDPR_OTHER_CONSENT_INVENTORY": "sum(f.gdpr_other_consent_inventory)",
    "GDPR_REFUSE_CONSENT_INVENTORY": "sum(f.gdpr_refuse_consent_inventory)",
    "GDPR_FULL_CONSENT_SCORE": """rate(sum(f.gdpr_full_consent_inventory), sum(f.gdpr_empty_consent_inventory
        + f.gdpr_error_consent_inventory + f.gdpr_full_consent_inventory
        + f.gdpr_other_consent_inventory + f.gdpr_refuse_consent_inventory), 4)""",
    "NB_INVENTORY_GDPR_MISSING_FULL_CONSENT": "sum(f.inventory_gdpr_missing_full_consent)",
    "VALID_TRAFFIC_INVENTORY": "sum(f.valid_traffic_inventory)",
    "INVALID_TRAFFIC_INVENTORY": "sum(f.invalid_traffic_inventory)",
    "IVT_SCORE": """rate(
        sum(f.invalid_traffic_inventory), sum(f.invalid_traffic_inventory + f.valid_traffic_inventory), 4)""",
    "NO_ADS_TXT_INVENTORY": "sum(f.no_ads_txt_inventory)",
    "NO_BRANDSAFE_INVENTORY": "sum(f.no_brandsafe_inventory)",
    "NO_MONETIZED_INVENTORY": "sum(f.no_monetized_inventory)",
    "IMPRESSIONS": "sum(f.impressions)",
    "NB_P1_IMPRESSION": "sum(f.nb_p1_impression)",
    "AD_VIEW_COMPLETED": "sum(f.ad_view_completed)",
    "AD_VIEW_NOT_COMPLETED": "sum(f.ad_view_not_completed)",
    "VTR_SCORE": "rate(sum(f.ad_view_completed), sum(f.ad_view_completed + f.ad_view_not_completed), 4)",
    "HIGH_VIEWABLE_IMPRESSIONS": "sum(f.high_viewable_impressions)",
    "LOW_VIEWABLE_IMPRESSIONS": "sum(f.low_viewable_impressions)",
    "VIEWABILITY_SCORE": "rate(sum(f.high_viewable_impressions), sum(f.nb_impression), 4)",
    "NO_ADS": "sum(f.no_ads)",
    "TOTAL_INVENTORY": "sum(f.sellable_inventory + f.no_ads)",
    "NO_AD_RATE": "rate(sum(f.no_ads), sum(f.sellable_inventory + f.no_ads), 4)",
    "NB_MISSED_IMPRESSION": "sum(f.sellable_inventory - f.nb_impression)",
    "NO_FILLS": "sum(f.no_fills)",
    "AD_ERRORS": "sum(f.ad_errors)",
    "TIMEOUTS": "sum(f.timeouts)",
    "NB_IMPRESSION": "sum(f.nb_impression)",
    "BANDWIDTH_USED_VOD_BYTES": "coalesce(sum(f.bandwidth_vod_bytes), 0)",
    "BANDWIDTH_USED_LIVE_BYTES": "coalesce(sum(f.bandwidth_live_bytes), 0)",
    "BANDWIDTH_USED_TOTAL_BYTES": "sum(coalesce(f.bandwidth_vod_bytes, 0) + coalesce(f.bandwidth_live_bytes, 0))",
    "BANDWIDTH_USED_VOD_SECONDS": "coalesce(sum(f.bandwidth_vod_seconds), 0)",
    "BANDWIDTH_USED_LIVE_SECONDS": "coalesce(sum(f.bandwidth_live_seconds), 0)",
    "BANDWIDTH_USED_MEDIA_COUNT": "coalesce(sum(f.bandwidth_media_count), 0)",
    "TRANSCODING_USED_VOD_SECONDS": "coalesce(sum(f.transcoding_vod_seconds), 0)",
    "TRANSCODING_USED_LIVE_SECONDS": "coalesce(sum(f.transcoding_live_seconds), 0)",
    "TRANSCODING_USED_TOTAL_SECONDS": """sum(
        coalesce(f.transcoding_vod_seconds, 0) + coalesce(f.transcoding_live_seconds, 0))""",
    "TRANSCODING_USED_VOD_MEDIA_COUNT": "coalesce(sum(f.transcoding_vod_media_count), 0)",
    "TRANSCODING_USED_LIVE_MEDIA_COUNT": "coalesce(sum(f.transcoding_live_media_count), 0)",
    "STORAGE_USED_BYTES": "sum(f.storage_bytes)",
    "STORAGE_USED_SECONDS": "sum(f.storage_seconds)",
    "STORAGE_USED_MEDIA_COUNT": "sum(f.storage_media_count)",
    "STORAGE_USED_RENDITION_COUNT": "sum(f.storage_rendition_count)",
    "STORAGE_LIFETIME_USED_BYTES": "sum(f.storage_lifetime_bytes)",
    "STORAGE_LIFETIME_USED_SECONDS": "sum(f.storage_lifetime_seconds)",
    "STORAGE_LIFETIME_USED_MEDIA_COUNT": "sum(f.storage_lifetime_media_count)",
    "STORAGE_LIFETIME_USED_RENDITION_COUNT": "sum(f.storage_lifetime_rendition_count)",
    "AI_USED_CREDITS": "coalesce(sum(f.ai_credits), 0)",
}
"""Every metric of one source. The four of REVENUE_ADS have a test of their own."""

_STORED = f"""FROM usage WHERE kind = 'storage' AND day BETWEEN '2023-06-28' AND '2023-07-03'
    AND owner_channel_id IN {CHANNELS}"""
LATEST = f"f.day = (SELECT max(day) {_STORED})"
LATEST_OF_MONTHS = f"f.day IN (SELECT max(day) {_STORED} GROUP BY strftime(day, '%Y-%m'))"


def asked(metrics: str, dimensions: str = "", product: str = "CONTENT", **filters: str) -> ReportQuery:
    """A query over the asked days, from names with blanks between them."""
    return ReportQuery.of(metrics.split(), dimensions.split(), START, END, filters, product)


def by_hand(family: str, metrics: list[str], dimensions: list[str], product: str) -> str:
    """The report of a family of one source, as SQL."""
    table, rows, roles = SOURCES[family]
    time = {"plays": "f.started_at", "ads": "f.started_at", _UPLOADS: "f.created_at"}.get(table, "f.day")
    cells = [_cell(name, "PAID" if roles is PAID else product, time) for name in dimensions]
    joins = _joins(cells)
    conditions = [rows, roles[product], *([_latest(dimensions)] if family == "STORAGE" else [])]
    numbers = [METRICS[name] for name in metrics]
    grouping = f"GROUP BY {', '.join(cells)}" if cells else "HAVING count(*) > 0"
    return (
        f"SELECT {', '.join([*cells, *numbers])} FROM {table} f {' '.join(joins)} "
        f"WHERE {' AND '.join(conditions)} {grouping}"
    )


def _cell(name: str, reader: str, time: str) -> str:
    if name in _TIMES:
        return _TIMES[name].format(time=time)
    return _SLUG_BY[reader] if name == "CHANNEL_SLUG" else CELLS[name]


def _joins(cells: list[str]) -> list[str]:
    """The joins of the cells, and those they lean on: accounts come through channels, parents through accounts."""
    texts = " ".join(cells)
    for _ in ("parents", "accounts"):
        texts += " ".join(join for alias, join in JOINS.items() if re.search(rf"\b{alias}\.", texts))
    return [join for alias, join in JOINS.items() if re.search(rf"\b{alias}\.", texts)]


def _latest(dimensions: list[str]) -> str:
    if "DAY" in dimensions:
        return "true"
    return LATEST_OF_MONTHS if "MONTH" in dimensions else LATEST
