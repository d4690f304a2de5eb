"""The page of the own account: password, sessions, signing out everywhere."""

from __future__ import annotations

import re

import pytest
from tests.cases import thin_out
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OWNER, Visitors
from tests.server.studio.visitor import PASSWORD, Visitor, add_user, find_forms, guess_until_refused

from reelport.server.access import users

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
