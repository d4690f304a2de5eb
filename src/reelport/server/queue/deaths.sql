-- overdue: jobs whose lease ran out; one that ends later than the longest lease counts too: the clock was set back since
SELECT j.report_id, j.owner, j.attempt, j.suspect, j.alone, r.losses, r.deaths
FROM jobs AS j JOIN reports AS r ON r.id = j.report_id
WHERE j.leased_until NOT BETWEEN clock_ms() + 1 AND clock_ms() + :longest
ORDER BY j.number

-- held_by: the jobs of one worker; by number, the order in which every transaction locks jobs, so none deadlock
SELECT j.report_id, j.owner, j.attempt, j.suspect, j.alone, r.losses, r.deaths
FROM jobs AS j JOIN reports AS r ON r.id = j.report_id
WHERE j.owner = :owner
ORDER BY j.number

-- beside: whether an attempt holds its job, and its worker made other reports beside it
SELECT 1
FROM jobs
WHERE report_id = :report_id AND owner = :owner AND attempt = :attempt AND alone = 0
