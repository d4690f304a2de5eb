-- Plays from row `first` to before row `last`, in the order in which they would arrive: by time, all channels mixed.
-- Each roll hashes a number of its own: hashes of one number with different salts go together.
WITH drawn AS (
    SELECT
        n,
        n * getvariable('days') / getvariable('rows') AS passed,
        hash(n * 8 + 0) / 18446744073709551616.0 AS channel_roll,
        hash(n * 8 + 1) / 18446744073709551616.0 AS which_roll,
        hash(n * 8 + 2) / 18446744073709551616.0 AS video_roll,
        hash(n * 8 + 3) / 18446744073709551616.0 AS host_roll,
        hash(n * 8 + 4) / 18446744073709551616.0 AS country_roll,
        hash(n * 8 + 5) / 18446744073709551616.0 AS views_roll,
        (hash(n * 8 + 6) % 1000000007)::BIGINT AS rest
    FROM range(getvariable('first'), getvariable('last')) AS numbers (n)
),
placed AS (
    SELECT
        *,
        CASE
            WHEN channel_roll < getvariable('big_share') THEN 0
            ELSE 1 + floor((getvariable('channels') - 1) * pow(which_roll, 2))::BIGINT
        END AS channel,
        floor(300 * pow(host_roll, 2))::BIGINT AS host,
        floor(60 * pow(country_roll, 2))::BIGINT AS country,
        1 + floor(1 / (views_roll + 0.005))::BIGINT AS counted,
        rest % 20 = 0 AS live
    FROM drawn
),
watched AS (
    SELECT
        *,
        CASE channel
            WHEN 0 THEN floor(getvariable('big_videos') * pow(video_roll, 2))::BIGINT
            ELSE getvariable('big_videos') + (channel - 1) * getvariable('videos')
                + floor(getvariable('videos') * pow(video_roll, 2))::BIGINT
        END AS video
    FROM placed
)
SELECT
    (getvariable('start') + to_hours(floor(passed * 24)::BIGINT))::TIMESTAMPTZ AS started_at,
    printf('x%07d', video) AS video_id,
    printf('c%05d', channel) AS owner_channel_id,
    CASE WHEN rest % 3 = 0 THEN printf('c%05d', (channel + 1) % getvariable('channels')) END AS publisher_channel_id,
    NULL::VARCHAR AS claimer_channel_id,
    CASE WHEN live THEN 'live' ELSE 'video' END AS media_type,
    ['autoplay', 'click', 'next'][1 + (rest // 20) % 3] AS action,
    printf('p%02d', (rest // 60) % 40) AS player_id,
    [
        'FR', 'US', 'DE', 'GB', 'IN', 'JP', 'BR', 'ES', 'IT', 'CA', 'MX', 'TR', 'PL', 'NL', 'BE', 'KR',
        'CH', 'AU', 'SE', 'ZA', 'MA', 'IL', 'EG', 'CZ', 'AT', 'PT', 'TN', 'NO', 'DK', 'FI', 'GR', 'NZ',
        'IS', 'AR', 'CL', 'CO', 'PE', 'VE', 'UY', 'EC', 'TH', 'VN', 'ID', 'MY', 'PH', 'SG', 'HK', 'TW',
        'CN', 'RU', 'UA', 'RO', 'HU', 'BG', 'HR', 'RS', 'SK', 'SI', 'IE', 'LU'
    ][1 + country] AS visitor_country,
    ['mobile', 'mobile', 'desktop', 'tablet', 'tv'][1 + (rest // 2400) % 5] AS visitor_device_type,
    printf('site-%d.example', host // 3) AS visitor_domain_group,
    printf('www%d.site-%d.example', host % 3, host // 3) AS visitor_subdomain,
    printf('https://www%d.site-%d.example/watch/%d', host % 3, host // 3, video) AS visitor_page_url,
    CASE WHEN live THEN printf('%016x', rest // 12000 % 100000) END AS viewer,
    counted AS views,
    counted * (5 + rest // 7 % 120)::BIGINT AS time_watched_seconds,
    CASE WHEN NOT live THEN counted * (15 + hash(video) % 1800)::BIGINT END AS watchable_seconds
FROM watched
