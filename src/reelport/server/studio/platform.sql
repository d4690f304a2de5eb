-- organizations: one organization or all, with counts of what each has; those with unfinished reports first
SELECT
  organizations.id,
  organizations.name,
  organizations.created_at,
  organizations.max_key_days,
  (SELECT count(*) FROM readable_channels WHERE organization_id = organizations.id) AS channels,
  (SELECT count(*) FROM keys WHERE organization_id = organizations.id AND revoked_at IS NULL AND kind <> 'studio') AS keys,
  (SELECT count(*) FROM users WHERE organization_id = organizations.id) AS people,
  (SELECT count(*) FROM jobs WHERE organization_id = organizations.id) AS unfinished,
  (SELECT count(*) FROM jobs WHERE organization_id = organizations.id AND owner IS NOT NULL) AS running,
  (SELECT count(*) FROM organizations) AS total
FROM organizations
WHERE CAST(:organization AS INTEGER) IS NULL OR organizations.id = :organization
ORDER BY unfinished DESC, organizations.name
LIMIT :most
