-- Accounts, channels, sites, players and playlists: the same for every seed and every range of days.

-- An id such as platforms have: `x` and seven signs; unique below 36 to the 7th.
CREATE MACRO short_id(number) AS 'x' || lower(to_base((number % 78364164096)::BIGINT, 36, 7));
-- The id of a named object: a hash, so always the same. Without a name it is NULL.
CREATE MACRO named_id(kind, name) AS short_id(('0x' || left(sha256(kind || ':' || name), 16))::UBIGINT);

CREATE TABLE accounts AS
SELECT
    named_id('account', username) AS id,
    username,
    named_id('account', parent) AS parent_account_id
FROM (VALUES
    ('demo-group', NULL), ('demo', 'demo-group'), ('demo-studio', 'demo-group'),
    ('rival-holding', NULL), ('rival', 'rival-holding'), ('rival-music', 'rival-holding'),
    ('kitchen-table', NULL), ('kino_klub', NULL), ('hakol', NULL), ('tarfih', NULL), ('the.garage', NULL)
) AS t(username, parent);

-- `share` is the percentage of all videos that the channel owns, `rank` its place in this list.
CREATE TABLE channels AS
SELECT
    named_id('channel', slug) AS id,
    * EXCLUDE (account),
    named_id('account', account) AS account_id
FROM (VALUES
    (1, 'demo-news', 'Demo News', 'demo', 'demo', 'news', 30),
    (2, 'demo-sports', 'Demo Sports, daily', 'demo', 'demo', 'sports', 14),
    (3, 'demo-live', 'Demo Live 🔴', 'demo-studio', 'demo', 'live', 6),
    (4, 'rival-news', 'Rival "First" News', 'rival', 'rival', 'news', 13),
    (5, 'rival-sports', 'Rival Sports', 'rival', 'rival', 'sports', 7),
    (6, 'rival-music', 'Rival Música', 'rival-music', 'rival', 'music', 5),
    (7, 'kitchen-table', 'The Kitchen Table', 'kitchen-table', NULL, 'food', 7),
    (8, 'kino-klub', 'Kino Klub Žižkov', 'kino_klub', NULL, 'film', 5),
    (9, 'hakol', 'הכול מהשטח', 'hakol', NULL, 'hebrew', 4),
    (10, 'tarfih', 'ترفيه اليوم', 'tarfih', NULL, 'arabic', 4),
    (11, 'garage-tests', 'Garage Tests', 'the.garage', NULL, 'cars', 3),
    -- What a page shows of it must be text: nobody promises that a slug is harmless.
    (12, 'garage-"extra"<script>alert(1)</script>', 'Garage Extra', NULL, NULL, 'cars', 2)
) AS t(rank, slug, name, account, organization, theme, share);

CREATE MACRO player_types() AS ['embed', 'sticky', 'app'];

-- Groups of domains with their hosts, and the channel that publishes there, if any; site 0 is the platform's own.
CREATE TABLE sites AS
SELECT
    site, domain_group, hosts,
    named_id('channel', channel) AS publisher_channel_id,
    [named_id('player', domain_group || '/' || type) FOR type IN player_types() IF channel IS NOT NULL] AS players
FROM (VALUES
    (0, 'reelport.example', ['www.reelport.example', 'm.reelport.example', 'tv.reelport.example'], NULL),
    (1, 'demo-news.example', ['www.demo-news.example', 'amp.demo-news.example', 'live.demo-news.example'], 'demo-news'),
    (2, 'rival-news.example', ['www.rival-news.example', 'amp.rival-news.example'], 'rival-news'),
    (3, 'demo-sports.example', ['www.demo-sports.example', 'scores.demo-sports.example'], 'demo-sports'),
    (4, 'rival-sports.example', ['rival-sports.example'], 'rival-sports'),
    (5, 'city-paper.example', ['www.city-paper.example', 'north.city-paper.example'], NULL),
    (6, 'demo-live.example', ['demo-live.example'], 'demo-live'),
    (7, 'kitchen-table.example', ['www.kitchen-table.example'], 'kitchen-table'),
    (8, 'rival-music.example', ['listen.rival-music.example'], 'rival-music'),
    (9, 'kino-klub.example', ['kino-klub.example', 'archiv.kino-klub.example'], 'kino-klub'),
    (10, 'search.example', ['video.search.example'], NULL),
    (11, 'hakol.example', ['www.hakol.example'], 'hakol'),
    (12, 'tarfih.example', ['www.tarfih.example', 'm.tarfih.example'], 'tarfih'),
    (13, 'garage-tests.example', ['garage-tests.example'], 'garage-tests'),
    (14, 'campus-radio.example', ['campus-radio.example'], NULL),
    (15, 'village-forum.example', ['village-forum.example', 'old.village-forum.example'], NULL)
) AS t(site, domain_group, hosts, channel);

CREATE TABLE players AS
SELECT named_id('player', domain_group || '/' || type) AS id, domain_group || ', ' || type || ' player' AS title, type
FROM sites, unnest(player_types()) AS t(type)
WHERE publisher_channel_id IS NOT NULL;

CREATE TABLE playlists AS
SELECT
    named_id('playlist', slug || '/' || type) AS id,
    channels.id AS channel_id,
    CASE WHEN type <> 'dynamic' THEN name || ': "' || type || '" picks, all of them' END AS title,
    type
FROM channels, (VALUES ('manual'), ('dynamic'), ('series')) AS t(type);
