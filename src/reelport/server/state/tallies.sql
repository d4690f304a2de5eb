-- add: increment a counter
INSERT INTO tallies (name, label, value)
VALUES (:name, :label, :value)
ON CONFLICT (name, label) DO UPDATE
SET value = tallies.value + excluded.value

-- set: put a value in the place of the one before
INSERT INTO tallies (name, label, value)
VALUES (:name, :label, :value)
ON CONFLICT (name, label) DO UPDATE
SET value = excluded.value

-- all: every counter
SELECT name, label, value
FROM tallies
ORDER BY name, label
