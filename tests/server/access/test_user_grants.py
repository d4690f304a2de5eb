"""Grants to users by public keys: by password and by refresh tokens, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from tests import quick_users
from tests.cases import thin_out
from tests.patience import PATIENCE
from tests.server.conftest import State, await_waiters

from reelport.errors import UsageError
from reelport.server.access import callers, grants, keys, refresh_tokens, users
from reelport.server.access.grants import ClientCredentials, Grant, Password, Refusal, Terms
from reelport.server.reports import removal
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import REFRESH_TOKENS

PASSWORD = "correct horse battery"  # noqa: S105 - of a test
EMAIL = "ann@demo.example"
TERMS = Terms(36_000, timedelta(days=30))
GRACE = refresh_tokens.REPLACEMENT_GRACE.total_seconds()


class Desk:
    """The organization `demo` with a user, and a public key of it."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.organization("demo", "c1")
        quick_users.add_user(state.db, "demo", EMAIL, "owner", PASSWORD, state.now)
        self.client = self.new_key("demo")

    def new_key(
        self, organization: str, kind: str = "public", scopes: Sequence[str] = ("create_reports",)
    ) -> ClientCredentials:
        """A new key."""
        key = keys.create_key(self.state.db, self.state.service_secret, organization, scopes, self.state.now, kind=kind)
        return ClientCredentials(key.id, key.secret)

    def log_in(
        self,
        text: str = PASSWORD,
        email: str = EMAIL,
        client: ClientCredentials | None = None,
        after: float = 0,
        scopes: Sequence[str] = (),
        terms: Terms = TERMS,
    ) -> Grant | Refusal:
        """What signing in gives, some seconds later."""
        state = self.state
        now = state.now + timedelta(seconds=after)
        return grants.grant_by_password(
            state.db, state.service_secret, client or self.client, Password(email, text), scopes, now, terms
        )

    def granted(self) -> Grant:
        """What the right password gives."""
        found = self.log_in()
        assert isinstance(found, Grant)
        return found

    def refresh(
        self,
        token: str | None,
        after: float = 0,
        client: ClientCredentials | None = None,
        scopes: Sequence[str] = (),
        terms: Terms = TERMS,
    ) -> Grant | Refusal:
        """What a refresh token gives, some seconds later."""
        state = self.state
        now = state.now + timedelta(seconds=after)
        return grants.grant_by_refresh_token(
            state.db, state.service_secret, client or self.client, token or "", scopes, now, terms
        )

    def reads(self, grant: Grant, after: float = 0) -> bool:
        """Whether the access token of a grant stands for anybody."""
        now = self.state.now + timedelta(seconds=after)
        return callers.identify_caller(self.state.db, self.state.service_secret, grant.token, now) is not None

    def tokens(self) -> int:
        """How many refresh tokens are stored."""
        with reading(self.state.db) as connection:
            count: int = connection.execute(select(func.count()).select_from(REFRESH_TOKENS)).scalar_one()
            return count


@pytest.fixture
def desk(state: State) -> Desk:
    return Desk(state)


def test_a_login_stands_for_the_key_and_the_user(desk: Desk) -> None:
    """Its token has the key's scopes and channels, ten hours long, and names the user."""
    grant = desk.granted()
    caller = desk.state.identify(grant.token)
    assert caller is not None
    assert caller.login is not None
    assert (caller.key_id, caller.organization, caller.login.user_id) == (desk.client.id, "demo", grant.user_id)
    assert (caller.scopes, caller.channels) == (frozenset({"create_reports"}), frozenset({"c1"}))
    assert desk.reads(grant, TERMS.seconds - 1)
    assert not desk.reads(grant, TERMS.seconds)


def test_who_may_not_sign_in_gets_no_token(desk: Desk) -> None:
    """A wrong password, an unknown user and another organization's are one refusal; a wrong secret is another."""
    desk.state.organization("rival")
    quick_users.add_user(desk.state.db, "rival", "eve@rival.example", "owner", PASSWORD, desk.state.now)
    assert desk.log_in("correct horse batterY") is Refusal.INVALID_GRANT
    assert desk.log_in(email="bob@demo.example") is Refusal.INVALID_GRANT
    assert desk.log_in(email="eve@rival.example") is Refusal.INVALID_GRANT
    assert desk.log_in(email="a\0@\ud800") is Refusal.INVALID_GRANT
    assert desk.log_in(client=ClientCredentials(desk.client.id, "wrong")) is Refusal.INVALID_CLIENT
    assert isinstance(desk.log_in(email=EMAIL.upper()), Grant)


def test_each_kind_of_key_has_its_own_grants(desk: Desk) -> None:
    """A private key takes no password, and a public key gets nothing by its secret alone."""
    state, private = desk.state, desk.new_key("demo", "private")
    assert desk.log_in(client=private) is Refusal.UNAUTHORIZED_CLIENT
    assert desk.refresh(desk.granted().refresh_token, client=private) is Refusal.UNAUTHORIZED_CLIENT
    assert grants.grant_token(state.db, state.service_secret, desk.client, [], state.now) is Refusal.UNAUTHORIZED_CLIENT
    nobody = grants.grant_anonymous_token(state.db, state.service_secret, desk.client, state.now, seconds=60)
    assert isinstance(nobody, Grant)
    caller = state.identify(nobody.token)
    assert caller is not None
    assert caller.scopes == frozenset()
    with pytest.raises(UsageError, match="There is no kind of key 'secret': it is private or public"):
        desk.new_key("demo", "secret")


def test_a_refresh_token_is_replaced_by_its_use(desk: Desk) -> None:
    """Each gives another pair, and is good once; only its hash is stored."""
    first = desk.granted()
    second = desk.refresh(first.refresh_token, 36_000)
    assert isinstance(second, Grant)
    assert desk.reads(second, 36_001)
    assert second.refresh_token != first.refresh_token
    third = desk.refresh(second.refresh_token, 72_000)
    assert isinstance(third, Grant)
    with reading(desk.state.db) as connection:
        stored = connection.execute(select(REFRESH_TOKENS.c.token_hash)).scalars().all()
    assert not {first.refresh_token, second.refresh_token, third.refresh_token} & set(stored)


def test_an_answer_that_was_lost_can_be_asked_for_again(desk: Desk) -> None:
    """Within a minute a replaced token still gives a pair, and neither pair ends the other."""
    first = desk.granted()
    pairs = [desk.refresh(first.refresh_token, after) for after in (0, GRACE)]
    for pair in pairs:
        assert isinstance(pair, Grant)
        assert isinstance(desk.refresh(pair.refresh_token, GRACE), Grant)


def test_a_stolen_refresh_token_ends_its_login(desk: Desk) -> None:
    """When a token comes again later, one of two holders is a thief: neither gets another, other logins go on."""
    first, other = desk.granted(), desk.granted()
    second = desk.refresh(first.refresh_token)
    assert isinstance(second, Grant)
    assert desk.refresh(first.refresh_token, GRACE + 1) is Refusal.INVALID_GRANT
    assert desk.refresh(second.refresh_token, 70) is Refusal.INVALID_GRANT
    assert isinstance(desk.refresh(other.refresh_token, 70), Grant)


def test_a_refresh_at_the_moment_of_a_theft_leaves_no_token_of_the_login(desk: Desk) -> None:
    """What is being granted to the thief when the theft is noticed ends with the others."""
    first, db = desk.granted(), desk.state.db
    second, later = desk.refresh(first.refresh_token), GRACE + 1
    assert isinstance(second, Grant)
    with ThreadPoolExecutor(2) as threads:
        with writing(db) as connection:
            connection.execute(select(REFRESH_TOKENS).where(REFRESH_TOKENS.c.replaced_at.is_(None)).with_for_update())
            threads.submit(desk.refresh, second.refresh_token, later)
            await_waiters(db, 1)
            noticed = threads.submit(desk.refresh, first.refresh_token, later)
            await_waiters(db, 2)
        assert noticed.result() is Refusal.INVALID_GRANT
    assert desk.tokens() == 0


def test_an_organization_is_removed_while_tokens_are_granted_to_its_users(desk: Desk) -> None:
    """The removal waits for what is being granted, and takes it along."""
    token, db, settings = desk.granted().refresh_token, desk.state.db, desk.state.settings
    with ThreadPoolExecutor(2) as threads:
        with writing(db) as connection:
            connection.execute(select(REFRESH_TOKENS).with_for_update()).all()
            threads.submit(desk.refresh, token)
            await_waiters(db, 1)
            removed = threads.submit(removal.remove_organization, db, settings, "demo")
            await_waiters(db, 2)
        assert removed.result().users == 1
    assert desk.tokens() == 0


def test_a_refresh_token_is_worth_nothing_elsewhere_or_too_late(desk: Desk) -> None:
    """Not with another key, not after its life, and not when it was never one."""
    token = desk.granted().refresh_token
    assert desk.refresh(token, client=desk.new_key("demo")) is Refusal.INVALID_GRANT
    assert desk.refresh(token, client=ClientCredentials(desk.client.id, "wrong")) is Refusal.INVALID_CLIENT
    assert desk.refresh(token, TERMS.refresh_life.total_seconds()) is Refusal.INVALID_GRANT
    for wrong in ("", "x", "\0", "rpf_é", (token or "")[:-1], "rpf_" + "a" * 100_000):
        assert desk.refresh(wrong) is Refusal.INVALID_GRANT
    assert isinstance(desk.refresh(token), Grant)


@pytest.mark.parametrize("end", ["password", "remove", "revoke", "organization"])
def test_what_was_granted_to_a_user_ends_with_the_access(desk: Desk, end: str) -> None:
    """Access and refresh tokens are worth nothing a moment later."""
    grant, state = desk.granted(), desk.state
    match end:
        case "password":
            users.change_password(state.db, EMAIL, PASSWORD + "2")
            assert desk.log_in() is Refusal.INVALID_GRANT
            assert isinstance(desk.log_in(PASSWORD + "2"), Grant)
        case "remove":
            users.remove_user(state.db, EMAIL)
        case "revoke":
            keys.revoke_key(state.db, desk.client.id, state.now)
        case _:
            assert removal.preview_removal(state.db, "demo").users == 1
            removal.remove_organization(state.db, state.settings, "demo")
            assert users.list_users(state.db) == ()
    assert not desk.reads(grant)
    assert desk.refresh(grant.refresh_token) in {Refusal.INVALID_GRANT, Refusal.INVALID_CLIENT}


def test_one_token_used_twice_at_the_same_moment_gives_two_pairs_of_one_login(desk: Desk) -> None:
    """Two processes that share a token are no thieves, and the state has no half of a pair."""
    first = desk.granted()
    found: list[Grant | Refusal] = []
    both = threading.Barrier(2)

    def refresh() -> None:
        both.wait()
        found.append(desk.refresh(first.refresh_token))

    threads = [threading.Thread(target=refresh) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(isinstance(each, Grant) for each in found)
    assert desk.tokens() == 3


def test_old_refresh_tokens_are_deleted(desk: Desk) -> None:
    """The expired ones of a user go at the next login, and of a loop of refreshes a hundred stay."""
    desk.granted()
    assert isinstance(desk.log_in(after=TERMS.refresh_life.total_seconds()), Grant)
    assert desk.tokens() == 1
    grant = desk.granted()
    for number in range(110):
        found = desk.refresh(grant.refresh_token, number)
        assert isinstance(found, Grant)
        grant = found
    assert desk.tokens() == 101
    assert isinstance(desk.refresh(grant.refresh_token, 110), Grant)


def test_a_refresh_with_scopes_that_the_key_lacks_leaves_the_token_as_it_is(desk: Desk) -> None:
    """The request was wrong and not the token, which gives a pair a day later too."""
    token = desk.granted().refresh_token
    for after in (0, 3600):
        assert desk.refresh(token, after, scopes=["access_revenue"]) is Refusal.INVALID_SCOPE
    assert desk.tokens() == 1
    assert isinstance(desk.refresh(token, 86_400), Grant)


@pytest.mark.parametrize(
    ("at_login", "at_refresh", "granted"),
    thin_out(
        [
            ([], [], ("create_reports", "delete_reports")),
            ([], ["delete_reports"], ("delete_reports",)),
            (["create_reports"], [], ("create_reports",)),
            (["create_reports"], ["create_reports", "delete_reports"], ("create_reports",)),
            (["create_reports"], ["delete_reports"], None),
            (["create_reports"], ["manage_reports"], None),
            (["manage_reports"], [], ("manage_reports",)),
            (["manage_reports"], ["delete_reports"], ("delete_reports",)),
        ],
        3,
    ),
)
def test_a_refresh_gives_scopes_of_its_login_alone(
    desk: Desk, at_login: list[str], at_refresh: list[str], granted: tuple[str, ...] | None
) -> None:
    """All of them without a scope, else those that were asked for (RFC 6749, section 6); `manage_reports` is all."""
    client = desk.new_key("demo", scopes=["create_reports", "delete_reports"])
    login = desk.log_in(client=client, scopes=at_login)
    assert isinstance(login, Grant)
    found = desk.refresh(login.refresh_token, client=client, scopes=at_refresh)
    assert (found.scopes if isinstance(found, Grant) else None) == granted


def test_a_refresh_with_fewer_scopes_narrows_no_later_one(desk: Desk) -> None:
    """The next refresh token has the scopes of the login still, as RFC 6749 has it."""
    client = desk.new_key("demo", scopes=["create_reports", "delete_reports"])
    first = desk.log_in(client=client)
    assert isinstance(first, Grant)
    second = desk.refresh(first.refresh_token, client=client, scopes=["create_reports"])
    assert isinstance(second, Grant)
    third = desk.refresh(second.refresh_token, client=client)
    assert isinstance(third, Grant)
    assert third.scopes == first.scopes


@pytest.mark.long
def test_the_newest_refresh_token_stays_when_its_life_is_shortened(desk: Desk) -> None:
    """Older ones, which expire later, go before it: of one login, and of a user's logins."""
    grant = desk.granted()
    for _ in range(100):
        found = desk.refresh(grant.refresh_token)
        assert isinstance(found, Grant)
        grant = found
    shorter = Terms(TERMS.seconds, timedelta(days=1))
    for after in (1, -3600):  # the clock may be set back, too
        found = desk.refresh(grant.refresh_token, after, terms=shorter)
        assert isinstance(found, Grant)
        grant = found
    assert isinstance(desk.refresh(grant.refresh_token, 2), Grant)


def test_the_newest_login_stays_when_the_life_of_refresh_tokens_is_shortened(desk: Desk) -> None:
    """A user's hundred older logins expire later, and one of them goes."""
    desk.granted()
    with writing(desk.state.db) as connection:
        row = connection.execute(select(REFRESH_TOKENS)).one()._asdict()
        for number in range(100):
            other = row | {"token_hash": f"h{number}", "family": f"f{number}"}
            connection.execute(REFRESH_TOKENS.insert().values(other))
    for after in (1, -3600):  # the clock may be set back, too
        login = desk.log_in(after=after, terms=Terms(TERMS.seconds, timedelta(days=1)))
        assert isinstance(login, Grant)
        assert isinstance(desk.refresh(login.refresh_token, 2), Grant)
    with reading(desk.state.db) as connection:
        families = connection.execute(select(REFRESH_TOKENS.c.family).distinct()).all()
    assert len(families) == 100


@pytest.mark.parametrize("end", ["password", "remove"])
def test_refreshes_that_race_the_end_of_their_login_leave_no_valid_token(desk: Desk, end: str) -> None:
    """Whatever was granted until the moment of the change, access and refresh token, is worth nothing after it."""
    grants = [desk.granted()]
    refusals: list[Refusal] = []
    runs = threading.Event()

    def refresh_until_refused() -> None:
        while isinstance(found := desk.refresh(grants[-1].refresh_token), Grant):
            grants.append(found)
            runs.set()
        refusals.append(found)

    thread = threading.Thread(target=refresh_until_refused)
    thread.start()
    assert runs.wait(PATIENCE)
    if end == "password":
        users.change_password(desk.state.db, EMAIL, PASSWORD + "2")
    else:
        users.remove_user(desk.state.db, EMAIL)
    thread.join()
    assert refusals == [Refusal.INVALID_GRANT]
    assert not any(desk.reads(grant) for grant in grants)
    assert {desk.refresh(grant.refresh_token) for grant in grants[-3:]} == {Refusal.INVALID_GRANT}


@pytest.mark.long
@pytest.mark.parametrize("end", ["password", "remove"])
def test_logins_that_race_their_end_leave_no_valid_token(desk: Desk, end: str) -> None:
    """A password that was right a moment ago gives nothing that lasts, and no error."""
    users.change_password(desk.state.db, EMAIL, PASSWORD)  # its check takes as long as in earnest: so long they race
    found: list[Grant | Refusal] = []
    threads = [threading.Thread(target=lambda: found.append(desk.log_in())) for _ in range(8)]
    for each in threads:
        each.start()
    if end == "password":
        users.change_password(desk.state.db, EMAIL, PASSWORD + "2")
    else:
        users.remove_user(desk.state.db, EMAIL)
    for each in threads:
        each.join()
    assert len(found) == 8
    assert {each for each in found if isinstance(each, Refusal)} <= {Refusal.INVALID_GRANT}
    assert not any(desk.reads(each) for each in found if isinstance(each, Grant))


def test_no_password_alone_gets_a_token_of_whom_a_factor_is_demanded(desk: Desk) -> None:
    """Nor does a refresh token of before: a program would pass by what Studio demands."""
    token, owners = desk.granted().refresh_token, replace(TERMS, second_factor="owners")
    assert desk.log_in(terms=owners) is Refusal.INVALID_GRANT
    assert desk.refresh(token, terms=owners) is Refusal.INVALID_GRANT
    assert isinstance(desk.refresh(token, terms=replace(TERMS, second_factor="operators")), Grant)
