-- Repeatable random draws, and short lists of values to draw from.

-- Set by SampleEngine: the seed, and the bounds of the video numbers.
CREATE MACRO seed() AS getvariable('world').seed;
CREATE MACRO shelf() AS getvariable('world').shelf;
CREATE MACRO streams() AS getvariable('world').streams;
CREATE MACRO slots() AS getvariable('world').slots;
CREATE MACRO uploads_on(day) AS
    CASE WHEN isodow(day) <= 5 THEN getvariable('world').uploads ELSE getvariable('world').weekend_uploads END;

-- A number from 0 (included) to 1 (excluded).
CREATE MACRO roll(n, word) AS
    (hash(n, word, seed()) >> 11)::DOUBLE / 9007199254740992.0;
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
