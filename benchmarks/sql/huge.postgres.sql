SELECT
    (started_at AT TIME ZONE 'UTC')::date AS day,
    video_id,
    title AS video_title,
    media_type,
    action,
    visitor_country,
    visitor_device_type,
    visitor_subdomain,
    sum(views) AS views,
    sum(time_watched_seconds) AS time_watched_seconds
FROM plays
LEFT JOIN videos ON videos.id = plays.video_id
WHERE plays.owner_channel_id = 'c00000' AND started_at >= '{start}' AND started_at < '{end}'
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
