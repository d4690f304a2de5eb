-- put: queue a report, due now
INSERT INTO jobs (report_id, organization_id, attempt, not_before)
VALUES (:report_id, :organization_id, 0, clock_ms())

-- waiting: whether a job is due; one due later than the longest pause counts as due: the clock was set back since
SELECT 1
FROM jobs
WHERE owner IS NULL AND suspect = :suspect AND is_long <= :may_be_long
  AND not_before NOT BETWEEN clock_ms() + 1 AND clock_ms() + :longest
LIMIT 1

-- partner: the least recently served partner that has a due job and runs fewer than its limit; locks its row
SELECT o.id
FROM organizations AS o
WHERE EXISTS (
    SELECT 1 FROM jobs AS j
    WHERE j.organization_id = o.id AND j.owner IS NULL AND j.suspect = :suspect AND j.is_long <= :may_be_long
      AND j.not_before NOT BETWEEN clock_ms() + 1 AND clock_ms() + :longest
  )
  AND :running > (
    SELECT count(*) FROM jobs AS j
    WHERE j.organization_id = o.id AND j.leased_until > clock_ms()
  )
ORDER BY CASE WHEN o.served_at > clock_ms() THEN 0 ELSE o.served_at END, o.id
LIMIT 1
FOR UPDATE SKIP LOCKED

-- running: how many jobs of a partner run, counted again now that its row is locked
SELECT count(*)
FROM jobs
WHERE organization_id = :organization_id AND leased_until > clock_ms()

-- oldest: the due job of a partner that was queued first
SELECT number
FROM jobs
WHERE organization_id = :organization_id AND owner IS NULL AND suspect = :suspect AND is_long <= :may_be_long
  AND not_before NOT BETWEEN clock_ms() + 1 AND clock_ms() + :longest
ORDER BY number
LIMIT 1
FOR UPDATE SKIP LOCKED

-- take: begin an attempt on a lease; its number is the fencing token, and only grows
UPDATE jobs
SET owner = :owner, attempt = attempt + 1, alone = :alone, leased_until = clock_ms() + :lease, rows_written = NULL,
    bytes_written = NULL, ready_at = CASE WHEN attempt = 0 THEN ready_at END
WHERE number = :number
RETURNING report_id, attempt, waited_for_room

-- crowd: record that no attempt of this worker runs alone any more
UPDATE jobs
SET alone = 0
WHERE owner = :owner AND alone = 1

-- serve: record that the partner was served now, which moves it behind all others
UPDATE organizations
SET served_at = clock_ms()
WHERE id = :organization_id

-- begin: record the number of attempts in the report, and read what it asks for
UPDATE reports
SET attempts = :attempt
WHERE id = :report_id
RETURNING query, channels, versions, failures, clock_ms() - created_at AS waited, traceparent

-- beat: renew the lease of an attempt, and record what it has written; no row when the lease was lost
UPDATE jobs
SET leased_until = clock_ms() + :lease, rows_written = :rows, bytes_written = :bytes, ready_at = clock_ms() + :rest,
    expected_ms = COALESCE(:alone, expected_ms)
WHERE report_id = :report_id AND owner = :owner AND attempt = :attempt

-- held: whether an attempt still holds its job
SELECT 1
FROM jobs
WHERE report_id = :report_id AND owner = :owner AND attempt = :attempt

-- pin: record the versions that every attempt reads, and their last complete day; the same ones again change nothing
UPDATE reports
SET versions = :versions, last_complete_day = :last_complete_day
WHERE id = :report_id AND (versions IS NULL OR versions = :versions) AND EXISTS (
    SELECT 1 FROM jobs
    WHERE report_id = :report_id AND owner = :owner AND attempt = :attempt
  )

-- end: delete the job of an attempt; no row when the lease was lost
DELETE FROM jobs
WHERE report_id = :report_id AND owner = :owner AND attempt = :attempt

-- publish: record the file of a finished report
UPDATE reports
SET status = 'FINISHED', reason = NULL, reason_code = NULL, partner_reason = NULL, ended_at = :ended_at, file = :file,
    rows = :rows, bytes = :bytes, sha256 = :sha256
WHERE id = :report_id

-- published: whether this very file was published before
SELECT 1
FROM reports
WHERE id = :report_id AND status = 'FINISHED' AND file = :file AND sha256 = :sha256

-- again: requeue the job of an attempt, due after a pause
UPDATE jobs
SET owner = NULL, leased_until = NULL, suspect = :suspect, ready_at = NULL, expected_ms = NULL,
    not_before = clock_ms() + :pause,
    waited_for_room = waited_for_room + :waited,
    is_long = CASE WHEN :is_long = 1 THEN 1 ELSE is_long END
WHERE report_id = :report_id AND owner = :owner AND attempt = :attempt

-- chore: whether a chore is due; one due later than its period counts as due: the clock was set back since
SELECT due_at NOT BETWEEN clock_ms() + 1 AND clock_ms() + :every AS due
FROM chores
WHERE name = :name

-- do: claim a chore, and set when it is due next; no row when another process was first
INSERT INTO chores (name, due_at)
VALUES (:name, clock_ms() + :every)
ON CONFLICT (name) DO UPDATE
SET due_at = clock_ms() + :every
WHERE chores.due_at NOT BETWEEN clock_ms() + 1 AND clock_ms() + :every
