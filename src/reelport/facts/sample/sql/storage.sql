-- Sample usage of storage: what is stored at the end of each day.
WITH kept AS (
    -- The same renditions as the day before, and a few more: storage grows.
    SELECT
        day, video_id, owner_channel_id, number, coalesce(duration, 600) AS seconds,
        (place % len(renditions()) = 0)::BIGINT AS media,
        renditions()[1 + place % len(renditions())] AS rendition
    FROM ordinals
    JOIN casting ON number = 1 + place // len(renditions())
)
SELECT
    day, 'storage' AS kind, video_id, owner_channel_id, 'video' AS media_type,
    rendition.format AS rendition_format,
    rendition.resolution AS rendition_resolution,
    rendition.fps AS rendition_fps,
    seconds * rendition.rate AS storage_bytes,
    -- Every fourth video was replaced once by a new version.
    seconds * rendition.rate * CASE WHEN number % 4 = 0 THEN 2 ELSE 1 END AS storage_lifetime_bytes,
    seconds * media AS storage_seconds,
    seconds * media * CASE WHEN number % 4 = 0 THEN 2 ELSE 1 END AS storage_lifetime_seconds,
    media AS storage_media_count,
    media AS storage_lifetime_media_count,
    1 AS storage_rendition_count,
    CASE WHEN number % 4 = 0 THEN 2 ELSE 1 END AS storage_lifetime_rendition_count
FROM kept
