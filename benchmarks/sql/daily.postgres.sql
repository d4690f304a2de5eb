SELECT
    day,
    slug AS video_owner_channel_slug,
    views,
    time_watched_seconds
FROM (
    SELECT
        (started_at AT TIME ZONE 'UTC')::date AS day,
        owner_channel_id,
        sum(views) AS views,
        sum(time_watched_seconds) AS time_watched_seconds
    FROM plays
    WHERE started_at >= '{start}' AND started_at < '{end}'
    GROUP BY 1, 2
) AS summed
LEFT JOIN channels ON channels.id = summed.owner_channel_id
ORDER BY 1, 2
