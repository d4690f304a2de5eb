"""The page of people: adding, links, roles, removing, as owners and as others do it."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest
from tests.cases import thin_out
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OPERATOR, OWNER, Visitors
from tests.server.studio.visitor import add_user, guess_until_refused

from reelport.server.access import organizations, users

PEOPLE = "/studio/people"


def find_id(people: Api, email: str) -> str:
    """A user's id."""
    return next(each.id for each in users.list_users(people.service.db) if each.email == email)


@pytest.mark.parametrize(
    "email",
    thin_out(
        ["", "nobody", "a\0@b", "x" * 5000, "<script>@b", "ann@demo.example\u202e", "é" * 70 + "@b", "a@b,c@d"], 3
    ),
)
def test_what_is_no_address_is_refused_with_a_sentence(visitors: Visitors, email: str) -> None:
    """The page comes again with what was typed, as text."""
    owner = visitors(OWNER)
    page = owner.send(owner.get(PEOPLE), PEOPLE, email=email, role="analyst")
    assert page.status_code == 400
    assert "is no e-mail address" in page.text
    assert "<script>@" not in page.text


def test_a_role_that_is_no_owners_to_give_is_refused(visitors: Visitors, people: Api) -> None:
    """Nobody becomes an operator by a form."""
    owner = visitors(OWNER)
    page = owner.send(owner.get(PEOPLE), PEOPLE, email="boss@demo.example", role="operator")
    assert page.status_code == 400
    path = f"{PEOPLE}/{find_id(people, MEMBER)}/role"
    assert owner.send(owner.get(PEOPLE), path, role="operator").status_code == 422
    assert {each.email: each.role for each in users.list_users(people.service.db)}[MEMBER] == "analyst"


def test_addresses_of_others_are_refused_alike_and_few_times(visitors: Visitors, people: Api) -> None:
    """An owner can't sweep a list of addresses to learn who uses the service."""
    organizations.add_organization(people.service.db, "rival", datetime.now(UTC))
    add_user(people.service, "eve@rival.example", "owner", "rival")
    owner = visitors(OWNER)
    answers: list[httpx2.Response] = []

    def invite(email: str = "eve@rival.example") -> int:
        answers.append(owner.send(owner.get(PEOPLE), PEOPLE, email=email, role="analyst"))
        return answers[-1].status_code

    assert [invite(), invite(OPERATOR)] == [400, 400]
    assert guess_until_refused(invite)[-1] == 429
    said = [page.text.partition('role="alert">')[2].partition("</div>")[0] for page in answers[:2]]
    assert said[0].replace("eve@rival.example", "X") == said[1].replace(OPERATOR, "X")
    assert "rival</" not in said[0]
    assert [page.status_code for page in answers[:10]] == [400] * 10


def test_a_changed_role_counts_at_once_in_every_session(visitors: Visitors, people: Api) -> None:
    """A member who becomes an owner manages people, and no longer after that, without signing in again."""
    add_user(people.service, "lee@demo.example", "analyst")
    owner, lee = visitors(OWNER), visitors("lee@demo.example")
    path = f"{PEOPLE}/{find_id(people, 'lee@demo.example')}/role"
    assert lee.get(PEOPLE).status_code == 403
    assert "The role is changed" in owner.send(owner.get(PEOPLE), path, role="owner").text
    page = lee.get(PEOPLE)
    assert page.status_code == 200
    owner.send(owner.get(PEOPLE), path, role="analyst")
    assert lee.get(PEOPLE).status_code == 403
    assert lee.send(page, PEOPLE, email="friend@demo.example", role="owner").status_code == 403


def test_removing_asks_first_and_ends_every_session(visitors: Visitors, people: Api) -> None:
    """The question stands on the page of people."""
    add_user(people.service, "gone@demo.example", "analyst")
    owner, gone = visitors(OWNER), visitors("gone@demo.example")
    path = f"{PEOPLE}/{find_id(people, 'gone@demo.example')}/remove"
    asks = owner.get(PEOPLE)
    assert "Remove <bdi>gone@demo.example</bdi>?" in asks.text
    assert gone.get("/studio/account").url.path == "/studio/account"
    assert "That person is removed" in owner.send(asks, path).text
    assert gone.get("/studio/account").url.path == "/studio/sign-in"
    assert path not in owner.get(PEOPLE).text
    assert owner.send(asks, path).status_code == 404


def test_the_last_owner_stays(visitors: Visitors, people: Api) -> None:
    """Neither of both forms lets the only owner go; each says what to do first."""
    owner = visitors(OWNER)
    own = f"{PEOPLE}/{find_id(people, OWNER)}"
    for page in (
        owner.send(owner.get(PEOPLE), f"{own}/role", role="analyst"),
        owner.send(owner.get(PEOPLE), f"{own}/remove"),
    ):
        assert page.status_code == 422
        assert "make somebody else an owner first" in page.text
    assert owner.get(PEOPLE).status_code == 200


@pytest.mark.parametrize("action", ["remove", "role", "password"])
def test_ids_of_other_organizations_are_not_found(visitors: Visitors, people: Api, action: str) -> None:
    """Nor is the operator's."""
    owner = visitors(OWNER)
    csrf = {"csrf": owner.csrf, "role": "analyst"}
    for id_ in (find_id(people, OPERATOR), "rpu_nobody", "%00", "%ff"):
        assert owner.client.post(f"{PEOPLE}/{id_}/{action}", data=csrf).status_code == 404
    assert visitors(OPERATOR).get("/studio/account").url.path == "/studio/account"


def test_a_member_sees_no_people(visitors: Visitors) -> None:
    """Neither in the menu nor by the address."""
    member = visitors(MEMBER)
    assert member.get(PEOPLE).status_code == 403
    assert PEOPLE not in member.get("/studio/account").text


def test_an_owner_who_steps_down_or_leaves_is_told_so(visitors: Visitors, people: Api) -> None:
    """Neither ends on a page that is refused: the one sees the own account, the other the sign-in."""
    emails = ("step@demo.example", "leave@demo.example")
    for email in emails:
        add_user(people.service, email, "owner")
    steps, leaves = map(visitors, emails)
    role = f"{PEOPLE}/{find_id(people, emails[0])}/role"
    assert "Your role is changed" in steps.send(steps.get(PEOPLE), role, role="analyst").text
    remove = f"{PEOPLE}/{find_id(people, emails[1])}/remove"
    left = leaves.send(leaves.get(PEOPLE), remove)
    assert str(left.url).endswith("/studio/sign-in")
    assert "reelport-session" not in leaves.client.cookies


def test_a_form_of_another_page_changes_nobody(visitors: Visitors, people: Api) -> None:
    """A form without this session's token, or sent by another site's page, changes nobody."""
    owner, other = visitors(OWNER), visitors(OWNER)
    before = users.list_users(people.service.db)
    id_ = find_id(people, MEMBER)
    for path in (PEOPLE, *(f"{PEOPLE}/{id_}/{action}" for action in ("password", "role", "remove"))):
        given = {"email": "new@demo.example", "role": "owner"}
        for csrf, headers in (("", {}), (other.csrf, {}), (owner.csrf, {"Sec-Fetch-Site": "cross-site"})):
            answer = owner.client.post(path, data={**given, "csrf": csrf}, headers=headers)
            assert answer.status_code == 403
    assert users.list_users(people.service.db) == before
