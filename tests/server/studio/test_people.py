"""People of an organization, and the page of one's own account: password, sessions, signing out everywhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx2
import pytest
from tests.cases import thin_out
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OPERATOR, OWNER, Visitors
from tests.server.studio.visitor import PASSWORD, Visitor, add_user, find_forms, guess_until_refused

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


ACCOUNT = "/studio/account"
ENDS = re.compile(rf"{ACCOUNT}/sessions/\w+/end")


def is_in(visitor: Visitor) -> bool:
    """Whether a browser is signed in."""
    return visitor.get(ACCOUNT).url.path == ACCOUNT


def change(visitor: Visitor, current: str, new: str, again: str | None = None) -> tuple[int, str]:
    """Send the form for another password: status and page."""
    page = visitor.send(
        visitor.get(ACCOUNT), f"{ACCOUNT}/password", current=current, new=new, again=new if again is None else again
    )
    return page.status_code, page.text


def test_a_changed_password_ends_every_other_session(visitors: Visitors, people: Api) -> None:
    """This browser goes on, and says that it is done."""
    add_user(people.service, "pat@demo.example", "analyst")
    visitor, other = visitors("pat@demo.example"), visitors("pat@demo.example")
    status, text = change(visitor, PASSWORD, "pats second password")
    assert (status, "The password is changed" in text) == (200, True)
    assert is_in(visitor)
    assert not is_in(other)
    assert other.sign_in("pat@demo.example", "pats second password").status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "again", "said"),
    thin_out(
        [
            ("not the password", "a second password", None, "The current password is wrong"),
            (PASSWORD, "short", None, "12 to 1,000 characters"),
            (PASSWORD, "a second password", "a third password", "The two new passwords differ"),
            (PASSWORD, "zero\0zero\0zero", None, "printable characters alone"),
            ("", "", "", "12 to 1,000 characters"),
        ],
        2,
    ),
)
def test_a_password_that_is_refused_changes_nothing(
    visitors: Visitors, people: Api, current: str, new: str, again: str | None, said: str
) -> None:
    """The page says why, and shows no password again."""
    email = f"sam{len(users.list_users(people.service.db))}@demo.example"
    add_user(people.service, email, "analyst")
    visitor, other = visitors(email), visitors(email)
    status, text = change(visitor, current, new, again)
    assert (status, said in text) == (400, True)
    assert "a second password" not in text
    assert is_in(other)


def test_guesses_of_the_current_password_are_slowed_down(visitors: Visitors, people: Api) -> None:
    """As those at the sign-in: an open browser is no way around it."""
    add_user(people.service, "max@demo.example", "analyst")
    visitor = visitors("max@demo.example")
    answers = guess_until_refused(lambda: change(visitor, "a wrong password", "a second password")[0])
    assert answers[:10] == [400] * 10
    assert answers[-1] == 429


def test_one_session_is_ended_by_another(visitors: Visitors, people: Api) -> None:
    """The list shows every browser; the one that asks has no button, but signs out."""
    add_user(people.service, "two@demo.example", "analyst")
    visitor, other = visitors("two@demo.example"), visitors("two@demo.example")
    page = visitor.get(ACCOUNT)
    ends = {form.action for form in find_forms(page.text) if ENDS.fullmatch(form.action)}
    assert len(ends) == 1
    done = visitor.send(page, ends.pop())
    assert "That browser is signed out" in done.text
    assert is_in(visitor)
    assert not is_in(other)


def test_sessions_of_others_are_not_found(visitors: Visitors) -> None:
    """The id of somebody else's session ends nothing."""
    first, second, mine = visitors(MEMBER), visitors(MEMBER), visitors(OWNER)
    theirs = next(form.action for form in find_forms(first.get(ACCOUNT).text) if ENDS.fullmatch(form.action))
    for path in (theirs, f"{ACCOUNT}/sessions/%00/end", f"{ACCOUNT}/sessions/none/end"):
        assert mine.client.post(path, data={"csrf": mine.csrf}).status_code == 404
    assert is_in(first)
    assert is_in(second)


def test_signing_out_everywhere_ends_all_sessions(visitors: Visitors, people: Api) -> None:
    """This one too: the browser forgets its cookie and shows the sign-in."""
    add_user(people.service, "all@demo.example", "analyst")
    visitor, other = visitors("all@demo.example"), visitors("all@demo.example")
    left = visitor.send(visitor.get(ACCOUNT), f"{ACCOUNT}/sign-out-everywhere")
    assert left.url.path == "/studio/sign-in"
    assert "reelport-session" not in visitor.client.cookies
    assert not is_in(other)


@pytest.mark.parametrize("path", ["password", "sign-out-everywhere", "sessions/x/end"])
def test_forms_of_other_pages_change_nothing(visitors: Visitors, path: str) -> None:
    """Without the session's token, and from another site, nothing is done."""
    visitor = visitors(MEMBER)
    assert visitor.client.post(f"{ACCOUNT}/{path}", data={}).status_code == 403
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert visitor.client.post(f"{ACCOUNT}/{path}", data={"csrf": visitor.csrf}, headers=foreign).status_code == 403
    assert is_in(visitor)


def test_what_a_browser_calls_itself_is_text(visitors: Visitors, people: Api) -> None:
    """A script or a change of writing direction in it reaches nobody's page as such."""
    add_user(people.service, "odd@demo.example", "analyst")
    odd, visitor = visitors(None), visitors("odd@demo.example")
    odd.client.headers["user-agent"] = "<script>alert(1)</script>"
    odd.sign_in("odd@demo.example")
    page = visitor.get(ACCOUNT)
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
