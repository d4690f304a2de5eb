-- The state of the first release, as PostgreSQL takes it: migrations lead from here to the tables of today.
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint';
CREATE TABLE organizations (
    id SERIAL NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    served_at BIGINT NOT NULL,
    max_key_days INTEGER,
    CONSTRAINT pk_organizations PRIMARY KEY (id),
    CONSTRAINT uq_organizations_name UNIQUE (name)
);
CREATE TABLE readable_channels (
    organization_id INTEGER NOT NULL,
    channel_id TEXT NOT NULL,
    CONSTRAINT pk_readable_channels PRIMARY KEY (organization_id, channel_id),
    CONSTRAINT fk_readable_channels_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id)
);
CREATE TABLE keys (
    id TEXT NOT NULL,
    organization_id INTEGER NOT NULL,
    secret_hash TEXT NOT NULL,
    permissions TEXT NOT NULL,
    limited INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    kind TEXT DEFAULT 'private' NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    created_by TEXT,
    expires_at BIGINT,
    last_used_at BIGINT,
    secret_created_at BIGINT,
    next_secret_hash TEXT,
    next_secret_created_at BIGINT,
    next_grace_hours INTEGER,
    old_secret_hash TEXT,
    old_secret_created_at BIGINT,
    old_secret_until BIGINT,
    CONSTRAINT pk_keys PRIMARY KEY (id),
    CONSTRAINT ck_keys_limited CHECK (limited IN (0, 1)),
    CONSTRAINT fk_keys_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id)
);
CREATE INDEX ix_keys_organization_id ON keys (organization_id);
CREATE UNIQUE INDEX uq_keys_studio ON keys (organization_id) WHERE kind = 'studio';
CREATE TABLE key_channels (
    key_id TEXT NOT NULL,
    channel_id TEXT NOT NULL,
    CONSTRAINT pk_key_channels PRIMARY KEY (key_id, channel_id),
    CONSTRAINT fk_key_channels_key_id FOREIGN KEY(key_id) REFERENCES keys (id)
);
CREATE TABLE users (
    id TEXT NOT NULL,
    organization_id INTEGER,
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    language TEXT,
    subject TEXT,
    created_at BIGINT NOT NULL,
    may_look INTEGER DEFAULT '0' NOT NULL,
    platform_role TEXT,
    channels TEXT,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT ck_users_look CHECK (may_look = 0 OR role = 'operator'),
    CONSTRAINT ck_users_platform_role CHECK (platform_role IS NULL OR role = 'operator'),
    CONSTRAINT ck_users_of CHECK ((role = 'operator') = (organization_id IS NULL)),
    CONSTRAINT ck_users_role CHECK (role IN ('owner', 'analyst', 'viewer', 'viewer-without-revenue', 'operator')),
    CONSTRAINT ck_users_channels CHECK (channels IS NULL OR role NOT IN ('owner', 'operator')),
    CONSTRAINT fk_users_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id),
    CONSTRAINT uq_users_email UNIQUE (email),
    CONSTRAINT uq_users_subject UNIQUE (subject)
);
CREATE INDEX ix_users_organization_id ON users (organization_id);
CREATE TABLE sessions (
    token_hash TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    looks_at INTEGER,
    looks_until BIGINT,
    look_reason TEXT,
    CONSTRAINT pk_sessions PRIMARY KEY (token_hash),
    CONSTRAINT fk_sessions_looks_at FOREIGN KEY(looks_at) REFERENCES organizations (id) ON DELETE SET NULL,
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_sessions_id UNIQUE (id)
);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE TABLE password_links (
    token_hash TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_password_links PRIMARY KEY (token_hash),
    CONSTRAINT fk_password_links_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_password_links_user_id ON password_links (user_id);
CREATE TABLE authenticators (
    user_id TEXT NOT NULL,
    seed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_step BIGINT NOT NULL,
    CONSTRAINT pk_authenticators PRIMARY KEY (user_id),
    CONSTRAINT fk_authenticators_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE passkeys (
    credential_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    host TEXT NOT NULL,
    public_key TEXT NOT NULL,
    sign_count BIGINT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    CONSTRAINT pk_passkeys PRIMARY KEY (credential_id),
    CONSTRAINT fk_passkeys_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_passkeys_id UNIQUE (id)
);
CREATE INDEX ix_passkeys_user_id ON passkeys (user_id);
CREATE TABLE recovery_codes (
    code_hash TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_recovery_codes PRIMARY KEY (code_hash),
    CONSTRAINT fk_recovery_codes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_recovery_codes_user_id ON recovery_codes (user_id);
CREATE TABLE attempts (
    owner TEXT NOT NULL,
    full_at BIGINT NOT NULL,
    room BIGINT NOT NULL,
    CONSTRAINT pk_attempts PRIMARY KEY (owner)
);
CREATE TABLE refresh_tokens (
    token_hash TEXT NOT NULL,
    family TEXT NOT NULL,
    key_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    scopes TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    replaced_at BIGINT,
    CONSTRAINT pk_refresh_tokens PRIMARY KEY (token_hash),
    CONSTRAINT fk_refresh_tokens_key_id FOREIGN KEY(key_id) REFERENCES keys (id),
    CONSTRAINT fk_refresh_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX ix_refresh_tokens_key_id ON refresh_tokens (key_id);
CREATE INDEX ix_refresh_tokens_user_id ON refresh_tokens (user_id);
CREATE TABLE secret_fingerprints (
    number INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    CONSTRAINT pk_secret_fingerprints PRIMARY KEY (number),
    CONSTRAINT ck_secret_fingerprints_one CHECK (number = 1)
);
CREATE TABLE reports (
    id TEXT NOT NULL,
    token TEXT NOT NULL,
    organization_id INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    asked_by TEXT,
    query TEXT NOT NULL,
    channels TEXT NOT NULL,
    scopes TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    reason_code TEXT,
    partner_reason TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    attempts INTEGER NOT NULL,
    failures INTEGER DEFAULT '0' NOT NULL,
    deaths INTEGER DEFAULT '0' NOT NULL,
    losses INTEGER DEFAULT '0' NOT NULL,
    versions TEXT,
    last_complete_day TEXT,
    file TEXT,
    rows BIGINT,
    bytes BIGINT,
    sha256 TEXT,
    traceparent TEXT,
    CONSTRAINT pk_reports PRIMARY KEY (id),
    CONSTRAINT ck_reports_failed_has_reason CHECK (status <> 'FAILED' OR reason IS NOT NULL),
    CONSTRAINT ck_reports_finished_has_file CHECK (status <> 'FINISHED' OR (file IS NOT NULL AND rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT ck_reports_status CHECK (status IN ('IN_PROGRESS', 'FINISHED', 'FAILED', 'EXPIRED')),
    CONSTRAINT fk_reports_key_id FOREIGN KEY(key_id) REFERENCES keys (id),
    CONSTRAINT fk_reports_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id),
    CONSTRAINT uq_reports_token UNIQUE (token)
);
CREATE INDEX ix_reports_key_id_fingerprint_created_at ON reports (key_id, fingerprint, created_at);
CREATE INDEX ix_reports_organization_id_created_at ON reports (organization_id, created_at);
CREATE INDEX ix_reports_status_expires_at ON reports (status, expires_at);
CREATE TABLE jobs (
    number BIGSERIAL NOT NULL,
    report_id TEXT NOT NULL,
    organization_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    not_before BIGINT NOT NULL,
    owner TEXT,
    leased_until BIGINT,
    suspect INTEGER DEFAULT '0' NOT NULL,
    alone INTEGER DEFAULT '0' NOT NULL,
    waited_for_room INTEGER DEFAULT '0' NOT NULL,
    is_long INTEGER DEFAULT '0' NOT NULL,
    rows_written BIGINT,
    bytes_written BIGINT,
    expected_ms BIGINT,
    ready_at BIGINT,
    CONSTRAINT pk_jobs PRIMARY KEY (number),
    CONSTRAINT ck_jobs_lease CHECK ((owner IS NULL) = (leased_until IS NULL)),
    CONSTRAINT fk_jobs_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id),
    CONSTRAINT fk_jobs_report_id FOREIGN KEY(report_id) REFERENCES reports (id),
    CONSTRAINT uq_jobs_report_id UNIQUE (report_id)
);
CREATE INDEX ix_jobs_organization_id_owner_number ON jobs (organization_id, owner, number);
CREATE TABLE forms (
    report_id TEXT NOT NULL,
    suffix TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    begun_at BIGINT,
    attempt INTEGER NOT NULL,
    deaths INTEGER NOT NULL,
    owner TEXT,
    leased_until BIGINT,
    failure TEXT,
    file TEXT,
    bytes BIGINT,
    sha256 TEXT,
    CONSTRAINT pk_forms PRIMARY KEY (report_id, suffix),
    CONSTRAINT ck_forms_lease CHECK ((owner IS NULL) = (leased_until IS NULL)),
    CONSTRAINT ck_forms_made_has_file CHECK (file IS NULL OR (bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT fk_forms_report_id FOREIGN KEY(report_id) REFERENCES reports (id) ON DELETE CASCADE
);
CREATE TABLE workers (
    owner TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    CONSTRAINT pk_workers PRIMARY KEY (owner)
);
CREATE TABLE saved_views (
    id TEXT NOT NULL,
    organization_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    parameters TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    folder TEXT DEFAULT '' NOT NULL,
    pinned_at BIGINT,
    CONSTRAINT pk_saved_views PRIMARY KEY (id),
    CONSTRAINT fk_saved_views_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id)
);
CREATE INDEX ix_saved_views_organization_id ON saved_views (organization_id);
CREATE TABLE shared_views (
    id TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    organization_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    parameters TEXT NOT NULL,
    channels TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    opened BIGINT DEFAULT '0' NOT NULL,
    opened_at BIGINT,
    hosts TEXT,
    CONSTRAINT pk_shared_views PRIMARY KEY (id),
    CONSTRAINT fk_shared_views_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id),
    CONSTRAINT uq_shared_views_token_hash UNIQUE (token_hash)
);
CREATE INDEX ix_shared_views_organization_id ON shared_views (organization_id);
CREATE TABLE audit_log (
    number BIGSERIAL NOT NULL,
    at BIGINT NOT NULL,
    organization_id INTEGER,
    organization TEXT,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (number)
);
CREATE INDEX ix_audit_log_organization_id_action_number ON audit_log (organization_id, action, number);
CREATE INDEX ix_audit_log_organization_id_number ON audit_log (organization_id, number);
CREATE INDEX ix_audit_log_organization_id_lower_actor_number ON audit_log (organization_id, lower(actor), number);
CREATE TABLE identities (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_identities PRIMARY KEY (name)
);
CREATE TABLE moments (
    name TEXT NOT NULL,
    at BIGINT NOT NULL,
    CONSTRAINT pk_moments PRIMARY KEY (name)
);
CREATE TABLE tallies (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    value BIGINT NOT NULL,
    CONSTRAINT pk_tallies PRIMARY KEY (name, label)
);
CREATE TABLE chores (
    name TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    CONSTRAINT pk_chores PRIMARY KEY (name)
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''the audit log is append-only''; END';
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    EXECUTE FUNCTION refuse_change();
INSERT INTO alembic_version (version_num) VALUES ('0001');
