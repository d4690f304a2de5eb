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
