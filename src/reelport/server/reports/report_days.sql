-- The index of reports' times begins with their organization. SQLite keeps the order of a CROSS JOIN, and so uses it.

-- asked: the reports that were asked for on each day (days since 1970), how they ended, and what those files have
SELECT
  reports.created_at / 86400000 AS day,
  count(*) AS asked,
  count(reports.rows) AS finished,
  sum(CASE WHEN status = 'FAILED' AND (reason_code IS NULL OR reason_code <> 'cancelled') THEN 1 ELSE 0 END) AS failed,
  sum(CASE WHEN status = 'FAILED' AND reason_code = 'cancelled' THEN 1 ELSE 0 END) AS cancelled,
  sum(CASE WHEN status = 'EXPIRED' AND reports.rows IS NULL THEN 1 ELSE 0 END) AS expired,
  CAST(coalesce(sum(reports.rows), 0) AS BIGINT) AS rows_written,
  CAST(coalesce(sum(reports.bytes), 0) AS BIGINT) AS bytes_written
FROM organizations CROSS JOIN reports
WHERE
  reports.organization_id = organizations.id
  AND reports.created_at >= :since
  AND (CAST(:organization AS INTEGER) IS NULL OR organizations.id = :organization)
GROUP BY 1

-- waited: of the finished reports of each day, after how many milliseconds half and 95 of 100 had a file
WITH timed AS (
  SELECT reports.created_at / 86400000 AS day, reports.ended_at - reports.created_at AS duration
  FROM organizations CROSS JOIN reports
  WHERE
    reports.organization_id = organizations.id
    AND reports.created_at >= :since
    AND reports.rows IS NOT NULL
    AND (CAST(:organization AS INTEGER) IS NULL OR organizations.id = :organization)
), placed AS (
  SELECT
    day,
    duration,
    row_number() OVER (PARTITION BY day ORDER BY duration) AS place,
    count(*) OVER (PARTITION BY day) AS among
  FROM timed
)
SELECT
  day,
  max(CASE WHEN place = (among + 1) / 2 THEN duration END) AS median,
  max(CASE WHEN place = (among * 95 + 99) / 100 THEN duration END) AS slowest
FROM placed
GROUP BY day

-- unfinished: the most reports that were unfinished at once on each day that has a change, and by how many it ended with more
WITH lives AS (
  SELECT
    CASE WHEN reports.created_at < :since THEN :since ELSE reports.created_at END AS begun,
    coalesce(reports.ended_at, CASE WHEN status = 'EXPIRED' THEN reports.expires_at END) AS ended
  FROM organizations CROSS JOIN reports
  WHERE
    reports.organization_id = organizations.id
    AND reports.created_at >= :reach
    AND (CAST(:organization AS INTEGER) IS NULL OR organizations.id = :organization)
), moves AS (
  SELECT begun AS at, 1 AS change FROM lives WHERE ended IS NULL OR ended >= :since
  UNION ALL
  SELECT ended, -1 FROM lives WHERE ended >= :since
), depths AS (
  SELECT at / 86400000 AS day, change, sum(change) OVER (ORDER BY at, change DESC ROWS UNBOUNDED PRECEDING) AS depth
  FROM moves
)
SELECT day, max(depth) AS most, sum(change) AS change
FROM depths
GROUP BY day
