-- For each ordinal one scene: who watches what, where and when.
CREATE TABLE lots (kind TEXT, day DATE, first BIGINT, rows BIGINT);
CREATE TABLE ordinals (kind TEXT, day DATE, place BIGINT, n UBIGINT);
CREATE TABLE casting AS
SELECT
    number, id AS video_id, owner_channel_id, claimer_channel_id, duration_seconds AS duration, own_site, playlists,
    hour(created_at) + 1 AS first_hour,
    coalesce(hour(deleted_at), 24) AS last_hour
FROM videos;
CREATE VIEW scenes AS
WITH drawn AS (
    SELECT
        n, kind, day, day - DATE '1970-01-01' AS today,
        roll(n, 'live') < 0.1 AS live,
        roll(n, 'event') < 0.5 AS event,
        roll(n, 'fresh') < 0.45 AS fresh,
        place(n, 'age', 60) - 1 AS age
    FROM ordinals
), chosen AS (
    SELECT *, CASE
        WHEN live AND event THEN today * slots()
        WHEN live THEN shelf() + place(n, 'stream', streams())
        WHEN fresh AND age = 0 AND roll(n, 'gone') < 0.03 THEN today * slots() + slots() - 1
        WHEN fresh AND age > 0 AND roll(n, 'replay') < 0.1 THEN (today - age) * slots()
        WHEN fresh THEN (today - age) * slots() + place(n, 'upload', uploads_on(day - age::INTEGER) - 1)
        ELSE place(n, 'shelf', shelf())
    END AS number
    FROM drawn
), placed AS (
    SELECT
        chosen.*, casting.* EXCLUDE (number), countries.value AS country, devices.value AS device, hours.value AS hour,
        number >= today * slots() AS of_today,
        CASE
            WHEN devices.value = 'tv' OR roll(n, 'site') < 0.35 THEN 0
            WHEN roll(n, 'site') < 0.7 THEN own_site
            ELSE place(n, 'elsewhere', 15)
        END AS site
    FROM chosen
    JOIN casting USING (number)
    JOIN weighted AS countries ON countries.name = 'country' AND countries.slot = pick(n, 'country', 1000)
    JOIN weighted AS devices ON devices.name = 'device' AND devices.slot = pick(n, 'device', 1000)
    JOIN weighted AS hours ON hours.name = 'hour' AND hours.slot = pick(n, 'hour', 1000)
), hosted AS (
    SELECT
        *,
        CASE
            WHEN live AND event THEN 18 + pick(n, 'evening', 4)
            WHEN of_today THEN first_hour + hour::BIGINT % (last_hour - first_hour)
            ELSE hour::BIGINT
        END AS at_hour,
        CASE
            WHEN site > 0 THEN one_of(n, 'host', hosts)
            ELSE hosts[CASE device WHEN 'tv' THEN 3 WHEN 'mobile' THEN 2 ELSE 1 END]
        END AS host,
        CASE WHEN roll(n, 'playlist') < 0.2 THEN one_of(n, 'list', playlists) END AS playlist_id
    FROM placed
    JOIN sites USING (site)
)
SELECT
    n, kind, day, number, live, at_hour, duration,
    day + to_hours(at_hour) AS started_at,
    video_id, owner_channel_id, publisher_channel_id, claimer_channel_id,
    CASE WHEN live THEN 'live' ELSE 'video' END AS media_type,
    playlist_id,
    CASE
        WHEN playlist_id IS NOT NULL THEN place(n, 'position', 25)
        WHEN roll(n, 'sequence') < 0.5 THEN place(n, 'position', 4)
    END AS video_position,
    one_of(n, 'player', players) AS player_id,
    country AS visitor_country,
    device AS visitor_device_type,
    domain_group AS visitor_domain_group,
    host AS visitor_subdomain,
    CASE
        WHEN device = 'tv' THEN NULL
        WHEN site = 0 THEN 'https://' || host || '/video/' || video_id
        ELSE 'https://' || host || '/' || one_of(n, 'section', ['story', 'watch', 'home'])
            || '/' || place(n, 'page', 40)
    END AS visitor_page_url,
    CASE
        WHEN roll(n, 'unsold') < 0.1 THEN NULL
        WHEN claimer_channel_id IS NOT NULL THEN 'claim'
        WHEN publisher_channel_id IS NOT NULL AND publisher_channel_id <> owner_channel_id THEN 'website_monetization'
        ELSE 'video_monetization'
    END AS monetization_type
FROM hosted
