"""The matrix: a row for each family of metrics, with what goes with it.

A report may mix families when each of its dimensions goes with every one of its metrics. Where the reference's matrix
could not be read, a row says so by cell: `documented` holds what Dailymotion's page lists, `inferred` what client code
uses, what was suggested, or what the family's facts have; `carried` holds what the facts have beyond that, and counts
only where a service is set to be permissive about inferred rows.
"""

from __future__ import annotations

from enum import unique

from reelport.catalog.dimensions import Dimension
from reelport.catalog.dimensions import Dimension as D  # noqa: N817 - a matrix wants short names
from reelport.catalog.filters import Filter
from reelport.catalog.row_types import Grain, Row, Standing
from reelport.catalog.scopes import FOR_ADS, FOR_EARNINGS, FOR_EARNINGS_PER_THOUSAND, Scope
from reelport.language import N_

Dimensions = frozenset[Dimension]
NONE: Dimensions = frozenset()

_DAYS = frozenset({D.DAY, D.MONTH})
_HOURS = _DAYS | {D.HOUR}
_VIDEO = frozenset({D.VIDEO_OWNER_CHANNEL_SLUG, D.VIDEO_ID, D.VIDEO_TITLE})
_TAGS = frozenset({D.CONTENT_TAG, D.CONTENT_TAG_LIST})
_PLAYLIST = frozenset({D.PLAYLIST_ID, D.PLAYLIST_TITLE, D.VIDEO_POSITION})
_PLAYER = frozenset({D.PLAYER_ID, D.PLAYER_TITLE})
_PUBLISHER = frozenset({D.PUBLISHER_ID, D.PUBLISHER_CHANNEL})
_PAGE = frozenset({D.VISITOR_DOMAIN_GROUP, D.VISITOR_PAGE_URL, D.VISITOR_SUBDOMAIN})
_VISITOR = _PAGE | {D.VISITOR_COUNTRY, D.VISITOR_DEVICE_TYPE}
_ACCOUNTS = frozenset({D.ACCOUNT_ID, D.ACCOUNT_USERNAME, D.PARENT_ACCOUNT_ID, D.PARENT_ACCOUNT_USERNAME})
_OWNERS = _ACCOUNTS | {D.OWNER_OR_PARENT_USERNAME}
_OTHERS = frozenset({D.CLAIMER_CHANNEL, D.CLAIMER_OR_PARENT_USERNAME, D.PUBLISHER_OR_PARENT_USERNAME})
_OWNER_NAMES = frozenset({D.VIDEO_OWNER_ID, D.VIDEO_OWNER_USERNAME})
_SALE = frozenset({D.MONETIZATION_TYPE, D.MONETIZATION_PRODUCT, D.CONTENT_TYPE})
_BUYERS = frozenset({D.BUYER, D.BUYERTYPE, D.AD_FORMAT})
_MISSES = frozenset({D.OUTCOME, D.AD_ERROR_CODE, D.AD_ERROR_READABLE})
_RENDITION = frozenset({D.RENDITION_RESOLUTION, D.RENDITION_FPS, D.RENDITION_FORMAT})

_LIVE = _HOURS | _VIDEO | _TAGS | _PLAYER | _PUBLISHER | _VISITOR | {D.ACTION}
_AUDIENCE = _LIVE | _PLAYLIST | {D.MEDIA_TYPE}
_REVENUE = _DAYS | _VIDEO | _TAGS | _PLAYLIST | _PLAYER | _PUBLISHER | _PAGE | {D.CHANNEL_SLUG}
_REVENUE_MORE = _OWNERS | _OTHERS | _SALE | {D.VISITOR_DEVICE_TYPE, D.VISITOR_COUNTRY, D.PLAYLIST_TYPE}
_SLOT = frozenset({D.INVENTORY_POSITION, D.INVENTORY_POSITION_INDEX})
_EARNING_FACTS = _REVENUE | _REVENUE_MORE | _SLOT | _BUYERS | _OWNER_NAMES | {D.MEDIA_TYPE, D.PLAYER_TYPE}
_AD_FACTS = (
    _EARNING_FACTS
    | _MISSES
    | {D.HOUR, D.MINUTE, D.ADS_TXT_STATUS, D.NOAD_REASON_READABLE, D.PLAYER_SIZE, D.PLAYER_SIZE_BUCKET}
)
_ADS = (
    _HOURS | _VIDEO | _TAGS | _PLAYLIST | _PLAYER | _PUBLISHER | _VISITOR | _SLOT
    | _OWNERS | _OTHERS | _SALE
    | {D.CHANNEL_SLUG, D.MEDIA_TYPE, D.MINUTE, D.ADS_TXT_STATUS, D.PLAYER_SIZE, D.PLAYER_SIZE_BUCKET, D.PLAYLIST_TYPE}
)  # fmt: skip
_MONEY_OVER_ADS = (_ADS & _EARNING_FACTS) | _BUYERS
_STORED = _DAYS | _VIDEO | _TAGS | _RENDITION | _OWNER_NAMES | _OWNERS | {D.CHANNEL_SLUG, D.MEDIA_TYPE}
_DELIVERED = (
    _STORED | _PLAYER | _PUBLISHER | _OTHERS
    | {D.ACTION, D.PLAYER_TYPE, D.VISITOR_COUNTRY, D.VISITOR_DEVICE_TYPE, D.VISITOR_DOMAIN_GROUP, D.VISITOR_SUBDOMAIN}
)  # fmt: skip
_AI = (_STORED - _RENDITION - {D.MEDIA_TYPE}) | {D.AI_FEATURE_NAME}

_CHANNELS = frozenset({Filter.channelSlug, Filter.videoOwnerChannelSlug})
_ALL_FILTERS = frozenset(Filter)
_USAGE_FILTERS = _CHANNELS | {Filter.mediaType}


@unique
class Family(Row):
    """A row of the matrix: label, sentence, dimensions, filters, finest grain, extra scopes."""

    AUDIENCE = N_("audience"), "How much was watched.", _AUDIENCE, NONE, NONE, _ALL_FILTERS, Grain.HOUR
    UPLOADS = (
        N_("uploads"),
        "How many videos were uploaded.",
        _DAYS | _VIDEO | {D.VISIBILITY},
        NONE,
        NONE,
        _CHANNELS,
        Grain.DAY,
    )
    LIVE = N_("live"), "How much live was watched, and by how many.", _LIVE, NONE, NONE, _ALL_FILTERS, Grain.HOUR
    REVENUE = (
        N_("earnings"),
        "What was earned.",
        _REVENUE,
        _REVENUE_MORE,
        _EARNING_FACTS - _REVENUE - _REVENUE_MORE,
        _ALL_FILTERS,
        Grain.DAY,
        FOR_EARNINGS,
    )
    REVENUE_LEGACY = (
        N_("earnings by the legacy count"),
        "What was earned, by the legacy count.",
        NONE,
        _REVENUE | _REVENUE_MORE,
        _EARNING_FACTS - _REVENUE - _REVENUE_MORE,
        _ALL_FILTERS,
        Grain.DAY,
        FOR_EARNINGS,
    )
    REVENUE_ADS = (
        N_("earnings per thousand"),
        "What was earned by a thousand ads or opportunities.",
        NONE,
        _MONEY_OVER_ADS,
        _EARNING_FACTS - _MONEY_OVER_ADS,
        _ALL_FILTERS,
        Grain.DAY,
        FOR_EARNINGS_PER_THOUSAND,
    )
    ADS = (
        N_("ad opportunities"),
        "What ad opportunities there were.",
        NONE,
        _ADS,
        _AD_FACTS - _ADS,
        _ALL_FILTERS,
        Grain.MINUTE,
        FOR_ADS,
    )
    ADS_BLANK = (
        N_("ad eligibility"),
        "Which ad opportunities were not eligible.",
        NONE,
        _ADS | {D.NOAD_REASON_READABLE},
        _AD_FACTS - _ADS - {D.NOAD_REASON_READABLE},
        _ALL_FILTERS,
        Grain.MINUTE,
        FOR_ADS,
    )
    ADS_MISSED = (
        N_("ads missed"),
        "Which ad opportunities got no impression, and why.",
        NONE,
        _ADS | _MISSES,
        _AD_FACTS - _ADS - _MISSES,
        _ALL_FILTERS,
        Grain.MINUTE,
        FOR_ADS,
    )
    ADS_SOLD = (
        N_("ads sold"),
        "Which ad opportunities were sold, and to whom.",
        NONE,
        _ADS | _BUYERS,
        _AD_FACTS - _ADS - _BUYERS,
        _ALL_FILTERS,
        Grain.MINUTE,
        FOR_ADS,
    )
    BANDWIDTH = (
        N_("delivery"),
        "What was delivered.",
        NONE,
        _DELIVERED,
        NONE,
        _USAGE_FILTERS | {Filter.visitorDomainGroup},
        Grain.DAY,
    )
    TRANSCODING = N_("encoding"), "What was encoded.", NONE, _STORED, NONE, _USAGE_FILTERS, Grain.DAY
    STORAGE = N_("stock"), "What is stored.", NONE, _STORED, NONE, _USAGE_FILTERS, Grain.DAY
    AI = N_("AI features"), "What AI features used.", NONE, _AI, NONE, _CHANNELS, Grain.DAY

    def __init__(
        self,
        label: str,
        sentence: str,
        documented: Dimensions,
        inferred: Dimensions,
        carried: Dimensions,
        filters: frozenset[Filter],
        grain: Grain,
        scopes: frozenset[Scope] = frozenset(),
    ) -> None:
        self.label = label
        self.sentence = sentence
        self.documented = documented
        self.inferred = inferred
        self.carried = carried
        self.filters = filters
        self.grain = grain
        self.scopes = scopes

    @property
    def standing(self) -> Standing:
        """DOCUMENTED when the whole row is documented; INFERRED when any part of it is inferred."""
        return Standing.INFERRED if self.inferred else Standing.DOCUMENTED

    def dimensions(self, *, permissive: bool = False) -> Dimensions:
        """The dimensions that go with the metrics; with `permissive`, all that their facts have."""
        row = self.documented | self.inferred
        return row | self.carried if permissive else row
