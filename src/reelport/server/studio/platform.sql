-- organizations: what each organization has, as counts; those with unfinished reports first
SELECT
  organizations.id,
  organizations.name,
  organizations.created_at,
  (SELECT count(*) FROM readable_channels WHERE organization_id = organizations.id) AS channels,
  (SELECT count(*) FROM keys WHERE organization_id = organizations.id AND revoked_at IS NULL AND kind <> 'studio') AS keys,
  (SELECT count(*) FROM users WHERE organization_id = organizations.id) AS people,
  (SELECT count(*) FROM jobs WHERE organization_id = organizations.id) AS unfinished
FROM organizations
ORDER BY unfinished DESC, organizations.name
LIMIT :most

-- total: how many organizations there are
SELECT count(*)
FROM organizations

-- organization: one organization, how many channels it reads, and how many of its reports are made and wait
SELECT
  organizations.name,
  organizations.max_key_days,
  (SELECT count(*) FROM readable_channels WHERE organization_id = organizations.id) AS channels,
  (SELECT count(*) FROM jobs WHERE organization_id = organizations.id AND owner IS NOT NULL) AS running,
  (SELECT count(*) FROM jobs WHERE organization_id = organizations.id AND owner IS NULL) AS waiting
FROM organizations
WHERE organizations.id = :organization
