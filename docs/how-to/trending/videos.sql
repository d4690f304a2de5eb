-- One row for each video, with its latest title and channel.
SELECT
    video_id AS id,
    arg_max(title, strptime(trending_date, '%y.%d.%m')) AS title,
    'yt-' || left(md5(arg_max(nullif(channel_title, ''), strptime(trending_date, '%y.%d.%m'))), 12) AS owner_channel_id
FROM input
GROUP BY video_id
