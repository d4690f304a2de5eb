"""Users and their passwords, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text
from tests.cases import thin_out
from tests.patience import PATIENCE, until
from tests.server.conftest import State

from reelport.errors import UsageError
from reelport.server.access import users
from reelport.server.access.roles import Role
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import USERS

PASSWORD = "correct horse battery"  # noqa: S105 - of a test


def test_an_address_is_one_users_in_any_case(state: State) -> None:
    """An address is stored in lower case, and taken once in the whole service."""
    state.organization("demo")
    state.organization("rival")
    added = users.add_user(state.db, "demo", " Ann@Demo.example ", "owner", PASSWORD, state.now)
    assert users.list_users(state.db) == (added,)
    assert (added.email, added.role, added.organization) == ("ann@demo.example", Role.OWNER, "demo")
    with pytest.raises(UsageError, match=r"There is a user 'ann@demo\.example' already"):
        users.add_user(state.db, "rival", "ANN@demo.example", "analyst", PASSWORD, state.now)
    assert users.list_users(state.db, "rival") == ()


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
        users.add_user(state.db, "demos", "ann@demo.example", "owner", PASSWORD, state.now)
    assert users.list_users(state.db) == ()


@pytest.mark.parametrize(
    "email", ["a@", "@b", "a b@c", "a@b@c", "a\0@b", "a\n@b", "", "a,b@c", "<a@b>", "a" * 65 + "@b"]
)
def test_what_is_no_address_is_refused(state: State, email: str) -> None:
    """Whatever could not be typed at a sign-in, or would break a list."""
    state.organization("demo")
    with pytest.raises(UsageError, match="is no e-mail address"):
        users.add_user(state.db, "demo", email, "owner", PASSWORD, state.now)


def test_a_password_is_stored_as_an_argon2id_hash_of_its_own(state: State) -> None:
    """Two users with the same password have other hashes, and neither holds it."""
    state.organization("demo")
    for name in ("ann", "ben"):
        users.add_user(state.db, "demo", f"{name}@demo.example", "analyst", PASSWORD, state.now)
    with reading(state.db) as connection:
        hashes = connection.execute(select(USERS.c.password_hash)).scalars().all()
    assert len(set(hashes)) == 2
    assert all(each.startswith("$argon2id$") and PASSWORD not in each for each in hashes)


@pytest.mark.parametrize(
    "given", thin_out(["", PASSWORD + " ", "correct horse batterY", "x" * 10_000, "\ud800" * 20], 3)
)
def test_only_the_password_itself_is_right(given: str) -> None:
    """A longer, other or unencodable text is wrong, and never an error; so is every text where none is stored."""
    assert users.is_password(PASSWORD, users.hash_password(PASSWORD))
    assert not users.is_password(given, users.hash_password(PASSWORD))
    assert not users.is_password(given, None)
    assert not users.is_password(given, "no hash")


def test_no_epoch_comes_again_after_a_restored_backup(state: State) -> None:
    """Each is drawn at random: what was granted in a state that is gone stays worthless in one that was restored."""
    state.organization("demo")
    epochs = {
        users.add_user(state.db, "demo", f"u{number}@demo.example", "analyst", PASSWORD, state.now).epoch
        for number in range(3)
    }
    for _ in range(3):
        users.change_password(state.db, "u0@demo.example", PASSWORD)
        epochs |= {user.epoch for user in users.list_users(state.db)}
    assert len(epochs) == 6
    assert all(0 <= epoch < 2**63 for epoch in epochs)
    assert max(epochs) > 2**48


def test_an_unknown_user_is_told_with_the_nearest(state: State) -> None:
    """Neither is removed nor changed."""
    state.organization("demo")
    users.add_user(state.db, "demo", "ann@demo.example", "owner", PASSWORD, state.now)
    with pytest.raises(UsageError, match=r"Did you mean ann@demo\.example\?"):
        users.remove_user(state.db, "anne@demo.example")
    with pytest.raises(UsageError, match=r"Did you mean ann@demo\.example\?"):
        users.change_password(state.db, "anne@demo.example", PASSWORD)
    users.remove_user(state.db, "ANN@demo.example")
    assert users.list_users(state.db) == ()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_user_whom_another_process_removes_meanwhile_is_removed_once(state: State) -> None:
    """The second to remove them waits for the first, and then finds nothing to do."""
    state.organization("demo")
    user = users.add_user(state.db, "demo", "ann@demo.example", "owner", PASSWORD, state.now)

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
