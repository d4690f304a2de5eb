"""Codes of authenticators, recovery codes, and people whom an OpenID Connect provider signs in, on both databases."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from tests import quick_users
from tests.server.conftest import State, await_waiters

from reelport.errors import UsageError
from reelport.server.access import audit_log, grants, keys, oidc, people, second_factors, sessions, users
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.grants import ClientCredentials, Grant, Password, Refusal, Terms
from reelport.server.access.oidc import Granted, Identity, NoAccess, Provider
from reelport.server.access.people import NoPerson
from reelport.server.access.roles import Role
from reelport.server.access.second_factors import STEP_SECONDS, compute_code, derive_secret, find_step
from reelport.server.access.sessions import Browser, Halfway, Session, find_session
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import AUTHENTICATORS, RECOVERY_CODES, USERS

ANN, PASSWORD = "ann@demo.example", "a long enough password"
BROWSER = Browser("192.0.2.1", "Firefox")
STEP = timedelta(seconds=STEP_SECONDS)
ACTOR = Actor(ANN, "192.0.2.1")


def sign_in(state: State, now: datetime | None = None) -> Session | Halfway:
    """What the right password gives."""
    password, moment = Password(ANN, PASSWORD), now or state.now
    found = sessions.begin_session(state.db, state.service_secret, password, BROWSER, moment)
    assert found is not None
    return found


def make_code(state: State, now: datetime) -> str:
    """The code that Ann's telephone shows."""
    with reading(state.db) as connection:
        seed = connection.execute(AUTHENTICATORS.select()).one().seed
    secret = derive_secret(state.service_secret, bytes.fromhex(seed))
    return compute_code(secret, int(now.timestamp()) // STEP_SECONDS)


def finish(state: State, code: str, now: datetime) -> Session | None:
    """The session that password and code give."""
    halfway = sign_in(state, now)
    assert isinstance(halfway, Halfway)
    return second_factors.finish_session(state.db, state.service_secret, halfway, code, BROWSER, now)


@pytest.fixture
def guarded(state: State) -> tuple[State, Session, tuple[str, ...]]:
    """A state in which Ann has added an authenticator: her session since, and her recovery codes."""
    state.organization("demo", "c1")
    quick_users.add_user(state.db, "demo", ANN, "owner", PASSWORD, state.now)
    session = sign_in(state)
    assert isinstance(session, Session)
    added = add(state, session)
    assert added is not None
    return state, *added


def add(state: State, session: Session, *, password: str = PASSWORD) -> tuple[Session, tuple[str, ...]] | None:
    """Add the authenticator that a page offers to this session."""
    offer = second_factors.offer_authenticator(state.service_secret, session)

    code = compute_code(base64.b32decode(offer.secret), int(state.now.timestamp()) // STEP_SECONDS)
    given = offer.token, password, code, BROWSER, state.now
    return second_factors.add_authenticator(state.db, state.service_secret, session, *given)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    """The examples of RFC 6238, appendix B, cut to six digits."""
    assert compute_code(b"12345678901234567890", seconds // STEP_SECONDS) == code


def test_a_code_may_be_one_step_early_or_late_and_never_before_the_last_one() -> None:
    """A telephone's clock may differ by half a minute. What was used, and all before it, counts no more."""
    secret, now = b"12345678901234567890", datetime(2026, 1, 1, tzinfo=UTC)
    step = int(now.timestamp()) // STEP_SECONDS
    found = {away: find_step(secret, compute_code(secret, step + away), now, after=0) for away in range(-3, 4)}
    assert found == {away: step + away if abs(away) < 2 else None for away in range(-3, 4)}
    assert find_step(secret, compute_code(secret, step), now, after=step) is None
    assert find_step(secret, compute_code(secret, step - 1), now, after=step) is None


def test_the_password_alone_begins_no_session(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """With the code it does; another user's code and nonsense don't."""
    state, _, _ = guarded
    later = state.now + STEP
    assert isinstance(sign_in(state), Halfway)
    for wrong in ("", "abc", "\0", "1" * 1000, "٣" * 6, "000000" if make_code(state, later) != "000000" else "000001"):
        assert finish(state, wrong, later) is None
    code = make_code(state, later)
    assert finish(state, f"{code[:3]} {code[3:]}", later) is not None


def test_a_code_counts_once(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """The one by which the authenticator was added as well: who looked on can't use it again."""
    state, _, _ = guarded
    later = state.now + STEP
    assert finish(state, make_code(state, state.now), state.now) is None
    assert finish(state, make_code(state, later), later)
    assert finish(state, make_code(state, later), later) is None


def test_of_two_uses_at_the_same_moment_one_counts(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """The transaction that uses a code sees what the one before has used."""
    state, _, codes = guarded
    later = state.now + STEP
    for code in (make_code(state, later), codes[0]):
        with ThreadPoolExecutor(8) as pool:
            begun = list(pool.map(lambda _, code=code: finish(state, code, later), range(8)))
        assert sum(each is not None for each in begun) == 1


def test_a_recovery_code_signs_in_once_however_it_is_typed(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """Ten different ones are made; the state holds none of them as text."""
    state, session, codes = guarded
    assert len(set(codes)) == 10
    with reading(state.db) as connection:
        stored = str(connection.execute(RECOVERY_CODES.select()).all())
    assert not any(code in stored or code.replace("-", "") in stored for code in codes)
    assert finish(state, f" {codes[3].upper().replace('-', ' ')}", state.now)
    assert finish(state, codes[3], state.now) is None
    assert second_factors.read_factors(state.db, session.user_id).recovery_codes == 9
    newest = audit_log.list_actions(state.db, action=Action.SIGNED_IN)[0]
    assert newest.details == {"by": "a recovery code"}


def test_new_recovery_codes_end_the_earlier_ones(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """They need a code themselves: a stolen session makes none."""
    state, session, codes = guarded
    later = state.now + STEP
    make = second_factors.make_recovery_codes
    assert make(state.db, state.service_secret, session, "000000", ACTOR, state.now) is None
    fresh = make(state.db, state.service_secret, session, make_code(state, later), ACTOR, later)
    assert fresh
    assert (finish(state, codes[0], later), finish(state, fresh[0], later) is None) == (None, False)


def test_recovery_codes_made_twice_at_the_same_moment_are_those_of_one_page(
    guarded: tuple[State, Session, tuple[str, ...]],
) -> None:
    """Each by a code of its own: the first to be used ends the other."""
    state, session, codes = guarded
    given = state.db, state.service_secret, session
    with ThreadPoolExecutor(2) as pool:
        with writing(state.db) as connection:
            connection.execute(select(RECOVERY_CODES).with_for_update()).all()
            making = [
                pool.submit(second_factors.make_recovery_codes, *given, code, ACTOR, state.now) for code in codes[:2]
            ]
            await_waiters(state.db, 2)
        assert sorted(len(each.result() or ()) for each in making) == [0, 10]
    assert second_factors.read_factors(state.db, session.user_id).recovery_codes == 10


def test_adding_needs_the_password_and_begins_another_session(state: State) -> None:
    """A stolen cookie adds no authenticator, and is worth nothing after its owner has; an offer is one session's."""
    state.organization("demo", "c1")
    quick_users.add_user(state.db, "demo", ANN, "owner", PASSWORD, state.now)
    stolen, other = sign_in(state), sign_in(state)
    assert isinstance(stolen, Session)
    assert isinstance(other, Session)
    assert add(state, stolen, password="") is None
    offer = second_factors.offer_authenticator(state.service_secret, stolen)
    again = second_factors.offer_authenticator(state.service_secret, stolen, offer.token)
    assert again.secret == offer.secret
    assert second_factors.offer_authenticator(state.service_secret, other, offer.token).secret != offer.secret
    added = add(state, stolen)
    assert added is not None
    alive = [
        sessions.find_session(state.db, state.service_secret, each.token, state.now)
        for each in (stolen, other, added[0])
    ]
    assert [each is not None for each in alive] == [False, False, True]
    assert add(state, added[0]) is None, "there is one already"


def test_what_a_first_factor_gave_ends(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """After ten minutes, with another password, and where a text was changed."""
    state, session, codes = guarded
    halfway = sign_in(state)
    assert isinstance(halfway, Halfway)
    token = sessions.sign_halfway(state.service_secret, halfway, state.now)
    read = sessions.read_halfway
    assert read(state.service_secret, token, state.now) == halfway
    assert read(state.service_secret, token, state.now + timedelta(minutes=10)) is None
    assert read(state.service_secret, token[:-1], state.now) is None
    assert sessions.find_session(state.db, state.service_secret, token, state.now) is None, "it is no session"
    users.change_password(state.db, ANN, "another long password")
    begin = second_factors.finish_session
    assert begin(state.db, state.service_secret, halfway, codes[0], BROWSER, state.now) is None
    assert session.email == ANN


def test_removing_needs_a_code(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """A recovery code will do: then the password alone signs in again, and no code is left."""
    state, session, codes = guarded
    remove = second_factors.remove_factor
    assert not remove(state.db, state.service_secret, session, "000000", ACTOR, state.now)
    assert remove(state.db, state.service_secret, session, codes[0], ACTOR, state.now)
    assert isinstance(sign_in(state), Session)
    assert second_factors.read_factors(state.db, session.user_id).recovery_codes == 0


def test_an_owner_resets_others_of_the_organization_alone(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """Not the own ones, for which a stolen session would be enough, nor somebody's elsewhere."""
    state, ann, _ = guarded
    state.organization("rival", "c2")
    quick_users.add_user(state.db, "rival", "rob@rival.example", "owner", PASSWORD, state.now)
    quick_users.add_user(state.db, "demo", "ben@demo.example", "owner", PASSWORD, state.now)

    def sign_in_as(email: str) -> Session:
        given = Password(email, PASSWORD), BROWSER, state.now
        found = sessions.begin_session(state.db, state.service_secret, *given)
        assert isinstance(found, Session)
        return found

    reset = second_factors.reset_factors
    for owner in (ann, sign_in_as("rob@rival.example")):
        with pytest.raises(NoPerson):
            reset(state.db, owner, ann.user_id, ACTOR, state.now)
    assert isinstance(sign_in(state), Halfway)
    with writing(state.db) as connection:
        connection.execute(USERS.update().where(USERS.c.email == ANN).values(role="analyst"))
    reset(state.db, sign_in_as("ben@demo.example"), ann.user_id, ACTOR, state.now)
    assert isinstance(sign_in(state), Session)


def test_an_owner_resets_no_factor_of_an_owner(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """Nor of whom an owner has made something less first; the operator does, by the command."""
    state, ann, _ = guarded
    quick_users.add_user(state.db, "demo", "ben@demo.example", "owner", PASSWORD, state.now)
    given = Password("ben@demo.example", PASSWORD)
    ben = sessions.begin_session(state.db, state.service_secret, given, BROWSER, state.now)
    assert isinstance(ben, Session)
    for _ in range(2):
        with pytest.raises(UsageError, match="operator"):
            second_factors.reset_factors(state.db, ben, ann.user_id, ACTOR, state.now)
        people.change_role(state.db, ben, ann.user_id, "analyst", ACTOR, state.now)
    assert isinstance(sign_in(state), Halfway)
    assert second_factors.reset_factors_by_command(state.db, ANN)
    assert isinstance(sign_in(state), Session)


def test_a_public_key_gets_no_token_by_the_password_alone(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """Else a program would open by one factor what both guard. It is told as a wrong password is."""
    state, session, codes = guarded
    key = keys.create_key(state.db, state.service_secret, "demo", ("read_reports",), state.now, kind="public")
    given = ClientCredentials(key.id, key.secret), Password(ANN, PASSWORD), (), state.now, Terms(60, timedelta(1))
    assert grants.grant_by_password(state.db, state.service_secret, *given) is Refusal.INVALID_GRANT
    assert second_factors.remove_factor(state.db, state.service_secret, session, codes[0], ACTOR, state.now)
    assert isinstance(grants.grant_by_password(state.db, state.service_secret, *given), Grant)


def test_factors_go_with_their_user(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """Nothing of them is left in the state."""
    state, _, _ = guarded
    users.remove_user(state.db, ANN)
    with reading(state.db) as connection:
        assert connection.execute(AUTHENTICATORS.select()).all() == []
        assert connection.execute(RECOVERY_CODES.select()).all() == []


def test_another_secret_of_the_service_makes_other_codes(guarded: tuple[State, Session, tuple[str, ...]]) -> None:
    """A copy of the state alone is no authenticator."""
    state, session, _ = guarded
    later = state.now + STEP
    with reading(state.db) as connection:
        seed = bytes.fromhex(connection.execute(AUTHENTICATORS.select()).one().seed)
    code = compute_code(seed, int(later.timestamp()) // STEP_SECONDS)
    with writing(state.db) as held:
        assert second_factors.use_code(held, state.service_secret, session.user_id, code, later) is None


GROUPS = "heads=demo:owner, staff=demo:analyst, platform=operator"


def arrive(state: State, *groups: str, subject: str = "1", email: str = "ada@sso.example") -> Session | None:
    """Sign somebody in whom the provider has signed in."""
    provider = Provider("https://sso.example", "reelport", oidc.parse_groups(GROUPS), "", state.service_secret)
    identity, browser = Identity(subject, email, frozenset(groups)), Browser("192.0.2.1", "")
    found = oidc.begin_session(state.db, state.service_secret, provider, identity, browser, state.now)
    assert found is None or isinstance(found, Session)
    return found


def test_a_user_is_added_changed_and_withdrawn_by_groups(state: State) -> None:
    """One user throughout, who has no password; sessions end with the last group."""
    state.organization("demo")
    first, second = arrive(state, "staff"), arrive(state, "staff", "heads")
    assert first is not None
    assert second is not None
    assert (first.user_id, first.role, second.role) == (second.user_id, "analyst", "owner")
    with pytest.raises(NoAccess):
        arrive(state)
    assert find_session(state.db, state.service_secret, second.token, state.now) is None
    assert [each.email for each in users.list_users(state.db)] == ["ada@sso.example"]


def test_who_stays_out_does_not_fill_the_audit_log(state: State) -> None:
    """What a refusal ends is recorded each time; one that ends nothing, once a minute."""
    state.organization("demo")
    for groups in (["staff"], [], [], [], ["staff"], [], []):
        if groups:
            assert arrive(state, *groups) is not None
        else:
            with pytest.raises(NoAccess):
                arrive(state)
    found = [each.action for each in audit_log.list_actions(state.db, actor="ada@sso.example")]
    assert found.count(Action.SIGN_IN_FAILED) == 3
    assert found.count(Action.SIGNED_IN) == 2


def test_the_first_grant_of_a_group_counts() -> None:
    """Named twice, a group gives no role that stands later; blanks around names are no part of them."""
    staff, platform = Granted("demo", Role.VIEWER), Granted(None, Role.OPERATOR)
    found = oidc.parse_groups("staff = demo :viewer, staff=demo:owner,platform=operator,platform=demo:owner")
    assert found == {"staff": staff, "platform": platform}


@pytest.mark.parametrize("group", ["staff", "platform"])
def test_two_first_sign_ins_at_the_same_moment_add_one_user(state: State, group: str) -> None:
    """The other one is of the same user, or is asked to begin again; none fails."""
    state.organization("demo")
    ready = threading.Barrier(4)

    def come(_: int) -> Session | None:
        ready.wait()
        return arrive(state, group)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(come, range(4)))
    assert len({session.user_id for session in found if session is not None}) == 1
    assert len(users.list_users(state.db)) == 1


def test_another_person_with_an_address_that_is_taken_gets_no_access(state: State) -> None:
    """Also where the provider itself gave it to somebody before: what the earlier one had stays theirs."""
    state.organization("demo")
    assert arrive(state, "staff") is not None
    with pytest.raises(NoAccess, match=r"ada@sso\.example has an account here"):
        arrive(state, "staff", subject="2")
