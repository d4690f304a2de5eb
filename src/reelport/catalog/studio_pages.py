"""What Studio's pages show first: metrics, boards, and the pages of single things."""

from __future__ import annotations

from dataclasses import dataclass

from reelport.catalog.dimensions import Dimension
from reelport.catalog.filters import Filter
from reelport.catalog.metrics import Metric

FIRST_METRICS = (Metric.VIEWS, Metric.TIME_WATCHED_SECONDS)
FIRST_DIMENSIONS = (Dimension.VIDEO_OWNER_CHANNEL_SLUG, Dimension.VIDEO_ID, Dimension.VISITOR_COUNTRY)
"""The first has a filter, so that a click on one of its values narrows the view."""

OVERVIEW_METRICS = (
    (Metric.VIEWS, Metric.TIME_WATCHED_SECONDS, Metric.AVERAGE_WATCH_TIME_SEC),
    (Metric.ESTIMATED_EARNINGS_EUR,),
)
"""What the overview tells first. Metrics of one group have the same last complete day."""
OVERVIEW_BOARDS = (Dimension.VIDEO_ID, Dimension.VISITOR_COUNTRY, Dimension.VISITOR_DEVICE_TYPE)
OVERVIEW_CHANNEL = Filter.videoOwnerChannelSlug


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind of thing that has its own page; `path` is the word in its address.

    One that `is_uploaded` is compared with others in its first days.
    """

    path: str
    dimension: Dimension
    leaderboards: tuple[Dimension, ...]
    is_uploaded: bool = False


_VISITORS = (Dimension.VISITOR_COUNTRY, Dimension.VISITOR_DEVICE_TYPE)
_PAGES = Dimension.VISITOR_SUBDOMAIN
_CHANNEL, _VIDEO = Dimension.VIDEO_OWNER_CHANNEL_SLUG, Dimension.VIDEO_ID
SUBJECTS = (
    Subject("videos", _VIDEO, (*_VISITORS, _PAGES), is_uploaded=True),
    Subject("channels", _CHANNEL, (_VIDEO, *_VISITORS, _PAGES)),
    Subject("countries", Dimension.VISITOR_COUNTRY, (_VIDEO, _CHANNEL, Dimension.VISITOR_DEVICE_TYPE, _PAGES)),
)
