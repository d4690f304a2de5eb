-- beat: a worker is ready, and shows that it lives
INSERT INTO workers (owner, seen_at)
VALUES (:owner, clock_ms())
ON CONFLICT (owner) DO UPDATE
SET seen_at = clock_ms()

-- fresh: the workers that showed a sign of life not long ago; one further off than that was seen before a clock was set back
SELECT owner
FROM workers
WHERE seen_at BETWEEN clock_ms() - :longest AND clock_ms() + :longest
ORDER BY owner

-- leave: a worker stops
DELETE FROM workers
WHERE owner = :owner

-- forget: workers that have been silent for long
DELETE FROM workers
WHERE seen_at NOT BETWEEN clock_ms() - :longest AND clock_ms() + :longest
