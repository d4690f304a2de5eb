-- beat: record a heartbeat of a worker
INSERT INTO workers (owner, seen_at)
VALUES (:owner, clock_ms())
ON CONFLICT (owner) DO UPDATE
SET seen_at = clock_ms()

-- fresh: the workers with a recent heartbeat; one in the far future doesn't count: the clock was set back since
SELECT owner
FROM workers
WHERE seen_at BETWEEN clock_ms() - :longest AND clock_ms() + :longest
ORDER BY owner

-- leave: remove a worker that stops
DELETE FROM workers
WHERE owner = :owner

-- forget: remove workers without a heartbeat for long
DELETE FROM workers
WHERE seen_at NOT BETWEEN clock_ms() - :longest AND clock_ms() + :longest
