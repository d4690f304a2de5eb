"""What somebody sees who has asked for nothing yet."""

from __future__ import annotations

from reelport.catalog.dimensions import Dimension
from reelport.catalog.metrics import Metric

FIRST_METRICS = (Metric.VIEWS, Metric.TIME_WATCHED_SECONDS)
FIRST_DIMENSIONS = (Dimension.VIDEO_OWNER_CHANNEL_SLUG, Dimension.VIDEO_ID, Dimension.VISITOR_COUNTRY)
"""The first has a filter, so that a click on one of its values narrows the view."""
