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

CREATE MACRO buyers() AS [
    'open auction', 'Northwind Trading', 'Acme, Ltd.', 'Groupe "Lumière"', 'house ads', '東京ケーブル'
];
CREATE MACRO products() AS ['in-stream', 'in-stream', 'in-stream', 'out-stream', NULL];
CREATE MACRO contents() AS ['professional', 'professional', 'community', NULL];
-- `rate` is in bytes per second.
CREATE MACRO renditions() AS [
    {'format': 'h264', 'resolution': '1080', 'fps': '25', 'rate': 562500},
    {'format': 'h264', 'resolution': '720', 'fps': '50', 'rate': 375000},
    {'format': 'hevc', 'resolution': '720', 'fps': '25', 'rate': 200000},
    {'format': 'h264', 'resolution': '480', 'fps': '25', 'rate': 125000},
    {'format': 'h264', 'resolution': '240', 'fps': '25', 'rate': 50000}
];
CREATE TABLE weights AS FROM (VALUES
    ('country', 'FR', 180), ('country', 'US', 140), ('country', 'DE', 80), ('country', 'GB', 70), ('country', 'IN', 60),
    ('country', 'JP', 55), ('country', 'BR', 45), ('country', 'ES', 42), ('country', 'IT', 40), ('country', 'CA', 36),
    ('country', 'MX', 30), ('country', 'TR', 28), ('country', 'PL', 24), ('country', 'NL', 22), ('country', 'BE', 20),
    ('country', 'KR', 18), ('country', 'CH', 14), ('country', 'AU', 14), ('country', 'SE', 10), ('country', 'ZA', 8),
    ('country', 'MA', 8), ('country', 'IL', 8), ('country', 'EG', 7), ('country', 'CZ', 7), ('country', 'AT', 6),
    ('country', 'PT', 6), ('country', 'TN', 4), ('country', 'NO', 4), ('country', 'DK', 3), ('country', 'FI', 3),
    ('country', 'GR', 3), ('country', 'NZ', 2), ('country', 'IS', 1), ('country', NULL, 2),
    ('device', 'mobile', 560), ('device', 'desktop', 280), ('device', 'tv', 90), ('device', 'tablet', 62),
    ('device', NULL, 8),
    ('hour', '0', 22), ('hour', '1', 14), ('hour', '2', 9), ('hour', '3', 7), ('hour', '4', 7), ('hour', '5', 12),
    ('hour', '6', 22), ('hour', '7', 34), ('hour', '8', 42), ('hour', '9', 44), ('hour', '10', 46), ('hour', '11', 50),
    ('hour', '12', 58), ('hour', '13', 56), ('hour', '14', 48), ('hour', '15', 46), ('hour', '16', 50),
    ('hour', '17', 58), ('hour', '18', 68), ('hour', '19', 78), ('hour', '20', 84), ('hour', '21', 76),
    ('hour', '22', 54), ('hour', '23', 35),
    ('action', 'click', 500), ('action', 'autoplay', 260), ('action', 'autonext', 150), ('action', 'scroll', 70),
    ('action', NULL, 20)
) AS t(name, value, weight);
-- A thousand slots for each name, filled by weight.
CREATE TABLE weighted AS
WITH ends AS (
    SELECT
        *,
        sum(weight) OVER (PARTITION BY name ORDER BY value NULLS LAST) AS until,
        sum(weight) OVER (PARTITION BY name) AS total
    FROM weights
)
SELECT name, slots.slot, value
FROM ends
JOIN range(1000) AS slots(slot) ON slot * total // 1000 >= until - weight AND slot * total // 1000 < until;
