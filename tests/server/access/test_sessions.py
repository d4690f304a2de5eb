"""Users, their sessions, and links that set a password; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from tests import quick_users
from tests.cases import thin_out
from tests.patience import PATIENCE, until
from tests.server.conftest import State

from reelport.errors import UsageError
from reelport.server.access import audit_log, grants, keys, organizations, password_links, sessions, users
from reelport.server.access.audit_log import Actor
from reelport.server.access.grants import ClientCredentials, Grant, Password, Refusal, Terms
from reelport.server.access.password_links import LIFE, NewPasswordLink
from reelport.server.access.roles import Role
from reelport.server.access.sessions import Browser, Session
from reelport.server.access.users import NO_PASSWORD, User
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import PASSWORD_LINKS, USERS

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
    given = Password(ANN, password)
    found = sessions.begin_session(state.db, state.service_secret, given, Browser("", ""), state.now)
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
    assert state.identify(granted.token) is not None
    sessions.sign_out_everywhere(state.db, session, ACTOR, state.now)
    assert not is_alive(state, session)
    assert not is_alive(state, other)
    assert state.identify(granted.token) is None
    token = granted.refresh_token or ""
    again = grants.grant_by_refresh_token(state.db, state.service_secret, key, token, (), state.now, TERMS)
    assert again is Refusal.INVALID_GRANT
    assert is_alive(state, sign_in(state))
    assert "signed out everywhere" in [each.action for each in audit_log.list_actions(state.db)]


def test_an_address_is_one_users_in_any_case(state: State) -> None:
    """An address is stored in lower case, and taken once in the whole service."""
    state.organization("demo")
    state.organization("rival")
    added = users.add_user(state.db, "demo", " Ann@Demo.example ", "owner", OLD, state.now)
    assert users.list_users(state.db) == (added,)
    assert (added.email, added.role, added.organization) == ("ann@demo.example", Role.OWNER, "demo")
    with pytest.raises(UsageError, match=r"There is a user 'ann@demo\.example' already"):
        users.add_user(state.db, "rival", "ANN@demo.example", "analyst", OLD, state.now)
    assert users.list_users(state.db, "rival") == ()


def test_an_address_that_looks_like_anothers_is_not_that_one() -> None:
    """The sign of the kelvin is a k in lower case, and no k in an address."""
    assert {users.normalize_email(each) for each in ("\u212aim@demo.example", "kim@demo.example")} == {
        "\u212aim@demo.example",
        "kim@demo.example",
    }
    assert users.normalize_email(" \u00c9VA@demo.example") == "\u00e9va@demo.example"


def test_everything_that_is_wrong_with_a_new_user_is_said_at_once(state: State) -> None:
    """Address, role and password have a sentence each, and nobody is added."""
    state.organization("demo")
    with pytest.raises(UsageError) as refused:
        users.add_user(state.db, "demo", "nobody", "boss", "short", state.now)
    assert str(refused.value).splitlines() == [
        "'nobody' is no e-mail address: it looks like name@example.com.",
        "There is no role 'boss': it is one of owner, analyst, viewer, viewer-without-revenue, operator.",
        "A password has 12 to 1,000 characters, and not 5.",
    ]
    with pytest.raises(UsageError, match=r"There is no organization 'demos'\. Did you mean demo\?"):
        users.add_user(state.db, "demos", "ann@demo.example", "owner", OLD, state.now)
    assert users.list_users(state.db) == ()


@pytest.mark.parametrize(
    "email", ["a@", "@b", "a b@c", "a@b@c", "a\0@b", "a\n@b", "", "a,b@c", "<a@b>", "a" * 65 + "@b"]
)
def test_what_is_no_address_is_refused(state: State, email: str) -> None:
    """Whatever could not be typed at a sign-in, or would break a list."""
    state.organization("demo")
    with pytest.raises(UsageError, match="is no e-mail address"):
        users.add_user(state.db, "demo", email, "owner", OLD, state.now)


def test_a_password_is_stored_as_an_argon2id_hash_of_its_own(state: State) -> None:
    """Two users with the same password have other hashes, and neither holds it."""
    state.organization("demo")
    for name in ("ann", "ben"):
        users.add_user(state.db, "demo", f"{name}@demo.example", "analyst", OLD, state.now)
    with reading(state.db) as connection:
        hashes = connection.execute(select(USERS.c.password_hash)).scalars().all()
    assert len(set(hashes)) == 2
    assert all(each.startswith("$argon2id$") and OLD not in each for each in hashes)


@pytest.mark.parametrize("given", thin_out(["", OLD + " ", "correct horse batterY", "x" * 10_000, "\ud800" * 20], 3))
def test_only_the_password_itself_is_right(given: str) -> None:
    """A longer, other or unencodable text is wrong, and never an error; so is every text where none is stored."""
    assert users.is_password(OLD, users.hash_password(OLD))
    assert not users.is_password(given, users.hash_password(OLD))
    assert not users.is_password(given, None)
    assert not users.is_password(given, "no hash")


def test_no_epoch_comes_again_after_a_restored_backup(state: State) -> None:
    """Each is drawn at random: what was granted in a state that is gone stays worthless in one that was restored."""
    state.organization("demo")
    epochs = {
        users.add_user(state.db, "demo", f"u{number}@demo.example", "analyst", OLD, state.now).epoch
        for number in range(3)
    }
    for _ in range(3):
        users.change_password(state.db, "u0@demo.example", OLD)
        epochs |= {user.epoch for user in users.list_users(state.db)}
    assert len(epochs) == 6
    assert all(0 <= epoch < 2**63 for epoch in epochs)
    assert max(epochs) > 2**48


def test_an_unknown_user_is_told_with_the_nearest(state: State) -> None:
    """Neither is removed nor changed."""
    state.organization("demo")
    users.add_user(state.db, "demo", "ann@demo.example", "owner", OLD, state.now)
    with pytest.raises(UsageError, match=r"Did you mean ann@demo\.example\?"):
        users.remove_user(state.db, "anne@demo.example")
    with pytest.raises(UsageError, match=r"Did you mean ann@demo\.example\?"):
        users.change_password(state.db, "anne@demo.example", OLD)
    users.remove_user(state.db, "ANN@demo.example")
    assert users.list_users(state.db) == ()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_user_whom_another_process_removes_meanwhile_is_removed_once(state: State) -> None:
    """The second to remove them waits for the first, and then finds nothing to do."""
    state.organization("demo")
    user = users.add_user(state.db, "demo", "ann@demo.example", "owner", OLD, state.now)

    def is_waiting() -> bool:
        blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with reading(state.db) as connection:
            return connection.execute(text(blocked)).first() is not None

    with ThreadPoolExecutor(1) as thread:
        with writing(state.db) as connection:
            connection.execute(USERS.delete().where(USERS.c.id == user.id))
            removal = thread.submit(users.remove_user, state.db, user.email)
            assert until(is_waiting)
        assert removal.result(PATIENCE) == 0


def add_user(state: State) -> User:
    """A user of `demo` without a password."""
    state.organization("demo")
    with writing(state.db) as connection:
        holder = organizations.lock_organization(connection, "demo")
        return users.insert_user(connection, holder, ANN, Role.ANALYST, NO_PASSWORD, state.now)


def make_link(state: State, user: User) -> NewPasswordLink:
    """A link of that user."""
    with writing(state.db) as connection:
        return password_links.insert_link(connection, state.service_secret, user.id, user.email, state.now)


def use_link(state: State, link: NewPasswordLink, password: str = OLD, *, after: timedelta = timedelta()) -> bool:
    """Whether a link sets that password after so long."""
    now = state.now + after
    token = link.token
    return password_links.set_password(state.db, state.service_secret, token, password, "192.0.2.1", now) is not None


def begin_session(state: State, password: str = OLD) -> Session | None:
    """The session that begins by that password."""
    given = Password(ANN, password)
    found = sessions.begin_session(state.db, state.service_secret, given, Browser("", ""), state.now)
    return found if isinstance(found, Session) else None


@pytest.mark.parametrize("given", thin_out(["", OLD, "\0", "x" * 2000], 2))
def test_no_text_is_the_password_of_a_user_without_one(state: State, given: str) -> None:
    """Not the empty one either, by which the check takes as long as any other."""
    add_user(state)
    assert begin_session(state, given) is None
    assert not users.is_password(given, NO_PASSWORD)


def test_a_link_sets_a_password_once(state: State) -> None:
    """Looking at it doesn't use it up; setting the password does."""
    link = make_link(state, add_user(state))
    for _ in range(3):
        found = password_links.find_link(state.db, state.service_secret, link.token, state.now)
        assert found is not None
        assert (found.email, found.organization) == (ANN, "demo")
    assert use_link(state, link)
    assert begin_session(state) is not None
    assert not use_link(state, link, "another long password")
    assert password_links.find_link(state.db, state.service_secret, link.token, state.now) is None
    assert begin_session(state) is not None


def test_two_who_use_a_link_at_the_same_moment_set_one_password(state: State) -> None:
    """One of them has the link; the other's password is not set."""
    link = make_link(state, add_user(state))
    texts = [f"password number {number}" for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        used = list(threads.map(lambda text: use_link(state, link, text), texts))
    assert sum(used) == 1
    assert [begin_session(state, text) is not None for text in texts] == used


def test_a_link_ends_after_three_days(state: State) -> None:
    """Until then it is valid to the last second."""
    link = make_link(state, add_user(state))
    assert link.expires_at == state.now + timedelta(hours=72)
    assert not use_link(state, link, after=LIFE)
    assert use_link(state, link, after=LIFE - timedelta(seconds=1))


def test_the_newest_link_of_a_user_is_the_only_one(state: State) -> None:
    """Whoever has an earlier one can do nothing with it."""
    user = add_user(state)
    first, second = make_link(state, user), make_link(state, user)
    assert not use_link(state, first)
    assert use_link(state, second)


def test_another_password_ends_a_link(state: State) -> None:
    """By a command, or by the user: an older link can't take the account back."""
    link = make_link(state, add_user(state))
    users.change_password(state.db, ANN, OLD)
    assert not use_link(state, link, "another long password")


def test_a_link_goes_with_its_user(state: State) -> None:
    """Also where a user of the same address is added again."""
    link = make_link(state, add_user(state))
    users.remove_user(state.db, ANN)
    users.add_user(state.db, "demo", ANN, "owner", OLD, state.now)
    assert not use_link(state, link, "another long password")


def test_a_new_password_ends_every_login(state: State) -> None:
    """Whoever was signed in by the old one is out."""
    user = add_user(state)
    assert use_link(state, make_link(state, user))
    session = begin_session(state)
    assert session is not None
    assert use_link(state, make_link(state, user), "another long password")
    assert sessions.find_session(state.db, state.service_secret, session.token, state.now) is None


def test_a_text_that_can_be_no_password_leaves_the_link(state: State) -> None:
    """The user tries again with a longer one."""
    link = make_link(state, add_user(state))
    with pytest.raises(UsageError, match="12 to 1,000 characters"):
        use_link(state, link, "short")
    assert use_link(state, link)


@pytest.mark.parametrize("token", ["", "rpl_", "rpl_x", "\0", "é", "\ud800", "x" * 5000])
def test_what_is_no_link_is_none(state: State, token: str) -> None:
    """Nothing is looked for in the state, and nothing fails."""
    add_user(state)
    assert password_links.find_link(state.db, state.service_secret, token, state.now) is None


def test_a_link_of_another_service_is_none(state: State) -> None:
    """Its signature is another secret's."""
    link = make_link(state, add_user(state))
    other = ServiceSecret(b"another secret of the service")
    assert password_links.find_link(state.db, other, link.token, state.now) is None


def test_the_state_does_not_hold_the_token(state: State) -> None:
    """Whoever reads the database can't use a link; nor does its text in a log."""
    link = make_link(state, add_user(state))
    with reading(state.db) as connection:
        rows = connection.execute(select(PASSWORD_LINKS)).all()
    assert link.token not in repr(rows)
    assert link.token not in repr(link)


def test_the_log_tells_of_a_password_that_a_link_set(state: State) -> None:
    """Who, from where, and by what."""
    assert use_link(state, make_link(state, add_user(state)))
    told = audit_log.list_actions(state.db)[0]
    assert (told.action, told.actor.name, told.actor.address) == ("changed a password", ANN, "192.0.2.1")
    assert audit_log.describe_action(told) == "changed a password (by a link)"
