-- key: what a token is granted by
SELECT k.secret_hash, k.next_secret_hash, k.old_secret_hash, k.old_secret_created_at, k.old_secret_until, k.permissions, k.kind, k.organization_id, k.revoked_at,
  COALESCE(k.secret_created_at, k.created_at) AS secret_created_at, k.expires_at, o.max_key_days
FROM keys AS k
JOIN organizations AS o ON o.id = k.organization_id
WHERE k.id = :key_id

-- holder: the organization of a key and the channels that the key may read now; no row when it is revoked
SELECT k.organization_id, o.name AS organization, k.permissions, k.kind,
  COALESCE(k.secret_created_at, k.created_at) AS secret_created_at, k.expires_at, o.max_key_days, CAST((
    SELECT json_group_array(r.channel_id)
    FROM readable_channels AS r
    WHERE r.organization_id = k.organization_id
      AND (k.limited = 0 OR EXISTS (
        SELECT 1 FROM key_channels AS c WHERE c.key_id = k.id AND c.channel_id = r.channel_id
      ))
  ) AS TEXT) AS channels
FROM keys AS k
JOIN organizations AS o ON o.id = k.organization_id
WHERE k.id = :key_id AND k.revoked_at IS NULL

-- login: a user whose logins of this epoch are valid in an organization
SELECT role, channels
FROM users
WHERE id = :user_id AND epoch = :epoch AND organization_id = :organization_id

-- user: what a login by password needs
SELECT id, organization_id, password_hash, epoch,
  (SELECT count(*) FROM authenticators AS a WHERE a.user_id = users.id)
    + (SELECT count(*) FROM passkeys AS p WHERE p.user_id = users.id) AS factors
FROM users
WHERE email = :email

-- activate_next_secret: make the next secret of a key its current one; no row when another use did, or the rotation was cancelled
UPDATE keys
SET old_secret_hash = secret_hash,
  old_secret_created_at = COALESCE(secret_created_at, created_at),
  old_secret_until = :now + CAST(next_grace_hours AS BIGINT) * 3600000,
  secret_hash = next_secret_hash,
  secret_created_at = next_secret_created_at,
  next_secret_hash = NULL,
  next_secret_created_at = NULL,
  next_grace_hours = NULL
WHERE id = :key_id AND next_secret_hash = :secret_hash AND revoked_at IS NULL

-- note_use: say when a key was used, unless that was said less than a while ago
UPDATE keys
SET last_used_at = :used_at
WHERE id = :key_id AND (last_used_at IS NULL OR last_used_at <= :stale)
