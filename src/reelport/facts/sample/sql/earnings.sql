-- Sample earnings: each day's money in exact decimals, with a negative correction now and then.
SELECT
    * REPLACE (
        CASE WHEN roll(n, 'nameless') < 0.995 THEN video_id END AS video_id,
        CASE WHEN roll(n, 'unknown medium') < 0.97 THEN media_type END AS media_type
    ),
    -- Millionths of a euro: twenty impressions at most, at 0.4 to 12 euros a thousand.
    place(n, 'impressions', 20) * (400 + pick(n, 'price', 11600))
        * CASE WHEN roll(n, 'correction') < 0.004 THEN -1 ELSE 1 END AS euros,
    -- At the day's exchange rate.
    euros * (10400 + (hash(day, 'rate', seed()) % 800)::BIGINT) // 10000 AS dollars,
    millionths(euros) AS eur,
    millionths(dollars) AS usd,
    CASE WHEN roll(n, 'legacy') < 0.8 THEN millionths(euros * 97 // 100) END AS eur_old,
    CASE WHEN roll(n, 'legacy') < 0.8 THEN millionths(dollars * 97 // 100) END AS usd_old
FROM scenes
