-- begin: count an attempt of two owners, or of one that is named twice; a row for each that was counted.
-- At `full_at` all attempts of an owner have come back, each `step` earlier than the next one. None is left while one
-- more would move that beyond `room`. A time somewhat beyond it is of a request that came later and was counted first, or
-- of a clock that is ahead. One beyond twice the room is of a clock that was set back since, and counts for none.
WITH wanted AS (
  SELECT CAST(:first AS TEXT) AS owner, CAST(:first_step AS BIGINT) AS step, CAST(:first_room AS BIGINT) AS room
  UNION
  SELECT CAST(:second AS TEXT), CAST(:second_step AS BIGINT), CAST(:second_room AS BIGINT)
)
INSERT INTO attempts (owner, full_at, room)
SELECT owner, CAST(:now AS BIGINT) + step, room
FROM wanted
WHERE NOT EXISTS (
  SELECT 1
  FROM attempts AS a
  JOIN wanted AS w ON w.owner = a.owner
  WHERE a.full_at > :now + w.room - w.step AND a.full_at <= :now + 2 * w.room
)
ORDER BY owner
ON CONFLICT (owner) DO UPDATE
SET full_at = excluded.full_at
  + CASE WHEN attempts.full_at BETWEEN :now AND :now + 2 * attempts.room THEN attempts.full_at - :now ELSE 0 END
-- Again, as another process may have counted one meanwhile.
WHERE attempts.full_at NOT BETWEEN :now + attempts.room - (excluded.full_at - :now) + 1 AND :now + 2 * attempts.room
RETURNING owner

-- read: when all attempts of these owners have come back
SELECT owner, full_at
FROM attempts
WHERE owner IN (:first, :second)

-- forgive: count one attempt less of an owner
UPDATE attempts
SET full_at = full_at - :step
WHERE owner = :owner

-- delete_unused: of owners whose attempts have all come back
DELETE FROM attempts
WHERE full_at NOT BETWEEN :now AND :now + 2 * room
