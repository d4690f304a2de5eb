"""The tables of the state at the newest migration: access, reports, jobs and counters.

A new database gets them as they stand here (`create_tables`). One of an earlier release gets there by migrations: a
change here needs one, and tests lead the first release's tables to these.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Moment(TypeDecorator[datetime]):
    """A UTC time, stored as milliseconds since 1970: both databases compare and add alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - the form
        """Convert to milliseconds, rounding down."""
        return None if value is None else to_milliseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the form
        """Convert milliseconds to a UTC time."""
        return None if value is None else to_moment(value)


def to_milliseconds(moment: datetime) -> int:
    """Convert a UTC time to milliseconds since 1970, rounding down."""
    return (moment - _EPOCH) // _MILLISECOND


def to_moment(milliseconds: int) -> datetime:
    """Convert a stored moment, as statements in SQL files read it, to a UTC time."""
    return _EPOCH + milliseconds * _MILLISECOND


# Constraints have names so that a later migration can change them.
METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# `served_at` orders the partners at a claim: the one that was served least recently comes first. `max_key_days` is the
# longest that a secret of its keys is valid, whatever expiry a key has of its own.
ORGANIZATIONS: Final = Table(
    "organizations",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("served_at", Moment, nullable=False),
    Column("max_key_days", Integer),
)

# Which organization may read which channel. Slugs and names are facts, not access.
READABLE: Final = Table(
    "readable_channels",
    METADATA,
    Column("organization_id", ForeignKey("organizations.id"), primary_key=True),
    Column("channel_id", Text, primary_key=True),
)

# `created_by` is a user's e-mail address or "command line". A rotation makes the next secret, which takes the place of
# the secret at its first use; the old one is then valid for `next_grace_hours` more. `secret_created_at` is NULL while
# the secret is the key's first one.
KEYS: Final = Table(
    "keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("secret_hash", Text, nullable=False),
    Column("permissions", Text, nullable=False),
    # 1: only the channels in `key_channels`; 0: every channel of the organization, later ones too.
    Column("limited", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    # `private`: gets tokens by its secret alone; `public`: with a user's password; `studio`: gets none (`access/keys`).
    Column("kind", Text, nullable=False, server_default="private"),
    Column("name", Text, nullable=False, server_default=""),
    Column("created_by", Text),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Column("secret_created_at", Moment),
    Column("next_secret_hash", Text),
    Column("next_secret_created_at", Moment),
    Column("next_grace_hours", Integer),
    Column("old_secret_hash", Text),
    Column("old_secret_created_at", Moment),
    Column("old_secret_until", Moment),
    CheckConstraint("limited IN (0, 1)", name="limited"),
)
_OF_STUDIO: Final = text("kind = 'studio'")
_STUDIO_KEY: Final = Index("uq_keys_studio", KEYS.c.organization_id, unique=True, sqlite_where=_OF_STUDIO)

KEY_CHANNELS: Final = Table(
    "key_channels",
    METADATA,
    Column("key_id", ForeignKey("keys.id"), primary_key=True),
    Column("channel_id", Text, primary_key=True),
)

# People. `email` is in lower case. `epoch` is a random number, drawn anew when all logins of a user must end: what was
# granted in another one is worth nothing. Operators of the platform are of no organization.
USERS: Final = Table(
    "users",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), index=True),
    Column("email", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("language", Text),
    # Issuer and subject at the OpenID Connect provider that made the user and signs it in; NULL: a password does.
    Column("subject", Text, unique=True),
    Column("created_at", Moment, nullable=False),
    # The ids of the channels that the user may see, as a list in JSON; NULL: all of the organization, later ones too.
    Column("channels", Text),
    # Whether an operator may see an organization's Studio as its people do (`access/operator_access`).
    Column("may_look", Integer, nullable=False, server_default="0"),
    CheckConstraint("may_look = 0 OR role = 'operator'", name="look"),
    # As which role an operator sees the numbers of the whole platform; NULL: as none.
    Column("platform_role", Text),
    CheckConstraint("platform_role IS NULL OR role = 'operator'", name="platform_role"),
    CheckConstraint("role IN ('owner', 'analyst', 'viewer', 'viewer-without-revenue', 'operator')", name="role"),
    CheckConstraint("channels IS NULL OR role NOT IN ('owner', 'operator')", name="channels"),
    CheckConstraint("(role = 'operator') = (organization_id IS NULL)", name="of"),
)

# Browsers in which a user is signed in. A session ends at `expires_at`, which moves on while it is used. An operator's
# looks at an organization until `looks_until`.
SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("token_hash", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("epoch", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("looks_at", ForeignKey("organizations.id", ondelete="SET NULL")),
    Column("looks_until", Moment),
    Column("look_reason", Text),
)

# Links by which a user sets a password, once.
PASSWORD_LINKS: Final = Table(
    "password_links",
    METADATA,
    Column("token_hash", Text, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

# The authenticator app of a user: TOTP (RFC 6238). With the service's secret `seed` becomes the app's. No code of a
# step up to `last_step` counts again.
AUTHENTICATORS: Final = Table(
    "authenticators",
    METADATA,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("seed", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("last_step", BigInteger, nullable=False),
)

# Passkeys (WebAuthn). Ids of credentials and public keys are Base64 (RFC 4648, section 5). `sign_count` is how often a
# device says that the key has signed; many say 0 for ever. `host` is the one of the pages at which it was made.
PASSKEYS: Final = Table(
    "passkeys",
    METADATA,
    Column("credential_id", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("host", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("used_at", Moment),
)

# Codes by which a user without authenticator and passkey signs in, each once.
RECOVERY_CODES: Final = Table(
    "recovery_codes",
    METADATA,
    Column("code_hash", Text, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
)

# Attempts at passwords and codes, by the hash of whose they are, and used challenges of passkeys. At `full_at` all
# attempts have come back, and the row means nothing any more; `room` (milliseconds) is how far that may lie ahead.
ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("full_at", Moment, nullable=False),
    Column("room", BigInteger, nullable=False),
)

# Who did what. Triggers refuse to change or delete a row. No foreign keys: a row outlives what it tells of.
# `organization_id` is NULL for what concerns the platform.
AUDIT_LOG: Final = Table(
    "audit_log",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("organization_id", Integer),
    Column("organization", Text),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),
    Index(None, "organization_id", "number"),
    Index(None, "organization_id", "action", "number"),
    Index("ix_audit_log_organization_id_lower_actor_number", "organization_id", text("lower(actor)"), "number"),
)

# Views that a user of an organization gave a name, as parameters of their address. Those that are pinned stand on the
# overview; `folder` is empty for a view that is in none.
SAVED_VIEWS: Final = Table(
    "saved_views",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("folder", Text, nullable=False, server_default=""),
    Column("pinned_at", Moment),
)

# Views that anybody with the link may look at until they expire. Those with `hosts`, origins with blanks between them,
# are shown within pages of these alone.
SHARED_VIEWS: Final = Table(
    "shared_views",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("channels", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    Column("opened", BigInteger, nullable=False, server_default="0"),
    Column("opened_at", Moment),
    Column("hosts", Text),
)

# Refresh tokens of public keys. A login begins a `family`; each use of a token replaces it by a new one in its family.
# `scopes` are those of the login: a token that was asked for with fewer doesn't narrow them.
REFRESH_TOKENS: Final = Table(
    "refresh_tokens",
    METADATA,
    Column("token_hash", Text, primary_key=True),
    Column("family", Text, nullable=False, index=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False, index=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("epoch", BigInteger, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("issued_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("replaced_at", Moment),
)

# What the service's other stores are known by: its `tables`.
IDENTITIES: Final = Table(
    "identities",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# One row at most: the fingerprint of the secret under which keys were made; it is no help to guess the secret.
SECRET_FINGERPRINTS: Final = Table(
    "secret_fingerprints",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False),
    CheckConstraint("number = 1", name="one"),
)

# A report as its caller sees it. The first claim fills `versions`, and `last_complete_day` of the facts in those, as
# the wire writes it; the end of the report fills the columns of its file.
# `attempts` were begun. Of them `failures` ended with an error of the report, `deaths` with the death of a worker that
# made nothing beside it, and `losses` with a process whose end isn't blamed on the report. `reason` is the operator's;
# its partner reads `partner_reason`, or else the sentence of the `reason_code` (`queue/report_state`). `traceparent`
# (W3C) is the span in which it was asked for, which its attempts continue; NULL where no traces are recorded.
REPORTS: Final = Table(
    "reports",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("token", Text, nullable=False, unique=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    # The e-mail address of the user who asked in Studio.
    Column("asked_by", Text),
    Column("query", Text, nullable=False),
    Column("channels", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("reason_code", Text),
    Column("partner_reason", Text),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("losses", Integer, nullable=False, server_default="0"),
    Column("versions", Text),
    Column("last_complete_day", Text),
    Column("file", Text),
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("traceparent", Text),
    CheckConstraint("status IN ('IN_PROGRESS', 'FINISHED', 'FAILED', 'EXPIRED')", name="status"),
    CheckConstraint(
        "status <> 'FINISHED' OR (file IS NOT NULL AND rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)",
        name="finished_has_file",
    ),
    CheckConstraint("status <> 'FAILED' OR reason IS NOT NULL", name="failed_has_reason"),
    Index(None, "key_id", "fingerprint", "created_at"),
    Index(None, "status", "expires_at"),
    Index(None, "organization_id", "created_at"),
)

# The queue. A row lives from the ask to the report's final state; `number` keeps the order of asking. `attempt` is the
# fencing token: it goes up at each claim, and never back. A `suspect` may have killed a worker, and is made by an
# isolated one. `alone`: the worker of the running attempt has made nothing beside it. `waited_for_room` is the sum of
# the pauses for a full disk, in milliseconds, and so depends on no clock. What the running attempt has written so far
# comes with its heartbeat. Estimates: `expected_ms` is how long the report takes alone from now on, `ready_at` when it
# is ready.
JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("report_id", ForeignKey("reports.id"), nullable=False, unique=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("not_before", Moment, nullable=False),
    Column("owner", Text),
    Column("leased_until", Moment),
    Column("suspect", Integer, nullable=False, server_default="0"),
    Column("alone", Integer, nullable=False, server_default="0"),
    Column("waited_for_room", Integer, nullable=False, server_default="0"),
    Column("is_long", Integer, nullable=False, server_default="0"),
    Column("rows_written", BigInteger),
    Column("bytes_written", BigInteger),
    Column("expected_ms", BigInteger),
    Column("ready_at", Moment),
    CheckConstraint("(owner IS NULL) = (leased_until IS NULL)", name="lease"),
    Index(None, "organization_id", "owner", "number"),
)

# The other forms in which a finished report was asked for, by the suffix of their files, and the queue of their making.
# A row without `file` and `failure`, the code of an error, is to be made. `attempt` is the fencing token, as that of
# jobs; the last one began at `begun_at`. `deaths` counts processes that died since the form was asked for, while they
# made it.
FORMS: Final = Table(
    "forms",
    METADATA,
    Column("report_id", ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True),
    Column("suffix", Text, primary_key=True),
    Column("asked_at", Moment, nullable=False),
    Column("begun_at", Moment),
    Column("attempt", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("owner", Text),
    Column("leased_until", Moment),
    Column("failure", Text),
    Column("file", Text),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    CheckConstraint("(owner IS NULL) = (leased_until IS NULL)", name="lease"),
    CheckConstraint("file IS NULL OR (bytes IS NOT NULL AND sha256 IS NOT NULL)", name="made_has_file"),
)

# Times that processes share: `sweep`, the last sweep, and `probe`, the last test that the state can be written.
MOMENTS: Final = Table(
    "moments",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("at", Moment, nullable=False),
)

# Workers that are ready for reports, and the time of each one's last heartbeat.
WORKERS: Final = Table(
    "workers",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("seen_at", Moment, nullable=False),
)

# Counters of all processes together: see `tallies`.
TALLIES: Final = Table(
    "tallies",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Recurring work: when each chore is next due, so that it is done once across processes.
CHORES: Final = Table(
    "chores",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("due_at", Moment, nullable=False),
)

_CLOCK = """
CREATE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint'
"""
"""Leases take the time from the database. SQLite's connections bring the function with them."""
_KEEP_ROWS = (
    """CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''the audit log is append-only''; END'""",
    """CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    EXECUTE FUNCTION refuse_change()""",
)
_KEEP_ROWS_IN_SQLITE = tuple(
    f"""CREATE TRIGGER audit_log_no_{verb} BEFORE {verb} ON audit_log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"""
    for verb in ("UPDATE", "DELETE")
)


def create_tables(connection: Connection) -> None:
    """Create every table with its indexes, functions and triggers.

    Raises an error of the driver where one is there.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        # To name its option above would load its dialect in every process.
        _STUDIO_KEY.dialect_options["postgresql"]["where"] = _OF_STUDIO
        connection.exec_driver_sql(_CLOCK)
    METADATA.create_all(connection, checkfirst=False)
    for statement in _KEEP_ROWS if is_postgresql else _KEEP_ROWS_IN_SQLITE:
        connection.exec_driver_sql(statement)
