SELECT
    toDate(plays.started_at, 'UTC') AS day,
    videos.title AS video_title,
    sum(plays.views) AS views,
    sum(plays.time_watched_seconds) AS time_watched_seconds
FROM (
    SELECT * FROM {plays}
    WHERE owner_channel_id = 'c00007' AND started_at >= parseDateTime64BestEffort('{start}', 6, 'UTC')
    AND started_at < parseDateTime64BestEffort('{end}', 6, 'UTC')
) AS plays
LEFT JOIN {videos} AS videos ON videos.id = plays.video_id
GROUP BY day, video_title
ORDER BY day, video_title NULLS LAST
