-- Sample earnings: each day's money in exact decimals, with a negative correction now and then.
WITH priced AS (
    SELECT
        *,
        -- Millionths of a euro: twenty impressions at most, at 0.4 to 12 euros a thousand.
        place(n, 'impressions', 20) * (400 + pick(n, 'price', 11600))
            * CASE WHEN roll(n, 'correction') < 0.004 THEN -1 ELSE 1 END AS euros,
        -- The day's exchange rate: ten thousandths of a dollar per euro.
        10400 + (hash(day, 'rate', seed()) % 800)::BIGINT AS rate,
        CASE
            WHEN roll(n, 'where') < 0.7 THEN 'pre-roll'
            WHEN roll(n, 'where') < 0.9 THEN 'mid-roll'
            WHEN roll(n, 'where') < 0.97 THEN 'post-roll'
            ELSE 'overlay'
        END AS inventory_position
    FROM scenes
)
SELECT
    day,
    CASE WHEN roll(n, 'nameless') < 0.995 THEN video_id END AS video_id,
    owner_channel_id, publisher_channel_id, claimer_channel_id,
    CASE WHEN roll(n, 'unknown medium') < 0.97 THEN media_type END AS media_type,
    playlist_id, video_position, player_id,
    visitor_country, visitor_device_type, visitor_domain_group, visitor_subdomain, visitor_page_url,
    inventory_position,
    CASE
        WHEN inventory_position <> 'pre-roll' THEN 'others'
        WHEN roll(n, 'double') < 0.2 THEN 'preroll2'
        ELSE 'preroll1'
    END AS inventory_position_index,
    CASE WHEN inventory_position = 'overlay' THEN 'image' ELSE one_of(n, 'format', ['linear', 'linear', 'bumper']) END
        AS ad_format,
    one_of(n, 'buyer', buyers()) AS buyer,
    one_of(n, 'deal', ['platform', 'platform', 'platform', 'partner']) AS buyertype,
    monetization_type,
    one_of(n, 'product', products()) AS monetization_product,
    one_of(n, 'content', contents()) AS content_type,
    -- For a few rows the platform itself gives the payee.
    CASE WHEN roll(n, 'settled') < 0.02 THEN owner_channel_id END AS payee_channel_id,
    millionths(euros) AS eur,
    millionths(euros * rate // 10000) AS usd,
    CASE WHEN roll(n, 'legacy') < 0.8 THEN millionths(euros * 97 // 100) END AS eur_old,
    CASE WHEN roll(n, 'legacy') < 0.8 THEN millionths(euros * rate // 10000 * 97 // 100) END AS usd_old
FROM priced
