-- Repeatable random draws: each is a hash of the seed, of a number `n` and of a word.
-- The variable `world` holds the seed and the first and last day.
CREATE MACRO seed() AS getvariable('world').seed;

-- A number from 0 (included) to 1 (excluded).
CREATE MACRO roll(n, word) AS (hash(n, word, seed()) >> 11)::DOUBLE / 9007199254740992.0;
-- A whole number from 0 (included) to `count` (excluded).
CREATE MACRO pick(n, word, count) AS floor(roll(n, word) * count)::BIGINT;
-- A rank from 1 to `count` by Zipf's law: the second half as likely as the first, and so on.
CREATE MACRO place(n, word, count) AS least(count, floor(exp(roll(n, word) * ln(count + 1))))::BIGINT;
-- A random element of a list.
CREATE MACRO one_of(n, word, list) AS list[1 + pick(n, word, len(list))];
-- Converts a whole number of millionths to money.
CREATE MACRO millionths(number) AS (number::DECIMAL(18, 0) * 0.000001)::DECIMAL(18, 6);

-- A list that holds each key as often as its weight says, and NULL for ''.
CREATE MACRO by_weight(weights) AS
    flatten([repeat([nullif(entry.key, '')], entry.value) FOR entry IN map_entries(weights)]);

SET VARIABLE countries = by_weight(MAP {
    'AT': 6, 'AU': 14, 'BE': 20, 'BR': 45, 'CA': 36, 'CH': 14, 'CZ': 7, 'DE': 80, 'DK': 3, 'EG': 7, 'ES': 42, 'FI': 3,
    'FR': 180, 'GB': 70, 'GR': 3, 'IL': 8, 'IN': 60, 'IS': 1, 'IT': 40, 'JP': 55, 'KR': 18, 'MA': 8, 'MX': 30, 'NL': 22,
    'NO': 4, 'NZ': 2, 'PL': 24, 'PT': 6, 'SE': 10, 'TN': 4, 'TR': 28, 'US': 140, 'ZA': 8, '': 2
});
SET VARIABLE devices = by_weight(MAP {'desktop': 280, 'mobile': 560, 'tablet': 62, 'tv': 90, '': 8});
SET VARIABLE actions = by_weight(MAP {'autonext': 150, 'autoplay': 260, 'click': 500, 'scroll': 70, '': 20});
SET VARIABLE hours = flatten([repeat([hour - 1], weight) FOR weight, hour IN [
    22, 14, 9, 7, 7, 12, 22, 34, 42, 44, 46, 50, 58, 56, 48, 46, 50, 58, 68, 78, 84, 76, 54, 35
]]);
-- `rate` is in bytes per second.
SET VARIABLE renditions = [
    {'rendition_format': 'h264', 'rendition_resolution': '1080', 'rendition_fps': '25', 'rate': 562500},
    {'rendition_format': 'h264', 'rendition_resolution': '720', 'rendition_fps': '50', 'rate': 375000},
    {'rendition_format': 'hevc', 'rendition_resolution': '720', 'rendition_fps': '25', 'rate': 200000},
    {'rendition_format': 'h264', 'rendition_resolution': '480', 'rendition_fps': '25', 'rate': 125000},
    {'rendition_format': 'h264', 'rendition_resolution': '240', 'rendition_fps': '25', 'rate': 50000}
];

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
