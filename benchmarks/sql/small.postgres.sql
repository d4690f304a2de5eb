SELECT
    (started_at AT TIME ZONE 'UTC')::date AS day,
    title AS video_title,
    sum(views) AS views,
    sum(time_watched_seconds) AS time_watched_seconds
FROM plays
LEFT JOIN videos ON videos.id = plays.video_id
WHERE plays.owner_channel_id = 'c00007' AND started_at >= '{start}' AND started_at < '{end}'
GROUP BY 1, 2
ORDER BY 1, 2 NULLS LAST
