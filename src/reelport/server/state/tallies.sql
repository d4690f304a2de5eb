-- add: a count grows
INSERT INTO tallies (name, label, value)
VALUES (:name, :label, :value)
ON CONFLICT (name, label) DO UPDATE
SET value = tallies.value + excluded.value

-- all: every count
SELECT name, label, value
FROM tallies
ORDER BY name, label
