-- want: queue a form of a finished report, anew if the last attempt failed or its file (`lost`) is gone
INSERT INTO forms (report_id, suffix, asked_at, attempt, deaths)
SELECT id, :suffix, clock_ms(), 0, 0
FROM reports
WHERE id = :report_id AND status = 'FINISHED'
ON CONFLICT (report_id, suffix) DO UPDATE
SET asked_at = clock_ms(), deaths = 0, failure = NULL, file = NULL, bytes = NULL, sha256 = NULL
WHERE forms.failure IS NOT NULL OR forms.file = :lost

-- due: whether a form is to be made, of a partner for whom none is being made, and was asked for so long ago; one that
-- was asked for later than now counts, too, for the clock was set back since
SELECT 1
FROM forms AS f
JOIN reports AS r ON r.id = f.report_id
WHERE f.file IS NULL AND f.failure IS NULL AND f.asked_at NOT BETWEEN clock_ms() - :waited + 1 AND clock_ms()
  AND NOT EXISTS (
    SELECT 1
    FROM forms AS held
    JOIN reports AS o ON o.id = held.report_id
    WHERE o.organization_id = r.organization_id AND held.leased_until BETWEEN clock_ms() AND clock_ms() + :longest
  )
LIMIT 1

-- next: the form that is made next: of these, the oldest of the partner for whom one was begun least recently
SELECT f.report_id, f.suffix, f.attempt
FROM forms AS f
JOIN reports AS r ON r.id = f.report_id
JOIN (
    SELECT o.organization_id, coalesce(max(g.begun_at), 0) AS served_at,
      max(CASE WHEN g.leased_until BETWEEN clock_ms() AND clock_ms() + :longest THEN 1 ELSE 0 END) AS is_served
    FROM forms AS g
    JOIN reports AS o ON o.id = g.report_id
    GROUP BY o.organization_id
  ) AS partner ON partner.organization_id = r.organization_id
WHERE f.file IS NULL AND f.failure IS NULL AND partner.is_served = 0
ORDER BY partner.served_at, f.asked_at, f.report_id, f.suffix
LIMIT 1

-- take: begin an attempt on a lease; no row when another process was first
UPDATE forms
SET owner = :owner, attempt = attempt + 1, begun_at = clock_ms(), leased_until = clock_ms() + :lease
WHERE report_id = :report_id AND suffix = :suffix AND attempt = :attempt AND file IS NULL AND failure IS NULL
RETURNING attempt

-- beat: renew the lease of an attempt; no row when the lease was lost
UPDATE forms
SET leased_until = clock_ms() + :lease
WHERE report_id = :report_id AND suffix = :suffix AND owner = :owner AND attempt = :attempt

-- finish: record the file of an attempt; no row when the lease was lost
UPDATE forms
SET owner = NULL, leased_until = NULL, file = :file, bytes = :bytes, sha256 = :sha256
WHERE report_id = :report_id AND suffix = :suffix AND owner = :owner AND attempt = :attempt

-- fail: record why an attempt made no file
UPDATE forms
SET owner = NULL, leased_until = NULL, failure = :failure
WHERE report_id = :report_id AND suffix = :suffix AND owner = :owner AND attempt = :attempt

-- release: free what an ended process held; after so many deaths a form has failed
UPDATE forms
SET owner = NULL, leased_until = NULL, deaths = deaths + :died,
    failure = CASE WHEN deaths + :died >= :limit THEN :failure END
WHERE owner = :owner
RETURNING report_id, suffix, failure
