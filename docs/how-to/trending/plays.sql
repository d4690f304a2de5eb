-- The views of each video on each listed day, except its first day.
WITH listed AS (
    SELECT
        video_id,
        strptime(trending_date, '%y.%d.%m') AS day,
        CAST(views AS BIGINT) AS views_so_far,
        nullif(channel_title, '') AS channel
    FROM input
), counted AS (
    SELECT
        video_id,
        day,
        -- The count is a total. A day's views are the difference from the previous listed day.
        views_so_far - lag(views_so_far) OVER (PARTITION BY video_id ORDER BY day) AS views,
        -- If a video changed its channel, its last channel counts.
        last_value(channel IGNORE NULLS) OVER (
            PARTITION BY video_id ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS owner
    FROM listed
)
SELECT
    day AS started_at,
    video_id,
    'yt-' || left(md5(owner), 12) AS owner_channel_id,
    'video' AS media_type,
    views,
    0 AS time_watched_seconds
FROM counted
WHERE views IS NOT NULL
