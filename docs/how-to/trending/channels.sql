-- The channels behind the listed videos.
SELECT
    -- The file has no ids of channels: the name is hashed, so that the same name gets the same id each time.
    'yt-' || left(md5(name), 12) AS id,
    -- Names in other scripts leave nothing to spell, and two names may be spelled alike: the hash tells them apart.
    concat_ws('-', nullif(trim(regexp_replace(lower(strip_accents(name)), '[^a-z0-9]+', '-', 'g'), '-'), ''), left(md5(name), 6))
        AS slug,
    name
FROM (SELECT DISTINCT channel_title AS name FROM input WHERE channel_title <> '')
