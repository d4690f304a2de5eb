"""A user's own password, and signing out everywhere; on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests import quick_users
from tests.server.conftest import State

from reelport.errors import UsageError
from reelport.server.access import audit_log, grants, keys, sessions
from reelport.server.access.audit_log import Actor
from reelport.server.access.callers import identify_caller
from reelport.server.access.grants import ClientCredentials, Grant, Password, Refusal, Terms
from reelport.server.access.sessions import Browser, Session

ANN, OLD, NEW = "ann@demo.example", "correct horse battery", "another long password"
ACTOR = Actor(ANN, "192.0.2.1")
TERMS = Terms(3600, timedelta(days=1))


@pytest.fixture
def session(state: State) -> Session:
    """A session of an owner of `demo`."""
    state.organization("demo", "c-1")
    quick_users.add_user(state.db, "demo", ANN, "owner", OLD, state.now)
    return sign_in(state)


def sign_in(state: State, password: str = OLD) -> Session:
    """Another session of that user."""
    given, life = Password(ANN, password), timedelta(hours=1)
    found = sessions.begin_session(state.db, state.service_secret, given, Browser("", ""), state.now, life)
    assert isinstance(found, Session)
    return found


def is_alive(state: State, session: Session) -> bool:
    """Whether a session's cookie is worth something."""
    return sessions.find_session(state.db, state.service_secret, session.token, state.now) is not None


def grant(state: State, key: ClientCredentials) -> Grant:
    """Tokens by a public key."""
    found = grants.grant_by_password(state.db, state.service_secret, key, Password(ANN, OLD), (), state.now, TERMS)
    assert isinstance(found, Grant)
    return found


def make_public_key(state: State) -> ClientCredentials:
    """A public key of `demo`."""
    key = keys.create_key(state.db, state.service_secret, "demo", ["create_reports"], state.now, kind="public")
    return ClientCredentials(key.id, key.secret)


def test_another_password_leaves_this_session_alone(state: State, session: Session) -> None:
    """It goes on; every other one is over, and so is the old password."""
    other = sign_in(state)
    assert sessions.change_own_password(state.db, session, OLD, NEW, ACTOR, state.now)
    assert is_alive(state, session)
    assert not is_alive(state, other)
    assert is_alive(state, sign_in(state, NEW))
    told = audit_log.list_actions(state.db)[1]
    assert (told.action, told.actor) == ("changed a password", ACTOR)


def test_the_current_password_is_needed(state: State, session: Session) -> None:
    """Whoever finds an open browser can't take the account."""
    other = sign_in(state)
    for wrong in ("", NEW, OLD.upper()):
        assert not sessions.change_own_password(state.db, session, wrong, NEW, ACTOR, state.now)
    with pytest.raises(UsageError, match="12 to 1,000"):
        sessions.change_own_password(state.db, session, OLD, "short", ACTOR, state.now)
    assert is_alive(state, other)
    assert is_alive(state, sign_in(state))


def test_signing_out_everywhere_ends_all(state: State, session: Session) -> None:
    """Sessions, and the access and refresh tokens of public keys; the password stays."""
    other, key = sign_in(state), make_public_key(state)
    granted = grant(state, key)
    assert identify_caller(state.db, state.service_secret, granted.token, state.now) is not None
    sessions.sign_out_everywhere(state.db, session, ACTOR, state.now)
    assert not is_alive(state, session)
    assert not is_alive(state, other)
    assert identify_caller(state.db, state.service_secret, granted.token, state.now) is None
    token = granted.refresh_token or ""
    again = grants.grant_by_refresh_token(state.db, state.service_secret, key, token, (), state.now, TERMS)
    assert again is Refusal.INVALID_GRANT
    assert is_alive(state, sign_in(state))
    assert "signed out everywhere" in [each.action for each in audit_log.list_actions(state.db)]
