-- Of one organization its index is read. Of all, every record is, as they are kept for little longer than is asked for.

-- asked: the reports that were asked for on each day (days since 1970), how they ended, and what those files have
WITH chosen AS (
  SELECT created_at, status, reason_code, reports.rows AS written, bytes
  FROM reports
  WHERE CAST(:organization AS INTEGER) IS NULL AND created_at >= :since
  UNION ALL
  SELECT created_at, status, reason_code, reports.rows, bytes
  FROM reports
  WHERE organization_id = :organization AND created_at >= :since
)
SELECT
  created_at / 86400000 AS day,
  count(*) AS asked,
  count(written) AS finished,
  sum(CASE WHEN status = 'FAILED' AND (reason_code IS NULL OR reason_code <> 'cancelled') THEN 1 ELSE 0 END) AS failed,
  sum(CASE WHEN status = 'FAILED' AND reason_code = 'cancelled' THEN 1 ELSE 0 END) AS cancelled,
  sum(CASE WHEN status = 'EXPIRED' AND written IS NULL THEN 1 ELSE 0 END) AS expired,
  CAST(coalesce(sum(written), 0) AS BIGINT) AS rows_written,
  CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes_written
FROM chosen
GROUP BY 1

-- waited: of the finished reports of each day, after how many milliseconds half and 95 of 100 had a file
WITH timed AS (
  SELECT created_at / 86400000 AS day, ended_at - created_at AS duration
  FROM reports
  WHERE CAST(:organization AS INTEGER) IS NULL AND created_at >= :since AND reports.rows IS NOT NULL
  UNION ALL
  SELECT created_at / 86400000, ended_at - created_at
  FROM reports
  WHERE organization_id = :organization AND created_at >= :since AND reports.rows IS NOT NULL
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
WITH chosen AS (
  SELECT created_at, ended_at, status, expires_at
  FROM reports
  WHERE CAST(:organization AS INTEGER) IS NULL AND created_at >= :reach
  UNION ALL
  SELECT created_at, ended_at, status, expires_at
  FROM reports
  WHERE organization_id = :organization AND created_at >= :reach
), lives AS (
  SELECT
    CASE WHEN created_at < :since THEN :since ELSE created_at END AS begun,
    coalesce(ended_at, CASE WHEN status = 'EXPIRED' THEN expires_at END) AS ended
  FROM chosen
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
