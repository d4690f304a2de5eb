-- unfinished: the unfinished reports in the order of asking, with what estimates are made of
SELECT j.report_id, j.organization_id, j.owner IS NOT NULL AS is_running, j.expected_ms, j.ready_at, o.served_at,
    clock_ms() AS now, CASE WHEN j.expected_ms IS NULL THEN r.query END AS query,
    CASE WHEN j.expected_ms IS NULL THEN r.channels END AS channels
FROM jobs AS j
JOIN organizations AS o ON o.id = j.organization_id
JOIN reports AS r ON r.id = j.report_id
ORDER BY j.number
LIMIT :most

-- estimate: record how long a waiting report takes, and when it is ready
UPDATE jobs
SET expected_ms = :expected, ready_at = clock_ms() + :ready
WHERE report_id = :report_id AND owner IS NULL
