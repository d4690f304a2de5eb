"""What somebody sees who has asked for nothing yet."""

from __future__ import annotations

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
