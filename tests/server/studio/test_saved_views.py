"""Saved views: their page, and who may change them."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, parse_qsl

import pytest
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OWNER, Visitors
from tests.server.studio.visitor import Visitor

from reelport.server.access import audit_log
from reelport.server.studio import kept_views

VIEW = "metric=VIEWS&by=VIDEO_ID&from=2026-07-01&to=2026-07-04&channelSlug=demo-news&compare=previous"
FORM, SAVED = "/studio/reports/new", "/studio/saved"


def save(visitor: Visitor, name: str) -> str:
    """Save the view under a name by the form of the page; gives the page that follows."""
    page = visitor.send(visitor.get(f"{FORM}?{VIEW}"), SAVED, name=name)
    assert page.status_code == 200
    return page.text


def id_of(api: Api, name: str) -> str:
    """The id of a saved view."""
    (found,) = (str(each.id) for each in kept_views.list_saved_views(api.service.db, 1) if each.name == name)
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
    assert parse_qs(link[1]) == parse_qs(VIEW)


def test_a_saved_range_moves_on_and_saved_days_stay(people: Api, visitors: Visitors) -> None:
    """As was chosen: the last 7 days are those of whenever the view is opened, also in a report of it."""
    visitor = visitors(MEMBER)
    page = visitor.get("/studio/explore?metric=VIEWS&by=VIDEO_ID&range=last-7-days")
    visitor.send(page, SAVED, name="Rolling")
    visitor.send(page, SAVED, name="Standing", range="")
    kept = {each.name: dict(parse_qsl(each.parameters)) for each in kept_views.list_saved_views(people.service.db, 1)}
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
    sent = visitor.send(visitor.get(f"{FORM}?{VIEW}"), SAVED, name=name)
    assert sent.status_code == 422
    assert "name" in sent.text


def test_a_wrong_view_is_not_saved_as_another(people: Api, visitors: Visitors) -> None:
    """What would be mended on a page is refused in a form."""
    visitor = visitors(MEMBER)
    sent = visitor.send(visitor.get(f"{FORM}?{VIEW}"), SAVED, name="Wrong", metric="VIEWZ")
    assert sent.status_code == 422
    assert "Wrong" not in [each.name for each in kept_views.list_saved_views(people.service.db, 1)]


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
    page = member.send(member.get(f"{FORM}?{VIEW}"), SAVED, name="Placed", folder=" Sales\nteam ")
    assert re.search(r"<h2><bdi>Sales team</bdi></h2>(?s:.)*Placed", page.text)
    path = f"{SAVED}/{id_of(people, 'Placed')}/place"
    page = owner.send(owner.get(SAVED), path, folder="Owners", pinned="yes")
    assert page.status_code == 200
    assert "on the overview" in page.text
    entry = audit_log.list_actions(people.service.db)[0]
    assert (entry.actor.name, entry.subject) == (OWNER, "Placed")
    assert entry.details == {"folder": "Owners", "pinned": True}
    (found,) = (each for each in kept_views.list_saved_views(people.service.db, 1) if each.name == "Placed")
    assert (found.folder, found.pinned_at is not None) == ("Owners", True)
    assert re.search(r'id="pinned">(?s:.)*>Placed<', member.get("/studio/overview").text)
    owner.send(owner.get(SAVED), path, folder="", pinned=[])
    assert ">Placed<" not in member.get("/studio/overview").text
    (found,) = (each for each in kept_views.list_saved_views(people.service.db, 1) if each.name == "Placed")
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
