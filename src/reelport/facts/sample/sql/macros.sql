-- Repeatable draws, and the short lists that facts choose from.

-- What the stage is told: the seed, and the bounds of the video numbers.
CREATE MACRO seed() AS getvariable('world').seed;
CREATE MACRO shelf() AS getvariable('world').shelf;
CREATE MACRO streams() AS getvariable('world').streams;
CREATE MACRO slots() AS getvariable('world').slots;
CREATE MACRO uploads_on(day) AS
    CASE WHEN isodow(day) <= 5 THEN getvariable('world').uploads ELSE getvariable('world').weekend_uploads END;

-- A number from 0 up to, but not, 1.
CREATE MACRO roll(n, word) AS
    (hash(n, word, seed()) >> 11)::DOUBLE / 9007199254740992.0;
-- A whole number from 0 up to, but not, `count`.
CREATE MACRO pick(n, word, count) AS floor(roll(n, word) * count)::BIGINT;
-- A place from 1 to `count`, the second half as likely as the first, and so on: Zipf's law.
CREATE MACRO place(n, word, count) AS least(count, floor(exp(roll(n, word) * ln(count + 1))))::BIGINT;
-- One of a list.
CREATE MACRO one_of(n, word, list) AS list[1 + pick(n, word, len(list))];
-- A whole number of millionths as money.
CREATE MACRO millionths(number) AS (number::DECIMAL(18, 0) * 0.000001)::DECIMAL(18, 6);
CREATE MACRO buyers() AS [
    'open auction', 'Northwind Trading', 'Acme, Ltd.', 'Groupe "Lumière"', 'house ads', '東京ケーブル'
];
CREATE MACRO products() AS ['in-stream', 'in-stream', 'in-stream', 'out-stream', NULL];
CREATE MACRO contents() AS ['professional', 'professional', 'community', NULL];
-- Bytes a second as `rate`.
CREATE MACRO renditions() AS [
    {'format': 'h264', 'resolution': '1080', 'fps': '25', 'rate': 562500},
    {'format': 'h264', 'resolution': '720', 'fps': '50', 'rate': 375000},
    {'format': 'hevc', 'resolution': '720', 'fps': '25', 'rate': 200000},
    {'format': 'h264', 'resolution': '480', 'fps': '25', 'rate': 125000},
    {'format': 'h264', 'resolution': '240', 'fps': '25', 'rate': 50000}
];
