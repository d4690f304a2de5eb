-- The channels behind the listed videos.
WITH named AS (
    SELECT DISTINCT
        channel_title AS name,
        md5(channel_title) AS hash,
        trim(regexp_replace(lower(strip_accents(channel_title)), '[^a-z0-9]+', '-', 'g'), '-') AS spelled
    FROM input
    WHERE channel_title <> ''
)
SELECT
    -- The file has no ids of channels: the name is hashed, so that the same name gets the same id each time.
    'yt-' || left(hash, 12) AS id,
    -- Names in other scripts leave nothing to spell, and two names may be spelled alike: the hash tells them apart.
    concat_ws('-', nullif(spelled, ''), left(hash, 6)) AS slug,
    name
FROM named
