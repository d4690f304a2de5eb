SELECT
    toDate(plays.started_at, 'UTC') AS day,
    plays.video_id AS video_id,
    videos.title AS video_title,
    plays.media_type AS media_type,
    plays.action AS action,
    plays.visitor_country AS visitor_country,
    plays.visitor_device_type AS visitor_device_type,
    plays.visitor_subdomain AS visitor_subdomain,
    sum(plays.views) AS views,
    sum(plays.time_watched_seconds) AS time_watched_seconds
FROM (
    SELECT * FROM {plays}
    WHERE owner_channel_id = 'c00000' AND started_at >= parseDateTime64BestEffort('{start}', 6, 'UTC')
    AND started_at < parseDateTime64BestEffort('{end}', 6, 'UTC')
) AS plays
LEFT JOIN {videos} AS videos ON videos.id = plays.video_id
GROUP BY ALL
ORDER BY ALL NULLS LAST
