-- Sample usage of bandwidth: bytes delivered.
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
