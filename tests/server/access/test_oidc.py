"""People whom an OpenID Connect provider signs in, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.server.conftest import State

from reelport.server.access import audit_log, oidc, users
from reelport.server.access.audit_log import Action
from reelport.server.access.oidc import Granted, Identity, NoAccess, Provider
from reelport.server.access.roles import Role
from reelport.server.access.sessions import Browser, Session, find_session

GROUPS = "heads=demo:owner, staff=demo:analyst, platform=operator"


def arrive(state: State, *groups: str, subject: str = "1", email: str = "ada@sso.example") -> Session | None:
    """Sign somebody in whom the provider has signed in."""
    provider = Provider("https://sso.example", "reelport", oidc.parse_groups(GROUPS), "", state.service_secret)
    identity, life = Identity(subject, email, frozenset(groups)), timedelta(hours=12)
    found = oidc.begin_session(
        state.db, state.service_secret, provider, identity, Browser("192.0.2.1", ""), state.now, life
    )
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
