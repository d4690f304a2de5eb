SELECT
    day,
    slug AS video_owner_channel_slug,
    views,
    time_watched_seconds
FROM (
    SELECT
        make_timestamp(epoch_us(started_at))::DATE AS day,
        owner_channel_id,
        sum(views) AS views,
        sum(time_watched_seconds) AS time_watched_seconds
    FROM {plays} AS plays
    WHERE started_at >= '{start}' AND started_at < '{end}'
    GROUP BY ALL
) AS summed
LEFT JOIN {channels} AS channels ON channels.id = summed.owner_channel_id
ORDER BY day, video_owner_channel_slug NULLS LAST
