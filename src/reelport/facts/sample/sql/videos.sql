-- The videos: old ones on the shelf, endless streams, and the uploads of each day.

-- Numbers 1 to 4000 are the shelf, then 12 streams. An upload's number holds its day: a video depends on the seed and
-- its number alone, so that every range of days has the same uploads.
CREATE MACRO shelf() AS 4000;
CREATE MACRO streams() AS 12;
-- Numbers that one day's uploads may have. Number 0 is streamed live in the evening and kept; the last one is deleted
-- the same evening.
CREATE MACRO slots() AS 64;
CREATE MACRO uploads_on(day) AS CASE WHEN isodow(day) <= 5 THEN 30 ELSE 18 END;
CREATE MACRO upload(day, slot) AS (day - DATE '1970-01-01') * slots() + slot;

CREATE TABLE themes AS FROM (VALUES
    ('news',
        ['The harbour strike', 'Council budget', 'A night at the ministry', 'Rent, bread and fuel', 'The flood map'],
        ['what we know so far', 'explained in three minutes', 'the mayor answers', 'a witness speaks', 'day by day'],
        ['🗞️', '📉', '🗳️', '🌍'], ['news', 'politics', 'economy', 'city', 'explained', 'breaking news']),
    ('sports', ['Cup final', 'Derby day', 'Women''s relay', 'Under-19 trials', 'The long jump record'],
        ['all the goals', 'the last two minutes', 'from the touchline', 'in slow motion', 'and what it means'],
        ['⚽', '🏀', '🥇', '🥅'], ['sports', 'football', 'highlights', 'athletics', 'interview']),
    ('live', ['Council chamber', 'Election night', 'Press conference', 'Charity concert', 'Harbour camera'],
        ['as it happens', 'with a second camera', 'and your questions', 'from the studio'],
        ['🔴', '🎙️', '📡'], ['live', 'event', 'press']),
    ('music', ['Acoustic session', 'Brass on the roof', 'Fado no cais', 'One-take choir', 'Vinyl hour'],
        ['ao vivo', 'the B-side', 'with strings', 'first take'],
        ['🎶', '🎷', '🥁'], ['music', 'música', 'session', 'concert']),
    ('food', ['Onion soup', 'Rye bread', 'Crème brûlée', 'Lentils, again', 'A pie for eight'],
        ['in one pot', 'without an oven', 'the cheap way', 'step by step'],
        ['🍲', '🥖', '🧅'], ['food', 'recipe', 'vegetarian', 'crème']),
    ('film', ['Němý film', 'Zítra ráno', 'Matinee', 'The projectionist', 'Krátký film'],
        ['upoutávka', 'first five minutes', 'rozhovor s režisérkou', 'a scene, frame by frame'],
        ['🎬', '🎞️', '🍿'], ['film', 'trailer', 'krátký film', 'rozhovor']),
    ('hebrew', ['החדשות של הבוקר', 'בישול ביתי', 'טיול בצפון', 'שיחה על ספרים'],
        ['חלק ראשון', 'עם אורחים', 'מה שחשוב לדעת'], ['🌊', '📚', '🫒'], ['חדשות', 'טיולים', 'ספרים']),
    ('arabic', ['أخبار اليوم', 'مطبخ البيت', 'رحلة إلى الجبل', 'حوار المساء'],
        ['الجزء الأول', 'مع ضيوفنا', 'كل ما يجب معرفته'], ['🌙', '☕', '🏔️'], ['أخبار', 'سفر', 'مطبخ']),
    ('cars', ['Twelve-year-old hatchback', 'Winter tyres', 'The 4x4 test', 'Electric van'],
        ['0-100, measured', 'is it "silent"?', 'after 200,000 km', 'what broke'],
        ['🚗', '🔧', '⚡'], ['cars', 'test', 'electric', '"><img src=x onerror=alert(''repair'')>'])
) AS t(theme, subjects, tails, marks, tags);

-- The most watched videos: each title is hard to write in its own way, in a CSV or on a page, and three are the same.
CREATE TABLE planted AS FROM (VALUES
    (1, 'demo-news', NULL, 'Tonight, live from the harbour: "we will not move", they say'),
    (2, 'demo-sports', NULL, 'Weekly highlights'),
    (3, 'demo-news', 'rival-news', 'Weekly highlights'),
    (4, 'rival-news', 'demo-news', 'Weekly highlights'),
    (5, 'demo-news', NULL, 'أخبار اليوم: ما الذي حدث في الميناء؟'),
    (6, 'rival-sports', 'demo-sports', 'Goal! 3-2, then 4-2 🥅🔥'),
    (7, 'demo-news', NULL, E'Morning brief\nfrom the harbour'),
    (8, 'kitchen-table', 'demo-news', 'Crème brûlée, the cheap way 🍮'),
    (9, 'demo-sports', NULL, '👩‍👩‍👧‍👦 Family run: 5 km, 12 °C, rain</title><script>alert(''rain'')</script>'),
    (10, 'rival-news', NULL, '"Quoted" at the start, a comma at the end,'),
    (11, 'demo-news', NULL, '=SUM(votes) and other spreadsheets of power'),
    (12, 'demo-live', NULL, NULL),
    (13, 'hakol', NULL, 'מזג האוויר, היום ומחר'),
    (14, 'demo-news', NULL, '<b onclick="alert(1)">The word """truth"""</b>')
) AS t(number, owner, claimer, title);

CREATE TABLE videos AS
WITH numbers AS (
    SELECT number, NULL::DATE AS day, NULL AS slot FROM range(1, shelf() + streams() + 1) AS t(number)
    UNION ALL
    -- An upload is watched for sixty days.
    SELECT upload(day::DATE, slot), day::DATE, slot
    FROM range(getvariable('world').start - INTERVAL 60 DAY, getvariable('world').end + INTERVAL 1 DAY, INTERVAL 1 DAY)
        AS days(day), range(slots()) AS of_day(slot)
    WHERE slot < uploads_on(day) OR slot = slots() - 1
), drawn AS (
    SELECT
        number, day, slot, title AS planted_title,
        planted.owner IS NOT NULL AS is_planted,
        day IS NULL AND number > shelf() AS is_stream,
        CASE
            WHEN is_planted THEN planted.owner
            WHEN is_stream THEN ([
                'demo-live', 'rival-news', 'demo-live', 'demo-news', 'hakol', 'demo-live', 'rival-sports', 'tarfih'
            ])[1 + number % 8]
            WHEN slot = 0 THEN one_of(number, 'event', [
                'demo-live', 'demo-live', 'demo-sports', 'rival-sports', 'rival-news', 'kino-klub'
            ])
            ELSE one_of(number, 'owner', (SELECT flatten(list(repeat([slug], share) ORDER BY rank)) FROM channels))
        END AS owner_slug,
        CASE
            WHEN planted.claimer IS NOT NULL THEN planted.claimer
            WHEN roll(number, 'is claimed') < 0.08 THEN one_of(number, 'claimer', [
                'demo-news', 'demo-news', 'demo-sports', 'rival-news', 'rival-music', 'kino-klub'
            ])
        END AS claimer_slug,
        CASE
            WHEN day IS NULL THEN TIMESTAMP '2015-01-01' + to_minutes(pick(number, 'minute', 5 * 525600))
            WHEN slot = 0 THEN day + INTERVAL 17 HOUR
            WHEN slot = slots() - 1 THEN day + to_hours(4 + pick(number, 'hour', 3))
            ELSE day + to_hours(3 + pick(number, 'hour', 13))
        END + to_seconds(pick(number, 'second', 3600)) AS created_at
    FROM numbers
    LEFT JOIN planted USING (number)
)
SELECT
    number,
    -- The factor has no common divisor with 36 to the 7th, so no two numbers give the same id.
    short_id(number::HUGEINT * 61113591161 + hash('ids', seed()) % 78364164096) AS id,
    CASE WHEN is_planted THEN planted_title ELSE format(
        one_of(number, 'pattern', [
            '{0}: {1}', '{0}, {1}', '{0}: "{1}"', '{0} {2}', '{2} {0} | {1}', '{0} #{3}: {1}', '{0} ({1}), part {3}',
            '{0}, {1} (no. {3})', '{1} {2} {0}, day {3}'
        ]),
        one_of(number, 'subject', subjects), one_of(number, 'tail', tails), one_of(number, 'mark', marks),
        1 + pick(number, 'part', 400))
    END AS title,
    owners.id AS owner_channel_id,
    claimers.id AS claimer_channel_id,
    -- A few have no duration; the others take from twenty seconds to an hour, and most are short.
    CASE WHEN NOT is_stream AND roll(number, 'timed') >= 0.02
        THEN floor(20 * pow(180, roll(number, 'duration')))::BIGINT
    END AS duration_seconds,
    CASE WHEN roll(number, 'pictured') < 0.9 THEN 'https://pictures.example.com/' || number || '.jpg' END AS thumbnail_url,
    -- None for a fifth, else one to all, in random order.
    CASE WHEN roll(number, 'tagged') < 0.2 THEN []
        ELSE [tagged.tag FOR tagged IN list_sort([{'at': hash(number, tag, seed()), 'tag': tag} FOR tag IN tags])]
            [1 : 1 + pick(number, 'tags', len(tags))]
    END AS tags,
    CASE
        WHEN is_planted OR roll(number, 'visibility') < 0.92 THEN 'public'
        WHEN roll(number, 'visibility') < 0.97 THEN 'private'
        ELSE 'password'
    END AS visibility,
    created_at,
    CASE WHEN slot = slots() - 1 THEN day + INTERVAL 20 HOUR END AS deleted_at,
    -- Below: what facts are drawn from.
    hour(created_at) + 1 AS first_hour,
    coalesce(hour(deleted_at), 24) AS last_hour,
    coalesce(sites.site, 0) AS own_site,
    (SELECT list(playlists.id ORDER BY type) FROM playlists WHERE channel_id = owners.id) AS playlists
FROM drawn
JOIN channels AS owners ON owners.slug = owner_slug
LEFT JOIN channels AS claimers ON claimers.slug = claimer_slug AND claimers.id <> owners.id
    AND (is_planted OR claimers.organization IS DISTINCT FROM owners.organization OR owners.organization IS NULL)
JOIN themes ON themes.theme = owners.theme
LEFT JOIN sites ON sites.publisher_channel_id = owners.id;
