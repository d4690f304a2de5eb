SELECT
    toDate(started_at, 'UTC') AS day,
    visitor_country,
    visitor_device_type,
    sum(views) AS views,
    sum(time_watched_seconds) AS time_watched_seconds
FROM {plays}
WHERE owner_channel_id = 'c00000' AND started_at >= parseDateTime64BestEffort('{start}', 6, 'UTC')
    AND started_at < parseDateTime64BestEffort('{end}', 6, 'UTC')
GROUP BY day, visitor_country, visitor_device_type
ORDER BY day, visitor_country NULLS LAST, visitor_device_type NULLS LAST
