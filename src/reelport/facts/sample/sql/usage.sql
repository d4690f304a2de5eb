-- Sample usage: bytes delivered, uploads encoded, what is stored at the end of each day, and AI features.
WITH delivered AS (
    SELECT
        *,
        one_of(n, 'rendition', renditions()) AS rendition,
        30 + floor(pow(roll(n, 'seconds'), 3) * 90000)::BIGINT AS seconds,
        place(n, 'media', 60) AS media
    FROM scenes
    WHERE kind = 'bandwidth'
), encoded AS (
    SELECT
        day,
        pick(n, 'slot', uploads_on(day)) AS slot,
        (day - DATE '1970-01-01') * slots() + pick(n, 'slot', uploads_on(day)) AS number,
        1 + pick(n, 'rendition', len(renditions())) AS step,
        renditions()[1 + pick(n, 'rendition', len(renditions()))] AS rendition
    FROM ordinals
    WHERE kind = 'transcoding'
), kept AS (
    -- The same renditions as the day before, and a few more: storage grows.
    SELECT
        day, video_id, owner_channel_id, number, coalesce(duration, 600) AS seconds,
        (place % len(renditions()) = 0)::BIGINT AS media,
        renditions()[1 + place % len(renditions())] AS rendition
    FROM ordinals
    JOIN casting ON number = 1 + place // len(renditions())
    WHERE kind = 'storage'
)
SELECT
    day, kind, video_id, owner_channel_id, publisher_channel_id, claimer_channel_id, media_type,
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
UNION ALL BY NAME
SELECT
    day, 'transcoding' AS kind, video_id, owner_channel_id,
    CASE WHEN slot = 0 THEN 'live' ELSE 'video' END AS media_type,
    rendition.format AS rendition_format,
    rendition.resolution AS rendition_resolution,
    rendition.fps AS rendition_fps,
    CASE WHEN slot <> 0 THEN coalesce(duration, 0) END AS transcoding_vod_seconds,
    CASE WHEN slot = 0 THEN 4 * 3600 END AS transcoding_live_seconds,
    CASE WHEN slot <> 0 THEN (step = 1)::BIGINT END AS transcoding_vod_media_count,
    CASE WHEN slot = 0 THEN (step = 1)::BIGINT END AS transcoding_live_media_count
FROM encoded
JOIN casting USING (number)
UNION ALL BY NAME
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
UNION ALL BY NAME
SELECT
    day, kind,
    -- Some usage is for the channel as a whole, not for one video.
    CASE WHEN roll(n, 'nameless') < 0.95 THEN video_id END AS video_id,
    owner_channel_id, media_type,
    one_of(n, 'feature', ['subtitles', 'chapters', 'translation', 'thumbnails', 'summary, short']) AS ai_feature_name,
    place(n, 'credits', 200) AS ai_credits
FROM scenes
WHERE kind = 'ai'
