SELECT
    summed.month AS month,
    channels.slug AS video_owner_channel_slug,
    summed.views AS views,
    summed.time_watched_seconds AS time_watched_seconds
FROM (
    SELECT
        formatDateTime(toStartOfMonth(started_at, 'UTC'), '%Y-%m') AS month,
        owner_channel_id,
        sum(views) AS views,
        sum(time_watched_seconds) AS time_watched_seconds
    FROM {plays}
    WHERE started_at >= parseDateTime64BestEffort('{start}', 6, 'UTC')
    AND started_at < parseDateTime64BestEffort('{end}', 6, 'UTC')
    GROUP BY month, owner_channel_id
) AS summed
LEFT JOIN {channels} AS channels ON channels.id = summed.owner_channel_id
ORDER BY month, video_owner_channel_slug NULLS LAST
