-- overdue: jobs whose worker gave no sign of life for too long; a lease of far ahead is by a clock that was set back since
SELECT j.report_id, j.owner, j.attempt, j.suspect, j.alone, r.losses, r.deaths
FROM jobs AS j JOIN reports AS r ON r.id = j.report_id
WHERE j.leased_until NOT BETWEEN clock_ms() + 1 AND clock_ms() + :longest
ORDER BY j.number

-- held_by: the jobs of one worker; by number, as whoever writes several jobs at once does
SELECT j.report_id, j.owner, j.attempt, j.suspect, j.alone, r.losses, r.deaths
FROM jobs AS j JOIN reports AS r ON r.id = j.report_id
WHERE j.owner = :owner
ORDER BY j.number

-- beside: whether an attempt has its job, and its worker made others beside it
SELECT 1
FROM jobs
WHERE report_id = :report_id AND owner = :owner AND attempt = :attempt AND alone = 0
