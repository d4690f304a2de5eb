-- The channels of the listed videos.
WITH named AS (
    SELECT DISTINCT
        channel_title AS name,
        md5(channel_title) AS hash,
        trim(regexp_replace(lower(strip_accents(channel_title)), '[^a-z0-9]+', '-', 'g'), '-') AS spelled
    FROM input
    WHERE channel_title <> ''
)
SELECT
    -- The file has no channel ids. The hash of a name is the same in every load.
    'yt-' || left(hash, 12) AS id,
    -- A name in another script gives an empty slug, and two names can give the same slug. The hash makes each unique.
    concat_ws('-', nullif(spelled, ''), left(hash, 6)) AS slug,
    name
FROM named
