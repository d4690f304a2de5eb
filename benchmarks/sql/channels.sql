-- Channels of the benchmark: number 0 is big, the others are many.
SELECT
    printf('c%05d', n) AS id,
    printf('channel-%d', n) AS slug,
    printf('Channel %d', n) AS name,
    printf('a%05d', n // 4) AS account_id
FROM range(getvariable('channels')) AS numbers (n)
