-- Sample usage: bytes delivered, uploads encoded, what is stored at the end of each day, and AI features.
SELECT
    *,
    one_of(n, 'rendition', getvariable('renditions')) AS rendition,
    30 + floor(pow(roll(n, 'seconds'), 3) * 90000)::BIGINT AS seconds,
    CASE WHEN NOT live THEN seconds * rendition['rate'] END AS bandwidth_vod_bytes,
    CASE WHEN live THEN seconds * rendition['rate'] END AS bandwidth_live_bytes,
    CASE WHEN NOT live THEN seconds END AS bandwidth_vod_seconds,
    CASE WHEN live THEN seconds END AS bandwidth_live_seconds,
    place(n, 'media', 60) AS bandwidth_media_count,
    unnest(rendition)
FROM scenes
WHERE kind = 'bandwidth'
UNION ALL BY NAME
SELECT
    ordinals.*, videos.id AS video_id, owner_channel_id,
    one_of(n, 'rendition', getvariable('renditions')) AS rendition,
    -- The highest rendition counts the video.
    (rendition['rendition_resolution'] = '1080')::BIGINT AS media,
    number = upload(day, 0) AS live,
    CASE WHEN live THEN 'live' ELSE 'video' END AS media_type,
    CASE WHEN NOT live THEN coalesce(duration_seconds, 0) END AS transcoding_vod_seconds,
    CASE WHEN live THEN 4 * 3600 END AS transcoding_live_seconds,
    CASE WHEN NOT live THEN media END AS transcoding_vod_media_count,
    CASE WHEN live THEN media END AS transcoding_live_media_count,
    unnest(rendition)
FROM ordinals
JOIN videos ON number = upload(day, pick(n, 'slot', uploads_on(day)))
WHERE kind = 'transcoding'
UNION ALL BY NAME
-- The same renditions as the day before, and a few more: storage grows.
SELECT
    ordinals.*, videos.id AS video_id, owner_channel_id, 'video' AS media_type,
    getvariable('renditions')[1 + place % len(getvariable('renditions'))] AS rendition,
    -- Every fourth video was replaced once by a new version.
    CASE WHEN number % 4 = 0 THEN 2 ELSE 1 END AS storage_lifetime_rendition_count,
    1 AS storage_rendition_count,
    (rendition['rendition_resolution'] = '1080')::BIGINT AS storage_media_count,
    storage_media_count AS storage_lifetime_media_count,
    coalesce(duration_seconds, 600) * rendition['rate'] AS storage_bytes,
    storage_bytes * storage_lifetime_rendition_count AS storage_lifetime_bytes,
    coalesce(duration_seconds, 600) * storage_media_count AS storage_seconds,
    storage_seconds * storage_lifetime_rendition_count AS storage_lifetime_seconds,
    unnest(rendition)
FROM ordinals
JOIN videos ON number = 1 + place // len(getvariable('renditions'))
WHERE kind = 'storage'
UNION ALL BY NAME
SELECT
    day, kind,
    -- Some usage is for the channel as a whole, not for one video.
    CASE WHEN roll(n, 'nameless') < 0.95 THEN video_id END AS video_id,
    owner_channel_id, media_type,
    one_of(n, 'feature', ['subtitles', 'chapters', 'translation', 'thumbnails', 'summary, short']) AS ai_feature_name,
    place(n, 'credits', 200) AS ai_credits
FROM scenes
WHERE kind = 'ai'
