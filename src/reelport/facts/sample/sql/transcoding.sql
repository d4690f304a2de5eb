-- Sample usage of transcoding: what was encoded of each day's uploads.
WITH encoded AS (
    SELECT
        day,
        pick(n, 'slot', uploads_on(day)) AS slot,
        (day - DATE '1970-01-01') * slots() + pick(n, 'slot', uploads_on(day)) AS number,
        1 + pick(n, 'rendition', len(renditions())) AS step,
        renditions()[1 + pick(n, 'rendition', len(renditions()))] AS rendition
    FROM ordinals
)
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
