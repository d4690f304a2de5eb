"""Every filter by which a report can be narrowed.

Names are the wire's; each takes a single value.
"""

from __future__ import annotations

from enum import unique

from reelport.catalog.dimensions import Dimension
from reelport.catalog.row_types import Known, KnownRow, Standing

_NAMED = Known(Standing.DOCUMENTED, Standing.INFERRED, Standing.CHOSEN)
"""A filter that the documentation names; its meaning is inferred from the name, and its values are our choice."""
_SEEN = _NAMED.but(name=Standing.SCHEMA)


@unique
class Filter(KnownRow):
    """A filter: the dimension whose cells it compares, and its closed list of values, if any.

    A filter with `choices` takes one of them (upper case, an enum of the wire named
    `wire_type`); any other takes a text, and the empty text keeps the rows whose cell is empty.
    """

    channelSlug = _SEEN, Dimension.CHANNEL_SLUG, "Keep rows whose CHANNEL_SLUG is this."
    videoOwnerChannelSlug = (
        _NAMED,
        Dimension.VIDEO_OWNER_CHANNEL_SLUG,
        "Keep videos that this channel owns.",
    )
    visitorDomainGroup = _NAMED, Dimension.VISITOR_DOMAIN_GROUP, "Keep this group of domains."
    mediaType = (
        _NAMED.but(values=Standing.SCHEMA),
        Dimension.MEDIA_TYPE,
        "Keep live streams, or videos.",
        "PartnerReportFilterMediaType",
        ("LIVE", "VIDEO"),
    )
    monetizationType = (
        _SEEN.but(values=Standing.SCHEMA),
        Dimension.MONETIZATION_TYPE,
        "Keep this kind of monetization.",
        "PartnerReportFilterMonetizationType",
        ("CLAIM", "VIDEO_MONETIZATION", "WEBSITE_MONETIZATION"),
    )

    def __init__(
        self,
        known: Known,
        dimension: Dimension,
        sentence: str,
        wire_type: str = "String",
        choices: tuple[str, ...] = (),
    ) -> None:
        self.known = known
        self.dimension = dimension
        self.sentence = sentence
        self.wire_type = wire_type
        self.choices = choices
