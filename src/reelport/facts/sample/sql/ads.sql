-- Sample ad opportunities: sold, unsold for a reason, or not for sale, with counts that agree with each other.
WITH fates AS (
    SELECT
        *,
        CASE
            WHEN roll(n, 'fate') < 0.16 THEN 'closed'
            WHEN roll(n, 'fate') < 0.45 THEN 'unsold'
            ELSE 'sold'
        END AS fate,
        CASE WHEN fate = 'unsold' THEN one_of(n, 'outcome', ['no fills', 'no fills', 'ad errors', 'timeout']) END
            AS outcome,
        CASE
            WHEN roll(n, 'seller') < 0.85 THEN 'authorized'
            WHEN roll(n, 'seller') < 0.95 THEN 'missing'
            ELSE 'not listed'
        END AS ads_txt_status,
        least(250, floor(1 / (0.996 * roll(n, 'size') + 0.004)))::BIGINT AS total,
        CASE WHEN fate = 'sold' THEN total ELSE 0 END AS shown,
        total - floor(total * roll(n, 'consent') * 0.5)::BIGINT AS full_consent,
        floor((total - full_consent) * (0.4 + 0.6 * roll(n, 'refused')))::BIGINT AS refused,
        total - full_consent - refused AS unclear,
        floor(shown * (0.3 + 0.7 * roll(n, 'completed')))::BIGINT AS completed,
        floor(shown * (0.2 + 0.8 * roll(n, 'viewable')))::BIGINT AS high,
        floor(total * roll(n, 'invalid') * 0.06)::BIGINT AS invalid
    FROM scenes
)
SELECT
    * REPLACE (
        CASE WHEN roll(n, 'nameless') < 0.99 THEN video_id END AS video_id,
        CASE WHEN fate <> 'closed' THEN inventory_position_index END AS inventory_position_index,
        CASE WHEN fate <> 'closed' THEN ad_format END AS ad_format,
        CASE WHEN fate = 'sold' THEN buyer END AS buyer,
        CASE WHEN fate = 'sold' THEN buyertype END AS buyertype
    ),
    one_of(n, 'box', [
        {'size': '640x360', 'class': 'medium'}, {'size': '320x180', 'class': 'small'},
        {'size': '1280x720', 'class': 'large'}, {'size': '1920x1080', 'class': 'full screen'},
        {'size': '390x219', 'class': 'small'}, {'size': '854x480', 'class': 'medium'}
    ]) AS box,
    box['size'] AS player_size,
    box['class'] AS player_size_bucket,
    CASE WHEN outcome = 'ad errors' THEN one_of(n, 'error', [
        {'code': '303', 'text': 'No ad after several wrappers'}, {'code': '402', 'text': 'Media file: timeout'},
        {'code': '100', 'text': 'XML parsing error, line 1'}, {'code': '901', 'text': 'General "VPAID" error'}
    ]) END AS error,
    error['code'] AS ad_error_code,
    error['text'] AS ad_error_readable,
    CASE WHEN fate = 'closed' THEN one_of(n, 'reason', [
        'no consent', 'ad blocked, by the page', 'video too short', 'for children', 'owner opted out'
    ]) END AS noad_reason_readable,
    CASE WHEN fate = 'closed' THEN 0 ELSE total END AS sellable_inventory,
    CASE WHEN fate = 'closed' THEN total ELSE 0 END AS no_ads,
    unclear // 2 AS gdpr_empty_consent_inventory,
    (unclear + 1) // 2 // 2 AS gdpr_error_consent_inventory,
    full_consent AS gdpr_full_consent_inventory,
    ((unclear + 1) // 2 + 1) // 2 AS gdpr_other_consent_inventory,
    refused AS gdpr_refuse_consent_inventory,
    total - full_consent AS inventory_gdpr_missing_full_consent,
    invalid AS invalid_traffic_inventory,
    total - invalid AS valid_traffic_inventory,
    CASE WHEN ads_txt_status = 'authorized' THEN 0 ELSE total END AS no_ads_txt_inventory,
    CASE WHEN roll(n, 'unsafe') < 0.05 THEN total ELSE 0 END AS no_brandsafe_inventory,
    CASE WHEN fate = 'closed' OR monetization_type IS NULL THEN total - shown ELSE 0 END AS no_monetized_inventory,
    shown AS nb_impression,
    shown - floor(shown * roll(n, 'second count') * 0.03)::BIGINT AS impressions,
    CASE WHEN inventory_position_index = 'preroll1' THEN shown ELSE 0 END AS nb_p1_impression,
    completed AS ad_view_completed,
    shown - completed AS ad_view_not_completed,
    high AS high_viewable_impressions,
    (shown - high) * 9 // 10 AS low_viewable_impressions,
    CASE WHEN outcome = 'no fills' THEN total ELSE 0 END AS no_fills,
    CASE WHEN outcome = 'ad errors' THEN total ELSE 0 END AS ad_errors,
    CASE WHEN outcome = 'timeout' THEN total ELSE 0 END AS timeouts
FROM fates
