"""Sample usage: what was delivered, encoded, kept and worked on by AI, each kind with the counts that are its own.

Every query gives the columns it has; the others of the table `usage` are empty.
"""

from __future__ import annotations

from collections.abc import Mapping

from reelport.facts.sample_videos import EVENT, SHELF, SLOTS

RENDITIONS = 5
"""How many renditions each video has, see the macro `renditions` of the stage."""

STORED = SHELF * RENDITIONS
"""How many rows of storage one day can have at most: each rendition on the shelf once."""

_BANDWIDTH = """
WITH delivered AS (
    SELECT
        *,
        one_of(n, 'rendition', renditions()) AS rendition,
        30 + floor(pow(roll(n, 'seconds'), 3) * 90000)::BIGINT AS seconds,
        place(n, 'media', 60) AS media
    FROM scenes
)
SELECT
    day, 'bandwidth' AS kind, video_id, owner_channel_id, publisher_channel_id, claimer_channel_id, media_type,
    one_of(n, 'action', ['click', 'autoplay', 'autonext', 'click', NULL]) AS action,
    player_id, visitor_country, visitor_device_type, visitor_domain_group, visitor_subdomain, visitor_page_url,
    rendition.format AS rendition_format,
    rendition.resolution AS rendition_resolution,
    rendition.fps AS rendition_fps,
    CASE WHEN NOT live THEN seconds * rendition.rate END AS bandwidth_vod_bytes,
    CASE WHEN live THEN seconds * rendition.rate END AS bandwidth_live_bytes,
    CASE WHEN NOT live THEN seconds END AS bandwidth_vod_seconds,
    CASE WHEN live THEN seconds END AS bandwidth_live_seconds,
    media AS bandwidth_media_count
FROM delivered
"""

_TRANSCODING = f"""
WITH encoded AS (
    SELECT
        day,
        pick(n, 'slot', uploads_on(day)) AS slot,
        (day - DATE '1970-01-01') * {SLOTS} + pick(n, 'slot', uploads_on(day)) AS number,
        1 + pick(n, 'rendition', {RENDITIONS}) AS step,
        renditions()[1 + pick(n, 'rendition', {RENDITIONS})] AS rendition
    FROM ordinals
)
SELECT
    day, 'transcoding' AS kind, video_id, owner_channel_id,
    CASE WHEN slot = {EVENT} THEN 'live' ELSE 'video' END AS media_type,
    rendition.format AS rendition_format,
    rendition.resolution AS rendition_resolution,
    rendition.fps AS rendition_fps,
    CASE WHEN slot <> {EVENT} THEN coalesce(duration, 0) END AS transcoding_vod_seconds,
    CASE WHEN slot = {EVENT} THEN 4 * 3600 END AS transcoding_live_seconds,
    CASE WHEN slot <> {EVENT} THEN (step = 1)::BIGINT END AS transcoding_vod_media_count,
    CASE WHEN slot = {EVENT} THEN (step = 1)::BIGINT END AS transcoding_live_media_count
FROM encoded
JOIN casting USING (number)
"""

_STORAGE = f"""
WITH kept AS (
    -- The same renditions day after day, and a few more: a stock that grows.
    SELECT
        day, video_id, owner_channel_id, number, coalesce(duration, 600) AS seconds,
        (place % {RENDITIONS} = 0)::BIGINT AS media,
        renditions()[1 + place % {RENDITIONS}] AS rendition
    FROM ordinals
    JOIN casting ON number = 1 + place // {RENDITIONS}
)
SELECT
    day, 'storage' AS kind, video_id, owner_channel_id, 'video' AS media_type,
    rendition.format AS rendition_format,
    rendition.resolution AS rendition_resolution,
    rendition.fps AS rendition_fps,
    seconds * rendition.rate AS storage_bytes,
    -- Every fourth video was once replaced by a new cut.
    seconds * rendition.rate * CASE WHEN number % 4 = 0 THEN 2 ELSE 1 END AS storage_lifetime_bytes,
    seconds * media AS storage_seconds,
    seconds * media * CASE WHEN number % 4 = 0 THEN 2 ELSE 1 END AS storage_lifetime_seconds,
    media AS storage_media_count,
    media AS storage_lifetime_media_count,
    1 AS storage_rendition_count,
    CASE WHEN number % 4 = 0 THEN 2 ELSE 1 END AS storage_lifetime_rendition_count
FROM kept
"""

_AI = """
SELECT
    day, 'ai' AS kind, video_id, owner_channel_id, media_type,
    one_of(n, 'feature', ['subtitles', 'chapters', 'translation', 'thumbnails', 'summary, short']) AS ai_feature_name,
    place(n, 'credits', 200) AS ai_credits
FROM scenes
"""

USAGE: Mapping[str, str] = {"bandwidth": _BANDWIDTH, "transcoding": _TRANSCODING, "storage": _STORAGE, "ai": _AI}
"""Rows of `usage` by kind, from `scenes` and `ordinals`."""
