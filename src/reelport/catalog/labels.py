"""Names of the catalog's rows as people read them, such as `video` for a VIDEO_ID."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from unicodedata import combining, normalize

from reelport.catalog.dimensions import Dimension
from reelport.catalog.dimensions import Dimension as D  # noqa: N817 - a table wants short names
from reelport.catalog.families import Family
from reelport.catalog.filters import Filter
from reelport.catalog.metrics import Metric
from reelport.language import N_, _, current_language

_CAPITALS = {word.lower(): word for word in ("AI", "eCPM", "eRPM", "EUR", "GDPR", "ID", "IVT", "URL", "USD", "VOD")}

# fmt: off
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
    return _(metric.label)


def label_family(family: Family) -> str:
    """Name a family of metrics inside a sentence."""
    return _(family.label)


def label_dimension(dimension: Dimension) -> str:
    """Name a dimension inside a sentence: the thing, not the column that names it."""
    return _(dimension.label)


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
