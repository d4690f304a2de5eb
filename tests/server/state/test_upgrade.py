"""A state that the first version made is brought up to date, and loses nothing but access tokens."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import StatementError
from tests.server.conftest import NOW
from tests.server.upgrade.older_states import migrate_to

from reelport.facts.layout import check_layout
from reelport.server.access import audit_log, callers, grants, keys, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import Caller
from reelport.server.access.grants import ClientCredentials
from reelport.server.access.key_marks import list_marks
from reelport.server.credentials import KEY_SECRET, REPORT_TOKEN, load_service_secret, mint
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.reports import report_access
from reelport.server.settings import Settings
from reelport.server.state.database import connect, open_database, writing
from reelport.server.state.secret_fingerprint import require_same_secret

NOW_MS = int(NOW.timestamp() * 1000)
QUERY = {"metrics": ["VIEWS"], "dimensions": ["DAY"], "startDate": "2026-01-01", "endDate": "2026-01-01"}


def _fill(connection: Connection, secret_hash: str, tokens: list[str]) -> None:
    """Rows as the first version wrote them: a partner, a limited key, a finished report and one that waits."""
    migrate_to(connection, "0001")
    said = {"now": NOW_MS, "later": NOW_MS + 48 * 3_600_000, "query": json.dumps(QUERY), "hash": secret_hash}
    said |= {"finished": tokens[0], "waiting": tokens[1]}
    for statement in (
        "INSERT INTO organizations (id, name, created_at, served_at) VALUES (1, 'demo', :now, 0)",
        "INSERT INTO readable_channels VALUES (1, 'c1'), (1, 'c2')",
        "INSERT INTO keys VALUES ('rpk_a', 1, :hash, 'create_reports access_ads', 1, :now, NULL)",
        "INSERT INTO key_channels VALUES ('rpk_a', 'c2')",
        "INSERT INTO tokens VALUES ('ab', 'rpk_a', 'create_reports', :later)",
        """INSERT INTO reports (id, token, organization_id, key_id, query, channels, scopes, fingerprint, status,
               created_at, expires_at, ended_at, attempts, versions, file, rows, bytes, sha256)
           VALUES ('done', :finished, 1, 'rpk_a', :query, '["c2"]', '', 'f', 'FINISHED', :now, :later, :now, 1, '{}',
               'done-1.csv', 1, 2, 'ab')""",
        """INSERT INTO reports (id, token, organization_id, key_id, query, channels, scopes, fingerprint, status,
               created_at, expires_at, attempts)
           VALUES ('todo', :waiting, 1, 'rpk_a', :query, '["c2"]', '', 'g', 'IN_PROGRESS', :now, :later, 2)""",
        "INSERT INTO jobs (number, report_id, organization_id, attempt, not_before) VALUES (1, 'todo', 1, 2, 0)",
    ):
        used = {name: value for name, value in said.items() if f":{name}" in statement}
        connection.execute(text(statement), used)


def test_a_state_of_the_first_version_goes_on(settings: Settings) -> None:
    """Its key is granted tokens, its reports are seen and fetched, what waits is made, and the secret is its own."""
    check_layout(settings.data)
    own, secret = load_service_secret(settings), mint(KEY_SECRET)
    tokens = [mint(REPORT_TOKEN), mint(REPORT_TOKEN)]
    old = open_database(settings)
    with writing(old) as connection:
        _fill(connection, own.hash("key", secret), tokens)
    old.dispose()
    db = connect(settings)
    granted = grants.grant_token(db, require_same_secret(db, settings), ClientCredentials("rpk_a", secret), [], NOW)
    assert isinstance(granted, grants.Grant)
    caller = callers.identify_caller(db, own, granted.token, NOW)
    assert isinstance(caller, Caller)
    assert (caller.organization, caller.channels) == ("demo", frozenset({"c2"}))
    finished, waiting = (report_access.find_report(db, caller, token, NOW) for token in tokens)
    assert finished is not None
    assert waiting is not None
    assert finished.file == FileRecord("done-1.csv", 1, 2, "ab")
    claim = jobs.claim(db, "worker", running=2, lease_seconds=30)
    assert claim is not None
    assert jobs.finish(db, claim, FileRecord("todo-3.csv", 1, 2, "ab"), NOW + timedelta(seconds=1))
    (key,) = keys.list_keys(db)
    assert key.channels == ("c2",)
    assert (key.name, key.created_by, key.last_used_at, key.expires_at, key.rotated_at) == ("", None, None, None, NOW)
    assert list_marks(key, NOW) == ("no use known",)
    db.dispose()


def test_users_of_an_earlier_version_keep_their_logins(settings: Settings) -> None:
    """The table of users is made anew on SQLite: neither they nor their refresh tokens are lost by that."""
    check_layout(settings.data)
    old = open_database(settings)
    with writing(old) as connection:
        migrate_to(connection, "0008")
        for statement in (
            "INSERT INTO organizations (id, name, created_at, served_at) VALUES (1, 'demo', 1, 0)",
            """INSERT INTO keys (id, organization_id, secret_hash, permissions, limited, created_at)
               VALUES ('rpk_a', 1, 'ab', 'create_reports', 0, 1)""",
            "INSERT INTO users VALUES ('rpu_a', 1, 'ann@demo.example', 'owner', 'hash', 7, 1)",
            """INSERT INTO refresh_tokens (token_hash, family, key_id, user_id, epoch, scopes, issued_at, expires_at)
               VALUES ('cd', 'f', 'rpk_a', 'rpu_a', 7, 'create_reports', 1, 2)""",
        ):
            connection.execute(text(statement))
    old.dispose()
    db = connect(settings)
    assert [(user.email, user.role, user.epoch) for user in users.list_users(db)] == [("ann@demo.example", "owner", 7)]
    with writing(db) as connection:
        assert connection.execute(text("SELECT token_hash FROM refresh_tokens")).scalars().all() == ["cd"]
    users.add_user(db, None, "olga@platform.example", "operator", "a long enough password", NOW)
    users.remove_user(db, "ann@demo.example")
    with writing(db) as connection:
        assert connection.execute(text("SELECT count(*) FROM refresh_tokens")).scalar() == 0
    db.dispose()


def test_partners_still_read_reasons_about_their_own_requests(settings: Settings) -> None:
    """An earlier version kept no codes: those that are known by their words get one, every other reason none."""
    reasons = {
        "cancelled": "It was cancelled by ann@demo.example.",
        "too_late": "It was not made in 60 seconds: ask for less.",
        None: "/srv/reelport/cache: the disk is full: make room",
    }
    check_layout(settings.data)
    old = open_database(settings)
    with writing(old) as connection:
        _fill(connection, "ab", ["a", "b"])
        migrate_to(connection, "0012")
        copied = text(
            """INSERT INTO reports (id, token, organization_id, key_id, query, channels, scopes, fingerprint, status,
                   created_at, expires_at, attempts, reason)
               SELECT :id, :id, organization_id, key_id, query, channels, scopes, fingerprint, 'FAILED',
                   created_at, expires_at, attempts, :reason FROM reports WHERE id = 'todo'"""
        )
        for code, reason in reasons.items():
            connection.execute(copied, {"id": code or "other", "reason": reason})
    old.dispose()
    db = connect(settings)
    with writing(db) as connection:
        found = connection.execute(text("SELECT reason_code, reason FROM reports WHERE status = 'FAILED'")).all()
    assert {row.reason_code: row.reason for row in found} == reasons
    db.dispose()


def test_links_that_should_have_ended_end(settings: Settings) -> None:
    """Those of a removed user, and those without a channel; a withdrawn channel is taken out of the others."""
    links = {
        "stays": ("ann@demo.example", ["c1", "c2"]),
        "narrowed": ("ann@demo.example", ["c1", "gone"]),
        "emptied": ("ann@demo.example", ["gone"]),
        "orphan": ("ben@demo.example", ["c1"]),
    }
    check_layout(settings.data)
    old = open_database(settings)
    with writing(old) as connection:
        _fill(connection, "ab", ["a", "b"])
        migrate_to(connection, "0012")
        connection.execute(text("INSERT INTO users VALUES ('rpu_a', 1, 'ann@demo.example', 'owner', 'hash', 7, 1)"))
        made = text(
            """INSERT INTO shared_views (id, token_hash, organization_id, name, parameters, channels, created_by,
                   created_at, expires_at)
               VALUES (:id, :id, 1, 'x', '', :channels, :by, 1, 2)"""
        )
        for id_, (by, channels) in links.items():
            connection.execute(made, {"id": id_, "by": by, "channels": json.dumps(channels)})
    old.dispose()
    db = connect(settings)
    with writing(db) as connection:
        found = {row.id: row for row in connection.execute(text("SELECT * FROM shared_views"))}
    assert {id_ for id_, row in found.items() if row.revoked_at is None} == {"stays", "narrowed"}
    assert (found["stays"].channels, found["narrowed"].channels) == ('["c1", "c2"]', '["c1"]')
    db.dispose()


def test_the_database_itself_keeps_what_was_logged(settings: Settings) -> None:
    """No statement changes or deletes a row of the audit log, whoever sends it."""
    check_layout(settings.data)
    db = connect(settings)
    with writing(db) as connection:
        audit_log.record_action(connection, None, Actor("ann", "192.0.2.1"), Action.KEY_CREATED, "rpk_a", NOW)
    for statement in ("UPDATE audit_log SET actor = 'eve'", "DELETE FROM audit_log"):
        with pytest.raises(StatementError, match="append-only"), db.begin() as connection:
            connection.execute(text(statement))
    assert [entry.actor.name for entry in audit_log.list_actions(db)] == ["ann"]
    db.dispose()
