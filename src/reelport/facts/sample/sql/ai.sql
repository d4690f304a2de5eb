-- Sample usage of AI features.
SELECT
    day, 'ai' AS kind,
    -- Some usage is for the channel as a whole, not for one video.
    CASE WHEN roll(n, 'nameless') < 0.95 THEN video_id END AS video_id,
    owner_channel_id, media_type,
    one_of(n, 'feature', ['subtitles', 'chapters', 'translation', 'thumbnails', 'summary, short']) AS ai_feature_name,
    place(n, 'credits', 200) AS ai_credits
FROM scenes
