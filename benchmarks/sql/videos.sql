-- Videos of the benchmark: the first `big_videos` are channel 0's, then `videos` for each other channel.
WITH owned AS (
    SELECT
        n,
        CASE
            WHEN n < getvariable('big_videos') THEN 0
            ELSE 1 + (n - getvariable('big_videos')) // getvariable('videos')
        END AS channel
    FROM range(getvariable('big_videos') + (getvariable('channels') - 1) * getvariable('videos')) AS numbers (n)
)
SELECT
    printf('x%07d', n) AS id,
    CASE n % 8
        WHEN 0 THEN printf('Report %d, the whole story', n)
        WHEN 1 THEN printf('Interview "%d"', n)
        WHEN 2 THEN printf('Été %d – les images', n)
        WHEN 3 THEN printf('Goal 🎉 %d', n)
        WHEN 4 THEN printf('حلقة %d', n)
        -- Several videos share these: rows of a report by title are fewer than its videos.
        WHEN 5 THEN printf('Evening news, part %d', n % 97)
        ELSE printf('Clip %d', n)
    END AS title,
    printf('c%05d', channel) AS owner_channel_id,
    (15 + hash(n) % 1800)::BIGINT AS duration_seconds,
    TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_hours((n % 8000)::BIGINT) AS created_at
FROM owned
