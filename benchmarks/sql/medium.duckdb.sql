SELECT
    make_timestamp(epoch_us(started_at))::DATE AS day,
    visitor_country,
    visitor_device_type,
    sum(views) AS views,
    sum(time_watched_seconds) AS time_watched_seconds
FROM {plays} AS plays
WHERE owner_channel_id = 'c00000' AND started_at >= '{start}' AND started_at < '{end}'
GROUP BY ALL
ORDER BY day, visitor_country NULLS LAST, visitor_device_type NULLS LAST
