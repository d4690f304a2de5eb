-- For each ordinal one scene: who watches what, where and when, and what is sold there.
CREATE TABLE lots (kind TEXT, day DATE, rows BIGINT);
CREATE TABLE ordinals (kind TEXT, day DATE, place BIGINT, n UBIGINT);
CREATE VIEW scenes AS
WITH chosen AS (
    SELECT
        n, kind, day,
        roll(n, 'live') < 0.1 AS live,
        live AND roll(n, 'event') < 0.5 AS event,
        roll(n, 'fresh') < 0.45 AS fresh,
        day - (place(n, 'age', 60) - 1)::INTEGER AS uploaded,
        CASE
            WHEN event THEN upload(day, 0)
            WHEN live THEN shelf() + place(n, 'stream', streams())
            WHEN fresh AND uploaded = day AND roll(n, 'gone') < 0.03 THEN upload(day, slots() - 1)
            WHEN fresh AND uploaded < day AND roll(n, 'replay') < 0.1 THEN upload(uploaded, 0)
            WHEN fresh THEN upload(uploaded, place(n, 'upload', uploads_on(uploaded) - 1))
            ELSE place(n, 'shelf', shelf())
        END AS number
    FROM ordinals
), placed AS (
    SELECT
        chosen.*,
        videos.id AS video_id, owner_channel_id, claimer_channel_id, duration_seconds, playlists,
        one_of(n, 'country', getvariable('countries')) AS visitor_country,
        one_of(n, 'device', getvariable('devices')) AS visitor_device_type,
        one_of(n, 'hour', getvariable('hours')) AS hour,
        CASE
            WHEN event THEN 18 + pick(n, 'evening', 4)
            WHEN created_at::DATE = day THEN first_hour + hour % (last_hour - first_hour)
            ELSE hour
        END AS at_hour,
        CASE
            WHEN visitor_device_type = 'tv' OR roll(n, 'site') < 0.35 THEN 0
            WHEN roll(n, 'site') < 0.7 THEN own_site
            ELSE place(n, 'elsewhere', 15)
        END AS site
    FROM chosen
    JOIN videos USING (number)
)
SELECT
    * EXCLUDE (hosts, players),
    day + to_hours(at_hour) AS started_at,
    CASE WHEN live THEN 'live' ELSE 'video' END AS media_type,
    one_of(n, 'action', getvariable('actions')) AS action,
    CASE WHEN roll(n, 'playlist') < 0.2 THEN one_of(n, 'list', playlists) END AS playlist_id,
    CASE
        WHEN playlist_id IS NOT NULL THEN place(n, 'position', 25)
        WHEN roll(n, 'sequence') < 0.5 THEN place(n, 'position', 4)
    END AS video_position,
    one_of(n, 'player', players) AS player_id,
    domain_group AS visitor_domain_group,
    CASE
        WHEN site > 0 THEN one_of(n, 'host', hosts)
        ELSE hosts[CASE visitor_device_type WHEN 'tv' THEN 3 WHEN 'mobile' THEN 2 ELSE 1 END]
    END AS visitor_subdomain,
    CASE
        WHEN visitor_device_type = 'tv' THEN NULL
        WHEN site = 0 THEN format('https://{}/video/{}', visitor_subdomain, video_id)
        ELSE format('https://{}/{}/{}',
            visitor_subdomain, one_of(n, 'section', ['story', 'watch', 'home']), place(n, 'page', 40))
    END AS visitor_page_url,
    CASE
        WHEN roll(n, 'unsold') < 0.1 THEN NULL
        WHEN claimer_channel_id IS NOT NULL THEN 'claim'
        WHEN publisher_channel_id <> owner_channel_id THEN 'website_monetization'
        ELSE 'video_monetization'
    END AS monetization_type,
    one_of(n, 'product', ['in-stream', 'in-stream', 'in-stream', 'out-stream', NULL]) AS monetization_product,
    one_of(n, 'content', ['professional', 'professional', 'community', NULL]) AS content_type,
    -- For a few rows the platform itself gives the payee.
    CASE WHEN roll(n, 'settled') < 0.02 THEN owner_channel_id END AS payee_channel_id,
    CASE
        WHEN roll(n, 'where') < 0.6 THEN 'pre-roll'
        WHEN roll(n, 'where') < 0.85 THEN 'mid-roll'
        WHEN roll(n, 'where') < 0.95 THEN 'post-roll'
        ELSE 'overlay'
    END AS inventory_position,
    CASE
        WHEN inventory_position <> 'pre-roll' THEN 'others'
        WHEN roll(n, 'double') < 0.2 THEN 'preroll2'
        ELSE 'preroll1'
    END AS inventory_position_index,
    CASE
        WHEN inventory_position = 'overlay' THEN 'image'
        ELSE one_of(n, 'format', ['linear', 'linear', 'linear', 'interactive', 'bumper'])
    END AS ad_format,
    one_of(n, 'buyer', [
        'open auction', 'Northwind Trading', 'Acme, Ltd.', 'Groupe "Lumière"', 'house ads', '東京ケーブル'
    ]) AS buyer,
    one_of(n, 'deal', ['platform', 'platform', 'platform', 'partner']) AS buyertype
FROM placed
JOIN sites USING (site)
