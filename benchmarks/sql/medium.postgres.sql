SELECT
    (started_at AT TIME ZONE 'UTC')::date AS day,
    visitor_country,
    visitor_device_type,
    sum(views) AS views,
    sum(time_watched_seconds) AS time_watched_seconds
FROM plays
WHERE owner_channel_id = 'c00000' AND started_at >= '{start}' AND started_at < '{end}'
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
