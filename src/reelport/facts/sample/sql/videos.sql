-- The videos: old ones on the shelf, endless streams, retired ones, and the uploads of each day.

-- Numbers 1 to 4000 are the shelf, then 12 streams, then 88 retired. An upload's number holds its day: a video depends
-- on the seed and its number alone, so that every range of days has the same uploads.
CREATE MACRO shelf() AS 4000;
CREATE MACRO streams() AS 12;
-- Numbers that one day's uploads may have. Number 0 is streamed live in the evening and kept; the last one is deleted
-- the same evening.
CREATE MACRO slots() AS 64;
CREATE MACRO uploads_on(day) AS CASE WHEN isodow(day) <= 5 THEN 30 ELSE 18 END;

CREATE TABLE themes AS FROM (VALUES
    ('news',
        ['The harbour strike', 'Council budget', 'A night at the ministry', 'Rent, bread and fuel', 'The flood map'],
        ['what we know so far', 'explained in three minutes', 'the mayor answers', 'a witness speaks', 'day by day'],
        ['🗞️', '📉', '🗳️', '🌍'], ['news', 'politics', 'economy', 'city', 'explained', 'breaking news']),
    ('sports',
        ['Cup final', 'Derby day', 'Women''s relay', 'Under-19 trials', 'The long jump record'],
        ['all the goals', 'the last two minutes', 'from the touchline', 'in slow motion', 'and what it means'],
        ['⚽', '🏀', '🥇', '🥅'], ['sports', 'football', 'highlights', 'athletics', 'interview']),
    ('live',
        ['Council chamber', 'Election night', 'Press conference', 'Charity concert', 'Harbour camera'],
        ['as it happens', 'with a second camera', 'and your questions', 'from the studio'],
        ['🔴', '🎙️', '📡'], ['live', 'event', 'press']),
    ('music',
        ['Acoustic session', 'Brass on the roof', 'Fado no cais', 'One-take choir', 'Vinyl hour'],
        ['ao vivo', 'the B-side', 'with strings', 'first take'],
        ['🎶', '🎷', '🥁'], ['music', 'música', 'session', 'concert']),
    ('food',
        ['Onion soup', 'Rye bread', 'Crème brûlée', 'Lentils, again', 'A pie for eight'],
        ['in one pot', 'without an oven', 'the cheap way', 'step by step'],
        ['🍲', '🥖', '🧅'], ['food', 'recipe', 'vegetarian', 'crème']),
    ('film',
        ['Němý film', 'Zítra ráno', 'Matinee', 'The projectionist', 'Krátký film'],
        ['upoutávka', 'first five minutes', 'rozhovor s režisérkou', 'a scene, frame by frame'],
        ['🎬', '🎞️', '🍿'], ['film', 'trailer', 'krátký film', 'rozhovor']),
    ('hebrew',
        ['החדשות של הבוקר', 'בישול ביתי', 'טיול בצפון', 'שיחה על ספרים'],
        ['חלק ראשון', 'עם אורחים', 'מה שחשוב לדעת'],
        ['🌊', '📚', '🫒'], ['חדשות', 'טיולים', 'ספרים']),
    ('arabic',
        ['أخبار اليوم', 'مطبخ البيت', 'رحلة إلى الجبل', 'حوار المساء'],
        ['الجزء الأول', 'مع ضيوفنا', 'كل ما يجب معرفته'],
        ['🌙', '☕', '🏔️'], ['أخبار', 'سفر', 'مطبخ']),
    ('cars',
        ['Twelve-year-old hatchback', 'Winter tyres', 'The 4x4 test', 'Electric van'],
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
    SELECT number, NULL::DATE AS day, NULL AS slot FROM range(1, 4101) AS t(number)
    UNION ALL
    -- An upload is watched for sixty days.
    SELECT (day::DATE - DATE '1970-01-01') * slots() + slot, day::DATE, slot
    FROM range(getvariable('world').start - INTERVAL 60 DAY, getvariable('world').end + INTERVAL 1 DAY, INTERVAL 1 DAY)
        AS days(day), range(slots()) AS of_day(slot)
    WHERE slot < uploads_on(day) OR slot = slots() - 1
), owners AS (
    SELECT row_number() OVER (ORDER BY rank, percent) - 1 AS percent, slug
    FROM (SELECT rank, slug, unnest(range(share)) AS percent FROM channels)
), drawn AS (
    SELECT
        numbers.number, day, slot,
        planted.number IS NOT NULL AS is_planted,
        planted.title AS planted_title,
        day IS NULL AND numbers.number > shelf() AND numbers.number <= shelf() + streams() AS is_stream,
        day IS NULL AND numbers.number > shelf() + streams() AS is_retired,
        CASE
            WHEN is_planted THEN planted.owner
            WHEN is_stream THEN ([
                'demo-live', 'rival-news', 'demo-live', 'demo-news', 'hakol', 'demo-live', 'rival-sports', 'tarfih'
            ])[1 + numbers.number % 8]
            WHEN slot = 0 THEN one_of(numbers.number, 'event', [
                'demo-live', 'demo-live', 'demo-sports', 'rival-sports', 'rival-news', 'kino-klub'
            ])
            ELSE owners.slug
        END AS owner,
        CASE
            WHEN planted.claimer IS NOT NULL THEN planted.claimer
            WHEN roll(numbers.number, 'is claimed') < 0.08 THEN one_of(numbers.number, 'claimer', [
                'demo-news', 'demo-news', 'demo-sports', 'rival-news', 'rival-music', 'kino-klub'
            ])
        END AS claimer
    FROM numbers
    LEFT JOIN planted USING (number)
    JOIN owners ON owners.percent = pick(numbers.number, 'owner', 100)
), dated AS (
    SELECT
        *,
        CASE
            WHEN is_retired THEN TIMESTAMP '2015-01-01' + to_minutes(pick(number, 'minute', 4 * 525600))
            WHEN day IS NULL THEN TIMESTAMP '2015-01-01' + to_minutes(pick(number, 'minute', 5 * 525600))
            ELSE day + to_seconds(pick(number, 'second', 3600)) + to_hours(CASE
                WHEN slot = 0 THEN 17
                WHEN slot = slots() - 1 THEN 4 + pick(number, 'hour', 3)
                ELSE 3 + pick(number, 'hour', 13)
            END)
        END AS created_at
    FROM drawn
)
SELECT
    number,
    -- The factor has no common divisor with 36 to the 7th, so no two numbers give the same id.
    short_id(number::HUGEINT * 61113591161 + hash('ids', seed()) % 78364164096) AS id,
    CASE WHEN is_planted THEN planted_title ELSE replace(replace(replace(replace(
        one_of(number, 'pattern', [
            '{subject}: {tail}', '{subject}, {tail}', '{subject}: "{tail}"', '{subject} {mark}',
            '{mark} {subject} | {tail}', '{subject} #{part}: {tail}', '{subject} ({tail}), part {part}',
            '{subject}, {tail} (no. {part})', '{tail} {mark} {subject}, day {part}'
        ]),
        '{subject}', one_of(number, 'subject', subjects)), '{tail}', one_of(number, 'tail', tails)),
        '{mark}', one_of(number, 'mark', marks)), '{part}', (1 + pick(number, 'part', 400))::TEXT)
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
        ELSE list_transform(
            list_sort(list_transform(tags, lambda tag: {'at': hash(number, tag, seed()), 'tag': tag})), lambda one: one.tag
        )[1 : 1 + pick(number, 'tags', len(tags))]
    END AS tags,
    CASE
        WHEN is_planted OR roll(number, 'visibility') < 0.92 THEN 'public'
        WHEN roll(number, 'visibility') < 0.97 THEN 'private'
        ELSE 'password'
    END AS visibility,
    created_at,
    CASE
        WHEN is_retired THEN created_at + to_days(1 + pick(number, 'deleted', 360))
        WHEN slot = slots() - 1 THEN date_trunc('hour', created_at) + to_hours(20 - hour(created_at))
    END AS deleted_at,
    -- Below: what facts are drawn from.
    coalesce(sites.site, 0) AS own_site,
    (SELECT list(playlists.id ORDER BY type) FROM playlists WHERE channel_id = owners.id) AS playlists
FROM dated
JOIN channels AS owners ON owners.slug = dated.owner
LEFT JOIN channels AS claimers ON claimers.slug = dated.claimer AND claimers.id <> owners.id
    AND (is_planted OR claimers.organization IS DISTINCT FROM owners.organization OR owners.organization IS NULL)
JOIN themes ON themes.theme = owners.theme
LEFT JOIN sites ON sites.publisher_channel_id = owners.id;
