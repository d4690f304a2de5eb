"""Names of the catalog's rows as people read them, such as `video` for a VIDEO_ID."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from unicodedata import combining, normalize

from reelport.catalog.dimensions import Dimension
from reelport.catalog.dimensions import Dimension as D  # noqa: N817 - a table wants short names
from reelport.catalog.families import Family
from reelport.catalog.families import Family as F  # noqa: N817 - a table wants short names
from reelport.catalog.filters import Filter
from reelport.catalog.metrics import Metric
from reelport.catalog.metrics import Metric as M  # noqa: N817 - a table wants short names
from reelport.language import N_, _, current_language

_CAPITALS = {word.lower(): word for word in ("AI", "eCPM", "eRPM", "EUR", "GDPR", "ID", "IVT", "URL", "USD", "VOD")}

# One label per line reads best.
# fmt: off
METRIC_LABELS: Mapping[Metric, str] = {
    M.VIEWS: N_("views"),
    M.TIME_WATCHED_SECONDS: N_("watch time"),
    M.VIEW_THROUGH_RATE: N_("view-through rate"),
    M.AVERAGE_WATCH_TIME_SEC: N_("average watch time"),
    M.UPLOADS: N_("uploads"),
    M.LIVE_TIME_WATCHED_SECONDS: N_("live watch time"),
    M.LIVE_VIEWERS: N_("live viewers"),
    M.ESTIMATED_EARNINGS_EUR: N_("estimated earnings (EUR)"),
    M.ESTIMATED_EARNINGS_USD: N_("estimated earnings (USD)"),
    M.ESTIMATED_EARNINGS_EUR_OLD: N_("estimated earnings, legacy (EUR)"),
    M.ESTIMATED_EARNINGS_USD_OLD: N_("estimated earnings, legacy (USD)"),
    M.ECPM_EUR: N_("eCPM (EUR)"),
    M.ECPM_USD: N_("eCPM (USD)"),
    M.ERPM_EUR: N_("eRPM (EUR)"),
    M.ERPM_USD: N_("eRPM (USD)"),
    M.SELLABLE_INVENTORY: N_("sellable ad opportunities"),
    M.FILL_RATE: N_("fill rate"),
    M.GDPR_EMPTY_CONSENT_INVENTORY: N_("ad opportunities with empty consent"),
    M.GDPR_ERROR_CONSENT_INVENTORY: N_("ad opportunities with unreadable consent"),
    M.GDPR_FULL_CONSENT_INVENTORY: N_("ad opportunities with full consent"),
    M.GDPR_OTHER_CONSENT_INVENTORY: N_("ad opportunities with other consent"),
    M.GDPR_REFUSE_CONSENT_INVENTORY: N_("ad opportunities with refused consent"),
    M.GDPR_FULL_CONSENT_SCORE: N_("full consent rate"),
    M.NB_INVENTORY_GDPR_MISSING_FULL_CONSENT: N_("ad opportunities without full consent"),
    M.VALID_TRAFFIC_INVENTORY: N_("ad opportunities from valid traffic"),
    M.INVALID_TRAFFIC_INVENTORY: N_("ad opportunities from invalid traffic"),
    M.IVT_SCORE: N_("invalid traffic rate"),
    M.NO_ADS_TXT_INVENTORY: N_("ad opportunities without ads.txt"),
    M.NO_BRANDSAFE_INVENTORY: N_("ad opportunities that aren't brand safe"),
    M.NO_MONETIZED_INVENTORY: N_("ad opportunities that weren't monetized"),
    M.IMPRESSIONS: N_("impressions by the second count"),
    M.NB_P1_IMPRESSION: N_("impressions in the first pre-roll"),
    M.AD_VIEW_COMPLETED: N_("ads watched to the end"),
    M.AD_VIEW_NOT_COMPLETED: N_("ads not watched to the end"),
    M.VTR_SCORE: N_("ad completion rate"),
    M.HIGH_VIEWABLE_IMPRESSIONS: N_("impressions with high viewability"),
    M.LOW_VIEWABLE_IMPRESSIONS: N_("impressions with low viewability"),
    M.VIEWABILITY_SCORE: N_("viewability rate"),
    M.NO_ADS: N_("ineligible ad opportunities"),
    M.TOTAL_INVENTORY: N_("all ad opportunities"),
    M.NO_AD_RATE: N_("ineligible rate"),
    M.NB_MISSED_IMPRESSION: N_("missed impressions"),
    M.NO_FILLS: N_("unfilled ad requests"),
    M.AD_ERRORS: N_("ad errors"),
    M.TIMEOUTS: N_("ad timeouts"),
    M.NB_IMPRESSION: N_("impressions"),
    M.BANDWIDTH_USED_VOD_BYTES: N_("video bandwidth"),
    M.BANDWIDTH_USED_LIVE_BYTES: N_("live bandwidth"),
    M.BANDWIDTH_USED_TOTAL_BYTES: N_("total bandwidth"),
    M.BANDWIDTH_USED_VOD_SECONDS: N_("video time delivered"),
    M.BANDWIDTH_USED_LIVE_SECONDS: N_("live time delivered"),
    M.BANDWIDTH_USED_MEDIA_COUNT: N_("media delivered"),
    M.TRANSCODING_USED_VOD_SECONDS: N_("video time encoded"),
    M.TRANSCODING_USED_LIVE_SECONDS: N_("live time encoded"),
    M.TRANSCODING_USED_TOTAL_SECONDS: N_("total time encoded"),
    M.TRANSCODING_USED_VOD_MEDIA_COUNT: N_("videos encoded"),
    M.TRANSCODING_USED_LIVE_MEDIA_COUNT: N_("live streams encoded"),
    M.STORAGE_USED_BYTES: N_("storage"),
    M.STORAGE_USED_SECONDS: N_("time stored"),
    M.STORAGE_USED_MEDIA_COUNT: N_("media stored"),
    M.STORAGE_USED_RENDITION_COUNT: N_("renditions stored"),
    M.STORAGE_LIFETIME_USED_BYTES: N_("storage ever used"),
    M.STORAGE_LIFETIME_USED_SECONDS: N_("time ever stored"),
    M.STORAGE_LIFETIME_USED_MEDIA_COUNT: N_("media ever stored"),
    M.STORAGE_LIFETIME_USED_RENDITION_COUNT: N_("renditions ever stored"),
    M.AI_USED_CREDITS: N_("AI credits"),
}
DIMENSION_LABELS: Mapping[Dimension, str] = {
    D.MINUTE: N_("minute"),
    D.HOUR: N_("hour"),
    D.DAY: N_("day"),
    D.MONTH: N_("month"),
    D.CHANNEL_SLUG: N_("your channel"),
    D.VIDEO_OWNER_CHANNEL_SLUG: N_("channel"),
    D.VIDEO_OWNER_ID: N_("owner ID"),
    D.VIDEO_OWNER_USERNAME: N_("owner"),
    D.OWNER_OR_PARENT_USERNAME: N_("owner or its parent"),
    D.PUBLISHER_CHANNEL: N_("publisher channel"),
    D.PUBLISHER_ID: N_("publisher ID"),
    D.PUBLISHER_OR_PARENT_USERNAME: N_("publisher or its parent"),
    D.CLAIMER_CHANNEL: N_("claimer channel"),
    D.CLAIMER_OR_PARENT_USERNAME: N_("claimer or its parent"),
    D.ACCOUNT_ID: N_("account ID"),
    D.ACCOUNT_USERNAME: N_("account"),
    D.PARENT_ACCOUNT_ID: N_("parent account ID"),
    D.PARENT_ACCOUNT_USERNAME: N_("parent account"),
    D.VIDEO_ID: N_("video"),
    D.VIDEO_TITLE: N_("video title"),
    D.VISIBILITY: N_("visibility"),
    D.MEDIA_TYPE: N_("media type"),
    D.CONTENT_TYPE: N_("content type"),
    D.CONTENT_TAG: N_("tag"),
    D.CONTENT_TAG_LIST: N_("tags together"),
    D.PLAYLIST_ID: N_("playlist"),
    D.PLAYLIST_TITLE: N_("playlist title"),
    D.PLAYLIST_TYPE: N_("playlist type"),
    D.VIDEO_POSITION: N_("place in the sequence"),
    D.ACTION: N_("start of the play"),
    D.PLAYER_ID: N_("player"),
    D.PLAYER_TITLE: N_("player title"),
    D.PLAYER_TYPE: N_("player type"),
    D.PLAYER_SIZE: N_("player size"),
    D.PLAYER_SIZE_BUCKET: N_("player size class"),
    D.VISITOR_COUNTRY: N_("country"),
    D.VISITOR_DEVICE_TYPE: N_("device"),
    D.VISITOR_DOMAIN_GROUP: N_("domain group"),
    D.VISITOR_SUBDOMAIN: N_("site"),
    D.VISITOR_PAGE_URL: N_("page"),
    D.INVENTORY_POSITION: N_("ad position"),
    D.INVENTORY_POSITION_INDEX: N_("pre-roll slot"),
    D.AD_FORMAT: N_("ad format"),
    D.BUYER: N_("buyer"),
    D.BUYERTYPE: N_("buyer type"),
    D.AD_ERROR_CODE: N_("ad error code"),
    D.AD_ERROR_READABLE: N_("ad error"),
    D.NOAD_REASON_READABLE: N_("reason for no ad"),
    D.OUTCOME: N_("outcome"),
    D.ADS_TXT_STATUS: N_("ads.txt status"),
    D.MONETIZATION_TYPE: N_("monetization"),
    D.MONETIZATION_PRODUCT: N_("monetization product"),
    D.RENDITION_FORMAT: N_("rendition format"),
    D.RENDITION_RESOLUTION: N_("rendition resolution"),
    D.RENDITION_FPS: N_("frames per second"),
    D.AI_FEATURE_NAME: N_("AI feature"),
}
FAMILY_LABELS: Mapping[Family, str] = {
    F.AUDIENCE: N_("audience"),
    F.UPLOADS: N_("uploads"),
    F.LIVE: N_("live"),
    F.REVENUE: N_("earnings"),
    F.REVENUE_LEGACY: N_("earnings by the legacy count"),
    F.REVENUE_ADS: N_("earnings per thousand"),
    F.ADS: N_("ad opportunities"),
    F.ADS_BLANK: N_("ad eligibility"),
    F.ADS_MISSED: N_("ads missed"),
    F.ADS_SOLD: N_("ads sold"),
    F.BANDWIDTH: N_("delivery"),
    F.TRANSCODING: N_("encoding"),
    F.STORAGE: N_("stock"),
    F.AI: N_("AI features"),
}
# Dimensions by what they tell of, but those of time.
DIMENSION_GROUPS: Mapping[str, tuple[Dimension, ...]] = {
    N_("video"): (D.VIDEO_ID, D.VIDEO_TITLE, D.CONTENT_TAG, D.CONTENT_TAG_LIST, D.MEDIA_TYPE, D.CONTENT_TYPE,
                  D.VISIBILITY, D.RENDITION_FORMAT, D.RENDITION_RESOLUTION, D.RENDITION_FPS, D.AI_FEATURE_NAME),
    N_("channel and account"): (D.VIDEO_OWNER_CHANNEL_SLUG, D.CHANNEL_SLUG, D.VIDEO_OWNER_ID, D.VIDEO_OWNER_USERNAME,
                                D.OWNER_OR_PARENT_USERNAME, D.ACCOUNT_ID, D.ACCOUNT_USERNAME, D.PARENT_ACCOUNT_ID,
                                D.PARENT_ACCOUNT_USERNAME, D.CLAIMER_CHANNEL, D.CLAIMER_OR_PARENT_USERNAME),
    N_("viewers"): (D.VISITOR_COUNTRY, D.VISITOR_DEVICE_TYPE),
    N_("where it was watched"): (D.VISITOR_SUBDOMAIN, D.VISITOR_PAGE_URL, D.VISITOR_DOMAIN_GROUP, D.PUBLISHER_CHANNEL,
                                 D.PUBLISHER_ID, D.PUBLISHER_OR_PARENT_USERNAME),
    N_("player and playlist"): (D.ACTION, D.PLAYER_ID, D.PLAYER_TITLE, D.PLAYER_TYPE, D.PLAYER_SIZE,
                                D.PLAYER_SIZE_BUCKET, D.PLAYLIST_ID, D.PLAYLIST_TITLE, D.PLAYLIST_TYPE,
                                D.VIDEO_POSITION),
    N_("ads"): (D.INVENTORY_POSITION, D.INVENTORY_POSITION_INDEX, D.AD_FORMAT, D.OUTCOME, D.AD_ERROR_CODE,
                D.AD_ERROR_READABLE, D.NOAD_REASON_READABLE, D.ADS_TXT_STATUS),
    N_("money"): (D.MONETIZATION_TYPE, D.MONETIZATION_PRODUCT, D.BUYER, D.BUYERTYPE),
}
# The words for codes in cells, in any case of letters.
VALUE_LABELS: Mapping[Dimension, Mapping[str, str]] = {
    D.VISITOR_DEVICE_TYPE: {
        "mobile": N_("Phone"),
        "desktop": N_("Computer"),
        "tablet": N_("Tablet"),
        "tv": N_("TV"),
    },
    D.MEDIA_TYPE: {"video": N_("Video"), "live": N_("Live stream")},
    D.VISIBILITY: {"public": N_("Public"), "private": N_("Private"), "password": N_("By password")},
    D.MONETIZATION_TYPE: {
        "claim": N_("Claim"),
        "video_monetization": N_("Own videos"),
        "website_monetization": N_("Website"),
    },
    D.INVENTORY_POSITION: {
        "pre-roll": N_("Pre-roll"),
        "mid-roll": N_("Mid-roll"),
        "post-roll": N_("Post-roll"),
        "overlay": N_("Overlay"),
    },
    D.ACTION: {
        "click": N_("Click"),
        "autoplay": N_("Autoplay"),
        "autonext": N_("Next in the sequence"),
        "scroll": N_("Scroll"),
    },
    D.OUTCOME: {"ad errors": N_("Ad error"), "no fills": N_("No ad"), "timeout": N_("Timeout")},
}
# fmt: on
COUNTRIES = frozenset({Dimension.VISITOR_COUNTRY})  # their cells are ISO 3166 codes


def label_metric(metric: Metric) -> str:
    """Name a metric inside a sentence."""
    return _(METRIC_LABELS[metric])


def label_family(family: Family) -> str:
    """Name a family of metrics inside a sentence."""
    return _(FAMILY_LABELS[family])


def label_dimension(dimension: Dimension) -> str:
    """Name a dimension inside a sentence: the thing, not the column that names it."""
    return _(DIMENSION_LABELS[dimension])


def label_filter(filter_: Filter) -> str:
    """Name a filter inside a sentence: as the dimension that it compares."""
    return label_dimension(filter_.dimension)


def label_value(dimension: Dimension, cell: str) -> str:
    """Name what a code stands for, such as Phone for `mobile`; any other cell as it is."""
    if dimension in COUNTRIES:
        return current_language().countries.get(cell.upper(), cell)
    label = VALUE_LABELS.get(dimension, {}).get(cell.lower())
    return _(label) if label else cell


def find_cells(dimension: Dimension, text: str) -> tuple[str, ...]:
    """Find the codes of a dimension whose label has this text, whatever its case and accents."""
    wanted = fold(text)
    codes = current_language().countries if dimension in COUNTRIES else VALUE_LABELS.get(dimension, {})
    return tuple(code for code in codes if wanted and wanted in fold(label_value(dimension, code)))


def fold(text: str) -> str:
    """Write a text without case, accents and what divides words: two that read alike are equal."""
    plain = "".join(each for each in normalize("NFD", text) if not combining(each))
    return re.sub(r"[\W_]+", "-", plain.casefold()).strip("-")


def label_names(sentence: str) -> str:
    """Say sentences with labels where they have names of the catalog."""
    labels = _list_labels(current_language().code)
    labelled = re.sub(r"\b\w+\b", lambda found: labels.get(found[0], found[0]), sentence)
    return "".join(map(capitalize, re.split(r"(?<=[.?!] )", labelled)))


@cache
def _list_labels(_language: str) -> dict[str, str]:
    """List the labels of all names in a language: a metric's, where a dimension has the same."""
    filters = {row.name: label_filter(row) for row in Filter}
    dimensions = {row.name: label_dimension(row) for row in Dimension}
    return filters | dimensions | {row.name: label_metric(row) for row in Metric}


def capitalize(label: str) -> str:
    """Begin a sentence or a heading with a label."""
    return label if label.split(" ", maxsplit=1)[0] in _CAPITALS.values() else label[:1].upper() + label[1:]


def spell_name(name: str) -> str:
    """Write a name of the wire that the catalog doesn't have as words."""
    return " ".join(_CAPITALS.get(word) or word for word in name.lower().split("_"))
