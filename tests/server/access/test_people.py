"""What owners do to the people of their organization, also at the same moment; on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from threading import Barrier

import pytest
from tests import quick_users
from tests.server.conftest import State

from reelport.catalog import Grain, Metric, Scope
from reelport.errors import UsageError
from reelport.server.access import (
    audit_log,
    callers,
    grants,
    keys,
    organizations,
    password_links,
    people,
    sessions,
    users,
)
from reelport.server.access.audit_log import Actor
from reelport.server.access.callers import REPORT_SCOPES, Caller
from reelport.server.access.grants import ClientCredentials, Grant, Password, Terms
from reelport.server.access.people import LAST_OWNER, AddressTaken, NoOwner, NoPerson
from reelport.server.access.roles import Reach, Role
from reelport.server.access.sessions import Browser, Session
from reelport.server.explore.view import View
from reelport.server.state.database import reading
from reelport.server.studio import saved_and_shared

PASSWORD = "correct horse battery"  # noqa: S105 - of a test
ANN, BEN, EVE = "ann@demo.example", "ben@demo.example", "eve@rival.example"
ACTOR = Actor(ANN, "192.0.2.1")


@pytest.fixture
def owner(state: State) -> Session:
    """A session of the only owner of `demo`; `rival` has one too."""
    state.organization("demo")
    state.organization("rival")
    add(state, ANN, "owner")
    add(state, EVE, "owner", "rival")
    return sign_in(state, ANN)


def add(state: State, email: str, role: str, organization: str = "demo") -> str:
    """Add a user with a password: its id."""
    return quick_users.add_user(state.db, organization, email, role, PASSWORD, state.now).id


def sign_in(state: State, email: str) -> Session:
    """A session of that user."""
    given = Password(email, PASSWORD)
    session = sessions.begin_session(state.db, state.service_secret, given, Browser("", "Firefox"), state.now)
    assert isinstance(session, Session)
    return session


def roles(state: State, organization: str = "demo") -> dict[str, Role]:
    """Everybody's role."""
    return {each.email: each.role for each in users.list_users(state.db, organization)}


def test_a_person_is_added_with_a_link_and_without_a_password(state: State, owner: Session) -> None:
    """The link sets the password; the list says what is missing until then."""
    link = people.add_person(state.db, state.service_secret, owner, " Ben@Demo.example", "analyst", ACTOR, state.now)
    assert link.email == BEN
    ben = people.list_people(state.db, owner.organization_id or 0, state.now)[1]
    assert (ben.email, ben.role, ben.has_password, ben.link_until) == (BEN, Role.ANALYST, False, link.expires_at)
    set_ = password_links.set_password(state.db, state.service_secret, link.token, PASSWORD, "", state.now)
    assert set_ is not None
    sign_in(state, BEN)
    ben = people.list_people(state.db, owner.organization_id or 0, state.now)[1]
    assert (ben.has_password, ben.link_until, ben.sessions, ben.signed_in_at) == (True, None, 1, state.now)


def test_everything_that_is_wrong_with_a_new_person_is_said_at_once(state: State, owner: Session) -> None:
    """An owner makes no operators."""
    with pytest.raises(UsageError) as refused:
        people.add_person(state.db, state.service_secret, owner, "nobody", "operator", ACTOR, state.now)
    assert len(str(refused.value).splitlines()) == 2


def test_an_owner_does_not_learn_where_an_address_is_taken(state: State, owner: Session) -> None:
    """Another organization's user and the platform's operator are refused by the same sentence, and it is logged."""
    quick_users.add_user(state.db, None, "olga@platform.example", "operator", PASSWORD, state.now)
    said = set()
    for email in (EVE, "olga@platform.example"):
        with pytest.raises(AddressTaken) as refused:
            people.add_person(state.db, state.service_secret, owner, email, "analyst", ACTOR, state.now)
        said.add(str(refused.value).replace(email, "X"))
        told = audit_log.list_actions(state.db, organization_id=owner.organization_id)[0]
        assert (told.action, told.subject) == ("failed to add a user", email)
    assert len(said) == 1
    assert "rival" not in said.pop()
    assert set(roles(state)) == {ANN}


def test_who_is_in_the_organization_already_is_said(state: State, owner: Session) -> None:
    """The owner sees that user in the list anyway."""
    with pytest.raises(UsageError, match=r"ann@demo\.example is a user of demo already"):
        people.add_person(state.db, state.service_secret, owner, ANN, "analyst", ACTOR, state.now)


def test_the_last_owner_can_neither_be_demoted_nor_removed(state: State, owner: Session) -> None:
    """An owner who has set no password yet doesn't count: nobody could sign in."""
    people.add_person(state.db, state.service_secret, owner, BEN, "owner", ACTOR, state.now)
    with pytest.raises(UsageError, match=LAST_OWNER):
        people.change_role(state.db, owner, owner.user_id, "analyst", ACTOR, state.now)
    with pytest.raises(UsageError, match=LAST_OWNER):
        people.remove_person(state.db, owner, owner.user_id, ACTOR, state.now)
    assert roles(state) == {ANN: Role.OWNER, BEN: Role.OWNER}


@pytest.mark.parametrize("how", ["demote", "remove", "leave"])
def test_two_owners_at_the_same_moment_leave_one(state: State, owner: Session, how: str) -> None:
    """Each demotes or removes the other, or goes: one of both is done, whoever comes first."""
    add(state, BEN, "owner")
    other = sign_in(state, BEN)
    together = Barrier(2)

    def act(session: Session, target: Session) -> bool:
        actor = replace(ACTOR, name=session.email)
        together.wait()
        try:
            if how == "demote":
                people.change_role(state.db, session, target.user_id, "analyst", actor, state.now)
            else:
                people.remove_person(state.db, session, target.user_id, actor, state.now)
        except UsageError:
            return False
        return True

    pairs = [(owner, owner), (other, other)] if how == "leave" else [(owner, other), (other, owner)]
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda pair: act(*pair), pairs))
    assert sorted(done) == [False, True]
    assert list(roles(state).values()).count(Role.OWNER) == 1


def test_a_demoted_owners_session_goes_on_as_a_members(state: State, owner: Session) -> None:
    """The role is read with each request: the rights of an owner are lost at once."""
    ben = add(state, BEN, "owner")
    session = sign_in(state, BEN)
    people.change_role(state.db, owner, ben, "analyst", ACTOR, state.now)
    found = sessions.find_session(state.db, state.service_secret, session.token, state.now)
    assert found is not None
    assert found.role is Role.ANALYST


CHANGES: dict[str, Callable[[State, Session, str], object]] = {
    "add": lambda state, by, _: people.add_person(
        state.db, state.service_secret, by, "new@demo.example", "owner", ACTOR, state.now
    ),
    "link": lambda state, by, id_: people.make_password_link(state.db, state.service_secret, by, id_, ACTOR, state.now),
    "role": lambda state, by, id_: people.change_role(state.db, by, id_, "owner", ACTOR, state.now),
    "remove": lambda state, by, id_: people.remove_person(state.db, by, id_, ACTOR, state.now),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whoever_is_no_owner_any_more_changes_nothing(state: State, owner: Session, change: str) -> None:
    """A request that was let in while its user was demoted is refused when it is done."""
    ben, mia = add(state, BEN, "owner"), add(state, "mia@demo.example", "analyst")
    session = sign_in(state, BEN)
    people.change_role(state.db, owner, ben, "analyst", ACTOR, state.now)
    before = roles(state)
    with pytest.raises(NoOwner):
        CHANGES[change](state, session, mia)
    assert roles(state) == before


@pytest.mark.parametrize("change", ["link", "role", "remove"])
def test_people_of_others_are_not_found(state: State, owner: Session, change: str) -> None:
    """An id of another organization's user, and one that nobody has, are answered alike."""
    eve = next(each.id for each in users.list_users(state.db, "rival"))
    for id_ in (eve, "rpu_nobody", "", "\0", "é\ud800"):
        with pytest.raises(NoPerson):
            CHANGES[change](state, owner, id_)
    assert roles(state, "rival") == {EVE: Role.OWNER}


def test_a_removed_person_is_out_everywhere(state: State, owner: Session) -> None:
    """The session ends with the user, and the log tells by whom."""
    ben = add(state, BEN, "analyst")
    session = sign_in(state, BEN)
    people.remove_person(state.db, owner, ben, ACTOR, state.now)
    assert sessions.find_session(state.db, state.service_secret, session.token, state.now) is None
    told = audit_log.list_actions(state.db, organization_id=owner.organization_id)[0]
    assert (told.action, told.subject, told.actor) == ("removed a user", BEN, ACTOR)


def test_a_link_for_somebody_who_forgot_leaves_the_old_password(state: State, owner: Session) -> None:
    """Until it is used: nobody is locked out by a link that was lost."""
    add(state, BEN, "analyst")
    ben = next(each.id for each in users.list_users(state.db, "demo") if each.email == BEN)
    link = people.make_password_link(state.db, state.service_secret, owner, ben, ACTOR, state.now)
    assert link.email == BEN
    sign_in(state, BEN)
    told = audit_log.list_actions(state.db, organization_id=owner.organization_id)[1]
    assert (told.action, told.subject) == ("made a link to set a password", BEN)


def test_limits_hold_for_programs_with_a_persons_password_too(state: State, owner: Session) -> None:
    """By a public key a person gets no scope and no channel beyond the own ones, and loses them at once."""
    ben = add(state, BEN, "analyst")
    organizations.allow_channels(state.db, owner.organization_id or 0, ["c1", "c2"])
    key = keys.create_key(state.db, state.service_secret, "demo", REPORT_SCOPES, state.now, kind="public")
    client, password = ClientCredentials(key.id, key.secret), Password(BEN, PASSWORD)
    terms = Terms(3600, timedelta(days=1))

    def get_token() -> Grant:
        found = grants.grant_by_password(state.db, state.service_secret, client, password, (), state.now, terms)
        assert isinstance(found, Grant)
        return found

    def look(granted: Grant) -> Caller:
        found = state.identify(granted.token)
        assert found is not None
        return found

    before = get_token()
    assert look(before).channels == {"c1", "c2"}
    wide = look(before)
    people.limit_channels(state.db, owner, ben, ["c2"], ACTOR, state.now)
    people.change_role(state.db, owner, ben, "viewer-without-revenue", ACTOR, state.now)
    for granted in (before, get_token()):
        caller = look(granted)
        assert caller.channels == {"c2"}
        assert not caller.scopes & {Scope.ACCESS_REVENUE, Scope.CREATE_REPORTS, Scope.MANAGE_REPORTS}
        assert Scope.READ_REPORTS in caller.scopes
    assert not {"access_revenue", "create_reports"} & set(get_token().scopes)
    with reading(state.db) as connection:
        assert not callers.is_still_allowed(connection, wide, state.now)


def test_links_of_somebody_follow_the_limits(state: State, owner: Session) -> None:
    """They show fewer channels, end with the last one, and with a role that doesn't share."""
    organization = owner.organization_id or 0
    organizations.allow_channels(state.db, organization, ["c1", "c2"])
    ben = add(state, BEN, "analyst")
    actor, reach = replace(ACTOR, name=BEN), Reach(organization)
    day = date(2026, 1, 1)
    view = View((Metric.VIEWS,), (), day, day, Metric.VIEWS, Grain.DAY)

    def share(within: Reach) -> str:
        return saved_and_shared.share_view(state.db, state.service_secret, within, actor, "News", view, 7, state.now)

    def show(token: str) -> set[str] | None:
        found = saved_and_shared.open_shared_view(state.db, state.service_secret, token, "192.0.2.9", state.now)
        return None if found is None else set(found[1])

    wide, narrow = share(reach), share(replace(reach, channels=frozenset({"c1"})))
    assert (show(wide), show(narrow)) == ({"c1", "c2"}, {"c1"})
    people.limit_channels(state.db, owner, ben, ["c2"], ACTOR, state.now)
    assert (show(wide), show(narrow)) == ({"c2"}, None)
    people.limit_channels(state.db, owner, ben, None, ACTOR, state.now)
    assert show(wide) == {"c2"}, "what was withdrawn doesn't come back"
    people.change_role(state.db, owner, ben, "viewer", ACTOR, state.now)
    assert show(wide) is None


def test_a_view_is_shared_within_the_limits_of_that_moment(state: State, owner: Session) -> None:
    """Not within those of when its form was sent: its link would outlive a limit that an owner has just set."""
    organization = owner.organization_id or 0
    organizations.allow_channels(state.db, organization, ["c1", "c2"])
    ben = add(state, BEN, "analyst")
    before, day = Reach(organization), date(2026, 1, 1)
    view = View((Metric.VIEWS,), (), day, day, Metric.VIEWS, Grain.DAY)

    def share() -> str:
        actor = replace(ACTOR, name=BEN)
        return saved_and_shared.share_view(state.db, state.service_secret, before, actor, "News", view, 7, state.now)

    people.limit_channels(state.db, owner, ben, ["c1"], ACTOR, state.now)
    found = saved_and_shared.open_shared_view(state.db, state.service_secret, share(), "192.0.2.9", state.now)
    assert found is not None
    assert found[1] == {"c1"}
    people.change_role(state.db, owner, ben, "viewer-without-revenue", ACTOR, state.now)
    with pytest.raises(UsageError, match="role"):
        share()


def test_an_owner_is_never_limited(state: State, owner: Session) -> None:
    """Whoever manages people could widen the own limits: an owner's are taken away, and none are set."""
    organizations.allow_channels(state.db, owner.organization_id or 0, ["c1"])
    ben = add(state, BEN, "viewer")
    people.limit_channels(state.db, owner, ben, ["c1"], ACTOR, state.now)
    people.change_role(state.db, owner, ben, "owner", ACTOR, state.now)
    found = next(each for each in people.list_people(state.db, owner.organization_id or 0, state.now) if each.id == ben)
    assert found.channels is None
    with pytest.raises(UsageError, match="An owner sees every channel"):
        people.limit_channels(state.db, owner, ben, ["c1"], ACTOR, state.now)
    mia = add(state, "mia@demo.example", "viewer")
    for channels, said in (([], "Choose a channel"), (["c9"], "can't read the channel c9")):
        with pytest.raises(UsageError, match=said):
            people.limit_channels(state.db, owner, mia, channels, ACTOR, state.now)
