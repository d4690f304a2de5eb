"""Links that set a password: once, for three days, and for nobody who is gone; on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select
from tests.cases import thin_out
from tests.server.conftest import State

from reelport.errors import UsageError
from reelport.server.access import audit_log, organizations, people, sessions, users
from reelport.server.access.grants import Password
from reelport.server.access.people import LIFE, NewPasswordLink
from reelport.server.access.roles import Role
from reelport.server.access.sessions import Browser, Session
from reelport.server.access.users import NO_PASSWORD, User
from reelport.server.credentials import ServiceSecret
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import PASSWORD_LINKS

EMAIL, PASSWORD = "ann@demo.example", "correct horse battery"


def add_user(state: State) -> User:
    """A user of `demo` without a password."""
    state.organization("demo")
    with writing(state.db) as connection:
        holder = organizations.lock_organization(connection, "demo")
        return users.insert_user(connection, holder, EMAIL, Role.ANALYST, NO_PASSWORD, state.now)


def make_link(state: State, user: User) -> NewPasswordLink:
    """A link of that user."""
    with writing(state.db) as connection:
        return people.insert_link(connection, state.service_secret, user.id, user.email, state.now)


def use_link(state: State, link: NewPasswordLink, password: str = PASSWORD, *, after: timedelta = timedelta()) -> bool:
    """Whether a link sets that password after so long."""
    now = state.now + after
    token = link.token
    return people.set_password(state.db, state.service_secret, token, password, "192.0.2.1", now) is not None


def sign_in(state: State, password: str = PASSWORD) -> Session | None:
    """The session that begins by that password."""
    given = Password(EMAIL, password)
    life = timedelta(hours=1)
    found = sessions.begin_session(state.db, state.service_secret, given, Browser("", ""), state.now, life)
    return found if isinstance(found, Session) else None


@pytest.mark.parametrize("given", thin_out(["", PASSWORD, "\0", "x" * 2000], 2))
def test_no_text_is_the_password_of_a_user_without_one(state: State, given: str) -> None:
    """Not the empty one either, by which the check takes as long as any other."""
    add_user(state)
    assert sign_in(state, given) is None
    assert not users.is_password(given, NO_PASSWORD)


def test_a_link_sets_a_password_once(state: State) -> None:
    """Looking at it doesn't use it up; setting the password does."""
    link = make_link(state, add_user(state))
    for _ in range(3):
        found = people.find_link(state.db, state.service_secret, link.token, state.now)
        assert found is not None
        assert (found.email, found.organization) == (EMAIL, "demo")
    assert use_link(state, link)
    assert sign_in(state) is not None
    assert not use_link(state, link, "another long password")
    assert people.find_link(state.db, state.service_secret, link.token, state.now) is None
    assert sign_in(state) is not None


def test_two_who_use_a_link_at_the_same_moment_set_one_password(state: State) -> None:
    """One of them has the link; the other's password is not set."""
    link = make_link(state, add_user(state))
    texts = [f"password number {number}" for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        used = list(threads.map(lambda text: use_link(state, link, text), texts))
    assert sum(used) == 1
    assert [sign_in(state, text) is not None for text in texts] == used


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
    users.change_password(state.db, EMAIL, PASSWORD)
    assert not use_link(state, link, "another long password")


def test_a_link_goes_with_its_user(state: State) -> None:
    """Also where a user of the same address is added again."""
    link = make_link(state, add_user(state))
    users.remove_user(state.db, EMAIL)
    users.add_user(state.db, "demo", EMAIL, "owner", PASSWORD, state.now)
    assert not use_link(state, link, "another long password")


def test_a_new_password_ends_every_login(state: State) -> None:
    """Whoever was signed in by the old one is out."""
    user = add_user(state)
    assert use_link(state, make_link(state, user))
    session = sign_in(state)
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
    assert people.find_link(state.db, state.service_secret, token, state.now) is None


def test_a_link_of_another_service_is_none(state: State) -> None:
    """Its signature is another secret's."""
    link = make_link(state, add_user(state))
    other = ServiceSecret(b"another secret of the service")
    assert people.find_link(state.db, other, link.token, state.now) is None


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
    assert (told.action, told.actor.name, told.actor.address) == ("changed a password", EMAIL, "192.0.2.1")
    assert audit_log.describe_action(told) == "changed a password (by a link)"
