"""Views that are saved for oneself or shared by a link: who opens them, until when, and what they keep."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from html import unescape
from threading import Barrier
from urllib.parse import parse_qs, parse_qsl

import pytest
from sqlalchemy import Engine, Table, insert, select
from tests import quick_users
from tests.server.api import Api, open_api
from tests.server.conftest import State, await_waiters
from tests.server.studio.conftest import MEMBER, OWNER, Visitors, make_visitors
from tests.server.studio.visitor import Visitor, add_user

from reelport.catalog import Grain, Metric
from reelport.errors import UsageError
from reelport.server.access import audit_log, organizations, people, sessions, users
from reelport.server.access.audit_log import Actor
from reelport.server.access.grants import Password
from reelport.server.access.roles import Reach
from reelport.server.access.sessions import Browser
from reelport.server.explore.view import View
from reelport.server.reports import removal, report_list
from reelport.server.settings import Settings
from reelport.server.state.database import writing
from reelport.server.state.tables import SAVED_VIEWS, SHARED_VIEWS
from reelport.server.studio import saved_and_shared
from reelport.server.studio.saved_and_shared import Opened

ANN, BEN = Actor("ann@demo.example", "192.0.2.1"), Actor("ben@demo.example", "192.0.2.1")
DAY = date(2026, 7, 1)
VIEW = View((Metric.VIEWS,), (), DAY, DAY, Metric.VIEWS, Grain.DAY)


def share(state: State, organization: int, days: int = 1, by: Actor = ANN) -> str:
    """The token of a new link; whoever shares is made a user first."""
    names = {each.id: each.name for each in organizations.list_organizations(state.db)}
    if by.name not in {each.email for each in users.list_users(state.db)}:
        quick_users.add_user(state.db, names[organization], by.name, "owner", "a long enough password", state.now)
    return saved_and_shared.share_view(
        state.db, state.service_secret, Reach(organization), by, "News", VIEW, days, state.now
    )


def opened(state: State, token: str) -> Opened | None:
    """What a link opens."""
    return saved_and_shared.open_shared_view(state.db, state.service_secret, token, "198.51.100.1", state.now)


def test_a_link_ends_when_its_time_is_over(state: State) -> None:
    """To the millisecond; it stays in the list for a month."""
    organization = state.organization("demo", "a")
    token = share(state, organization)
    state.now += timedelta(days=1, milliseconds=-1)
    found = opened(state, token)
    assert found is not None
    assert (found[0].organization, found[1]) == ("demo", frozenset({"a"}))
    assert dict(parse_qsl(found[0].parameters))["metric"] == "VIEWS"
    state.now += timedelta(milliseconds=1)
    assert opened(state, token) is None
    assert [each.opened for each in saved_and_shared.list_shared_views(state.db, Reach(organization), state.now)] == [1]
    state.now += timedelta(days=30)
    assert not saved_and_shared.list_shared_views(state.db, Reach(organization), state.now)


def test_a_revoked_link_opens_nothing(people: Api, visitors: Visitors) -> None:
    """Revoking twice is told once."""
    db, member = people.service.db, visitors(MEMBER)
    page = member.send(member.get(f"{FORM}?{ADDRESS}"), "/studio/shared", name="Revoked", days="7")
    link = re.search(r"/studio/shared/rpv_[^<\s]+", page.text)
    assert link
    listed = saved_and_shared.list_shared_views(db, Reach(1), datetime.now(UTC))
    found = next(each for each in listed if each.name == "Revoked")
    for _ in range(2):
        path = f"/studio/shared/{found.id}/revoke"
        assert member.client.post(path, data={"csrf": member.csrf}, follow_redirects=False).status_code == 303
    assert visitors(None).get(link[0]).status_code == 404
    told = [each.action for each in audit_log.list_actions(db, subject=found.id)]
    assert told == ["revoked a shared view", "shared a view"]


def test_a_link_ends_with_the_user_who_made_it(state: State) -> None:
    """Whoever removes: a command, or another owner in Studio. Links of others work on, and none comes back."""
    organization = state.organization("demo", "a")
    state.now = datetime.now(UTC)
    anns, bens = share(state, organization, 90), share(state, organization, 90, BEN)
    assert users.remove_user(state.db, "Ben@demo.example") == 1
    assert (opened(state, bens), opened(state, anns) is not None) == (None, True)
    assert audit_log.list_actions(state.db, action="removed a user")[0].details == {"ended_links": 1}
    again = share(state, organization, 90, BEN)
    assert opened(state, again)
    assert opened(state, bens) is None
    browser, given = Browser("192.0.2.1", "Firefox"), Password(ANN.name, "a long enough password")
    owner = sessions.begin_session(state.db, state.service_secret, given, browser, state.now)
    assert isinstance(owner, sessions.Session)
    ben = next(each.id for each in users.list_users(state.db) if each.email == BEN.name)
    people.remove_person(state.db, owner, ben, ANN, state.now)
    assert opened(state, again) is None
    assert opened(state, anns)


def test_a_removed_user_shares_nothing(state: State) -> None:
    """Who was signed in a moment ago can't leave a link behind."""
    organization = state.organization("demo", "a")
    share(state, organization)
    users.remove_user(state.db, ANN.name)
    with pytest.raises(UsageError, match="no user of this organization"):
        saved_and_shared.share_view(
            state.db, state.service_secret, Reach(organization), ANN, "News", VIEW, 1, state.now
        )


def test_a_link_that_is_shared_during_a_removal_ends_with_it(state: State) -> None:
    """Either it comes first and ends too, or it is not made: on PostgreSQL both would run beside each other."""
    organization = state.organization("demo", "a")
    state.now = datetime.now(UTC)
    share(state, organization)
    both = Barrier(2)

    def share_at_once() -> str | None:
        both.wait()
        try:
            return saved_and_shared.share_view(
                state.db, state.service_secret, Reach(organization), ANN, "News", VIEW, 1, state.now
            )
        except UsageError:
            return None

    with ThreadPoolExecutor(1) as pool:
        shared = pool.submit(share_at_once)
        both.wait()
        users.remove_user(state.db, ANN.name)
        token = shared.result()
    assert token is None or opened(state, token) is None


def test_a_withdrawn_channel_does_not_come_back_to_a_link(state: State) -> None:
    """Given again it is a new grant. A link that has no channel left ends."""
    organization = state.organization("demo", "a", "b")
    both = share(state, organization)
    assert removal.remove_channels(state.db, state.settings, "demo", ["b"], state.now).links == 0
    organizations.allow_channels(state.db, organization, ["b"])
    found = opened(state, both)
    assert found is not None
    assert found[1] == {"a"}
    assert removal.remove_channels(state.db, state.settings, "demo", ["a"], state.now).links == 1
    organizations.allow_channels(state.db, organization, ["a"])
    assert opened(state, both) is None


def test_every_opening_is_counted_and_one_a_minute_logged(state: State) -> None:
    """A page that is loaded all day long doesn't fill the log, and never vanishes from it."""
    organization = state.organization("demo", "a")
    token = share(state, organization)
    for _ in range(10):
        assert opened(state, token)
        state.now += timedelta(seconds=20)
    (view,) = saved_and_shared.list_shared_views(state.db, Reach(organization), state.now)
    assert view.opened == 10
    entries = [each for each in audit_log.list_actions(state.db) if each.action == "opened a shared view"]
    assert [each.details["opened"] for each in entries] == [10, 7, 4, 1]


def test_a_link_of_another_secret_opens_nothing(state: State) -> None:
    """The state holds a keyed hash: it can't be looked up by anything but the token itself."""
    share(state, state.organization("demo", "a"))
    assert opened(state, "rpv_nothing") is None
    assert opened(state, "") is None


def test_open_links_of_an_organization_are_bounded(state: State) -> None:
    """Ended ones don't count."""
    organization = state.organization("demo", "a")
    share(state, organization)
    copy_only_row(state.db, SHARED_VIEWS, saved_and_shared.MOST_LINKS - 2)
    share(state, organization)
    with pytest.raises(UsageError, match="200 links"):
        share(state, organization)
    state.now += timedelta(days=1)
    assert share(state, organization)


def copy_only_row(db: Engine, table: Table, count: int) -> None:
    """Copy the only row of a table so often, each under an id and a hash of its own."""
    with writing(db) as connection:
        (row,) = connection.execute(select(table)).mappings()
        own = {"id", "token_hash"} & row.keys()
        copies = [{**row, **dict.fromkeys(own, f"copy{number}")} for number in range(count)]
        connection.execute(insert(table), copies)


def test_an_id_that_no_database_holds_is_not_found(state: State) -> None:
    """An address may name anything, as %00: PostgreSQL refuses a NUL in a text."""
    organization, odd = state.organization("demo", "a"), "a\0b"
    with writing(state.db) as connection:
        assert saved_and_shared.find_view(connection, SHARED_VIEWS, Reach(organization), odd) is None
        assert saved_and_shared.find_view(connection, SAVED_VIEWS, Reach(organization), odd) is None
    assert report_list.find_listed_report(state.db, Reach(organization), odd, state.now) is None


def test_ended_links_do_not_pile_up(state: State) -> None:
    """Made and revoked in turn, only the newest 200 stay; another organization's are not touched."""
    organization, other = state.organization("demo", "a"), state.organization("rival", "b")
    share(state, other, by=BEN)
    with writing(state.db) as connection:
        (row,) = connection.execute(select(SHARED_VIEWS)).mappings()
        for owner in (organization, other):
            ended = {**row, "organization_id": owner, "revoked_at": state.now}
            rows = [{**ended, "id": f"{owner}-{place}", "token_hash": f"{owner}-{place}"} for place in range(300)]
            connection.execute(SHARED_VIEWS.insert(), rows)
    share(state, organization)
    for owner, kept in ((organization, 200), (other, 300)):
        listed = saved_and_shared.list_shared_views(state.db, Reach(owner), state.now)
        assert [each.is_open for each in listed].count(False) == kept


ADDRESS = "metric=VIEWS&by=VIDEO_ID&from=2026-07-01&to=2026-07-04&channelSlug=demo-news&compare=previous"
FORM, SAVED = "/studio/reports/new", "/studio/saved"


def save(visitor: Visitor, name: str) -> str:
    """Save the view under a name by the form of the page; gives the page that follows."""
    page = visitor.send(visitor.get(f"{FORM}?{ADDRESS}"), SAVED, name=name)
    assert page.status_code == 200
    return page.text


def id_of(api: Api, name: str) -> str:
    """The id of a saved view."""
    (found,) = (str(each.id) for each in saved_and_shared.list_saved_views(api.service.db, 1) if each.name == name)
    return found


def test_a_saved_view_keeps_all_of_its_address(people: Api, visitors: Visitors) -> None:
    """Its link is that of the view; the log tells who saved it; the others of the organization see it."""
    save(visitors(MEMBER), "Weekly news")
    entry = audit_log.list_actions(people.service.db)[0]
    assert (entry.actor.name, entry.action, entry.subject) == (MEMBER, "saved a view", "Weekly news")
    page = unescape(visitors(OWNER).get(SAVED).text)
    assert "Weekly news" in page
    assert "Views by day and video for demo-news, 1 to 4 July 2026" in page
    link = re.search(r'href="/studio/explore\?([^"]+)"', page)
    assert link
    assert parse_qs(link[1]) == parse_qs(ADDRESS)


def test_a_saved_range_moves_on_and_saved_days_stay(people: Api, visitors: Visitors) -> None:
    """As was chosen: the last 7 days are those of whenever the view is opened, also in a report of it."""
    visitor = visitors(MEMBER)
    page = visitor.get("/studio/explore?metric=VIEWS&by=VIDEO_ID&range=last-7-days")
    visitor.send(page, SAVED, name="Rolling")
    visitor.send(page, SAVED, name="Standing", range="")
    kept = {
        each.name: dict(parse_qsl(each.parameters)) for each in saved_and_shared.list_saved_views(people.service.db, 1)
    }
    yesterday = people.service_now().date() - timedelta(days=1)
    assert kept["Rolling"] == {"metric": "VIEWS", "by": "VIDEO_ID", "range": "last-7-days"}
    assert (kept["Standing"]["to"], "range" in kept["Standing"]) == (f"{yesterday}", False)
    listed = unescape(visitor.get(SAVED).text)
    link = re.search(r'href="([^"]+)" aria-label="Ask for Rolling as saved"', listed)
    assert link
    assert f'name="to" value="{yesterday}"' in visitor.get(link[1]).text


def test_names_are_shown_as_text(visitors: Visitors) -> None:
    """A name may hold what a page would take for elements, and can't turn the writing direction."""
    page = save(visitors(MEMBER), "<script>alert(1)</script>\u202eevil")
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; evil" in page


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "\u202e"])
def test_a_view_needs_a_name(visitors: Visitors, name: str) -> None:
    """An empty name and a very long one are refused with a sentence."""
    visitor = visitors(MEMBER)
    sent = visitor.send(visitor.get(f"{FORM}?{ADDRESS}"), SAVED, name=name)
    assert sent.status_code == 422
    assert "name" in sent.text


def test_a_wrong_view_is_not_saved_as_another(people: Api, visitors: Visitors) -> None:
    """What would be mended on a page is refused in a form."""
    visitor = visitors(MEMBER)
    sent = visitor.send(visitor.get(f"{FORM}?{ADDRESS}"), SAVED, name="Wrong", metric="VIEWZ")
    assert sent.status_code == 422
    assert "Wrong" not in [each.name for each in saved_and_shared.list_saved_views(people.service.db, 1)]


def test_a_view_is_deleted_by_whoever_saved_it_and_by_owners(people: Api, visitors: Visitors) -> None:
    """A member can't delete an owner's; an owner can delete a member's. The log tells of it."""
    owner, member = visitors(OWNER), visitors(MEMBER)
    save(owner, "The owner's")
    save(member, "The member's")
    path = f"{SAVED}/{id_of(people, 'The owner' + chr(39) + 's')}/delete"
    assert path not in member.get(SAVED).text
    assert member.client.post(path, data={"csrf": member.csrf}).status_code == 403
    path = f"{SAVED}/{id_of(people, 'The member' + chr(39) + 's')}/delete"
    assert "The member&#39;s" not in owner.send(owner.get(SAVED), path).text
    assert owner.client.post(path, data={"csrf": owner.csrf}).status_code == 404
    entry = audit_log.list_actions(people.service.db)[0]
    assert (entry.actor.name, entry.action, entry.subject) == (OWNER, "deleted a view", "The member's")


def test_a_foreign_view_is_not_found(people: Api, visitors: Visitors, rival: str) -> None:
    """Another organization's people neither see nor delete it."""
    save(visitors(OWNER), "Kept")
    stranger = visitors(rival)
    assert "Kept" not in stranger.get(SAVED).text
    path = f"{SAVED}/{id_of(people, 'Kept')}/delete"
    assert stranger.client.post(path, data={"csrf": stranger.csrf}).status_code == 404
    assert id_of(people, "Kept")


def test_a_view_is_kept_in_a_folder_and_pinned_to_the_overview(people: Api, visitors: Visitors) -> None:
    """Everybody of the organization sees where it is; whoever saved it, or an owner, places it."""
    member, owner = visitors(MEMBER), visitors(OWNER)
    page = member.send(member.get(f"{FORM}?{ADDRESS}"), SAVED, name="Placed", folder=" Sales\nteam ")
    assert re.search(r"<h2><bdi>Sales team</bdi></h2>(?s:.)*Placed", page.text)
    path = f"{SAVED}/{id_of(people, 'Placed')}/place"
    page = owner.send(owner.get(SAVED), path, folder="Owners", pinned="yes")
    assert page.status_code == 200
    assert "on the overview" in page.text
    entry = audit_log.list_actions(people.service.db)[0]
    assert (entry.actor.name, entry.subject) == (OWNER, "Placed")
    assert entry.details == {"folder": "Owners", "pinned": True}
    (found,) = (each for each in saved_and_shared.list_saved_views(people.service.db, 1) if each.name == "Placed")
    assert (found.folder, found.pinned_at is not None) == ("Owners", True)
    assert re.search(r'id="pinned">(?s:.)*>Placed<', member.get("/studio/overview").text)
    owner.send(owner.get(SAVED), path, folder="", pinned=[])
    assert ">Placed<" not in member.get("/studio/overview").text
    (found,) = (each for each in saved_and_shared.list_saved_views(people.service.db, 1) if each.name == "Placed")
    assert (found.folder, found.pinned_at is not None) == ("", False)


def test_nobody_places_a_view_of_others(people: Api, rival: str, visitors: Visitors) -> None:
    """A member places no view of an owner; to another organization there is none."""
    save(visitors(OWNER), "The owner's own")
    path = f"{SAVED}/{id_of(people, 'The owner' + chr(39) + 's own')}/place"
    for email, status in ((MEMBER, 403), (rival, 404)):
        visitor = visitors(email)
        assert path not in visitor.get(SAVED).text
        answer = visitor.client.post(path, data={"csrf": visitor.csrf, "pinned": "yes"})
        assert answer.status_code == status


def test_so_many_views_are_saved(settings: Settings) -> None:
    """One more is refused with what to do, in the language of the page, until one is deleted."""
    with open_api(settings) as api:
        add_user(api.service, OWNER)
        for visitors in make_visitors(api.client):
            owner, page = visitors(OWNER), f"{FORM}?{ADDRESS}"
            save(owner, "First")
            copy_only_row(api.service.db, SAVED_VIEWS, 498)
            save(owner, "Last")
            refused = owner.send(owner.get(page), SAVED, name="One more")
            assert refused.status_code == 422
            assert "500 views are saved already: delete some that nobody needs." in refused.text
            owner.client.headers["Accept-Language"] = "fr"
            assert "500 vues sont déjà enregistrées" in owner.send(owner.get(page), SAVED, name="One more").text
            owner.send(owner.get(SAVED), f"{SAVED}/{id_of(api, 'Last')}/delete")
            save(owner, "One more")


def test_so_many_views_are_pinned(people: Api, visitors: Visitors) -> None:
    """One more is refused with what to do; one that is pinned already stays so in another folder."""
    visitor = visitors(MEMBER)
    for number in range(9):
        save(visitor, f"Pin {number}")
        page = visitor.send(visitor.get(SAVED), f"{SAVED}/{id_of(people, f'Pin {number}')}/place", pinned="yes")
        assert page.status_code == (200 if number < 8 else 422)
    assert "8 views are pinned already: take another one off" in page.text
    again = visitor.send(visitor.get(SAVED), f"{SAVED}/{id_of(people, 'Pin 0')}/place", folder="x", pinned="yes")
    assert again.status_code == 200


def test_views_that_are_pinned_at_the_same_moment_are_no_more(settings: Settings) -> None:
    """Each page is answered after the one before has pinned its own."""
    with open_api(settings) as api:
        add_user(api.service, OWNER)
        for visitors in make_visitors(api.client):
            owner = visitors(OWNER)
            for number in range(10):
                save(owner, f"Pin {number}")
            paths = [f"{SAVED}/{id_of(api, f'Pin {number}')}/place" for number in range(10)]
            form = {"csrf": owner.csrf, "pinned": "yes"}
            with ThreadPoolExecutor(10) as pool:
                with writing(api.service.db) as connection:
                    connection.execute(select(SAVED_VIEWS).with_for_update()).all()
                    placing = [pool.submit(owner.client.post, path, data=form) for path in paths]
                    await_waiters(api.service.db, 10)
                statuses = [each.result().status_code for each in placing]
    assert sorted(statuses) == [200] * 8 + [422] * 2
