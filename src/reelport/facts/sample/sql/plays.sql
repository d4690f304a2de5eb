-- Sample playback: videos watched by the hour, and live streams watched viewer by viewer.
SELECT
    *,
    -- A viewer appears in hour after hour; a view counts once, in the hour in which it begins.
    CASE WHEN live AND roll(n, 'consent') < 0.99
        THEN printf('%016x', hash(number, floor(pow(roll(n, 'viewer'), 2) * 3000)::BIGINT, seed()))
    END AS viewer,
    CASE
        WHEN live THEN (roll(n, 'began') < 0.6)::BIGINT
        -- Began in the hour before and continues in this one.
        WHEN roll(n, 'began') < 0.03 THEN 0
        ELSE least(400, floor(1 / (0.998 * roll(n, 'views') + 0.002)))::BIGINT
    END AS views,
    CASE
        WHEN live THEN 5 + floor(pow(roll(n, 'watched'), 2) * 3596)::BIGINT
        ELSE floor(greatest(views, 1) * coalesce(duration_seconds, 180) * pow(roll(n, 'watched'), 1.4))::BIGINT
    END AS time_watched_seconds,
    CASE WHEN NOT live THEN views * duration_seconds END AS watchable_seconds
FROM scenes
