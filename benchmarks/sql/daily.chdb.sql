SELECT
    summed.day AS day,
    channels.slug AS video_owner_channel_slug,
    summed.views AS views,
    summed.time_watched_seconds AS time_watched_seconds
FROM (
    SELECT
        toDate(started_at, 'UTC') AS day,
        owner_channel_id,
        sum(views) AS views,
        sum(time_watched_seconds) AS time_watched_seconds
    FROM {plays}
    WHERE started_at >= parseDateTime64BestEffort('{start}', 6, 'UTC')
    AND started_at < parseDateTime64BestEffort('{end}', 6, 'UTC')
    GROUP BY day, owner_channel_id
) AS summed
LEFT JOIN {channels} AS channels ON channels.id = summed.owner_channel_id
ORDER BY day, video_owner_channel_slug NULLS LAST
