"""Sign-in by an OpenID Connect provider: who gets in, with which role, and who stays out."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import select
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OWNER, Visitors
from tests.server.studio.oidc.conftest import Arrive, is_signed_in, know
from tests.server.studio.oidc.false_provider import CLIENT, FalseProvider
from tests.server.studio.visitor import find_forms

from reelport import UsageError
from reelport.server.access import audit_log, sessions, users
from reelport.server.access import people as access_people
from reelport.server.access.sessions import Browser
from reelport.server.state.database import reading
from reelport.server.state.tables import SESSIONS


def list_actions(api: Api, email: str) -> list[tuple[str, dict[str, object]]]:
    """What the audit log has of somebody, the newest first."""
    found = audit_log.list_actions(api.service.db, actor=email)
    return [(each.action, dict(each.details)) for each in found]


def test_somebody_new_is_added_with_the_role_of_the_first_group(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """The setting's order decides, and not the provider's. The page that was asked for follows."""
    visitor, email = visitors(None), know(provider, "ada", "guests", "staff")
    form = visitor.get("/studio/account?a=1&b=2")
    assert "/studio/oidc?next=/studio/account%3Fa%3D1%26b%3D2" in form.text
    answer = arrive(visitor, "ada", "/studio/account?a=1&b=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/account?a=1&b=2")
    page = visitor.get("/studio/account").text
    assert email in page
    assert "analyst" in page
    assert 'action="/studio/account/password"' not in page
    assert list_actions(people, email) == [
        ("signed in", {"by": "the provider"}),
        ("added a user", {"role": "analyst", "by": "the provider"}),
    ]


def test_the_second_sign_in_is_of_the_same_user_under_another_address_too(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """The subject names a person for ever; what is recorded under the first address stays theirs."""
    email = know(provider, "bea", "staff")
    arrive(visitors(None), "bea")
    know(provider, "bea", "staff", email="beatrix@sso.example")
    visitor = visitors(None)
    arrive(visitor, "bea")
    assert email in visitor.get("/studio/account").text
    assert not [each for each in users.list_users(people.service.db) if each.email == "beatrix@sso.example"]


def test_a_provider_that_does_not_name_itself_signs_in(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """The parameter is younger than most providers. Where it comes all the same, it must be right."""
    know(provider, "kim", "staff")
    provider.described["authorization_response_iss_parameter_supported"] = False
    assert arrive(visitors(None), "kim", iss=None).status_code == 303
    assert arrive(visitors(None), "kim", iss="https://other.example").status_code == 403


def test_an_account_with_a_password_is_never_taken_over(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """Nor changed: whoever decides what a provider says of an address would own the account."""
    know(provider, "ann", "guests", email=OWNER.upper())
    visitor = visitors(None)
    answer = arrive(visitor, "ann")
    assert (answer.status_code, f"{OWNER} has an account here" in answer.text) == (403, True)
    assert not is_signed_in(visitor)
    assert next(each.role for each in users.list_users(people.service.db) if each.email == OWNER) == "owner"
    assert is_signed_in(visitors(OWNER))


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": "False"},
        {"email_verified": None},
        {"email": ""},
        {"email": "no address"},
        {"email": ["uma@sso.example"]},
    ],
)
def test_an_address_that_is_not_verified_adds_nobody(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, claims: dict[str, object]
) -> None:
    """An address is what others know a person by: it must be right."""
    know(provider, "uma", "staff", **claims)
    assert arrive(visitors(None), "uma").status_code == 403


def test_a_role_follows_the_groups_at_the_next_sign_in(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """In every browser of the person at once."""
    email, earlier = know(provider, "ray", "heads"), visitors(None)
    arrive(earlier, "ray")
    assert earlier.get("/studio/people").status_code == 200
    know(provider, "ray", "guests")
    arrive(visitors(None), "ray")
    assert earlier.get("/studio/people").status_code == 403
    changed = {"was": "owner", "is": "viewer", "by": "the provider"}
    assert list_actions(people, email)[1] == ("changed a role", changed)


@pytest.mark.parametrize("groups", [(), ("nobody's",), ("others",), ("platform",), ("lost",)])
def test_who_lost_the_groups_is_signed_out_and_stays_out(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, groups: tuple[str, ...], rival: str
) -> None:
    """The session of another browser ends too. Nobody moves to another organization with what the account has."""
    assert rival
    subject = f"lou-{len(groups)}-{''.join(groups)}".replace("'", "")
    know(provider, subject, "staff")
    earlier, visitor = visitors(None), visitors(None)
    arrive(earlier, subject)
    assert is_signed_in(earlier)
    know(provider, subject, *groups)
    answer = arrive(visitor, subject)
    assert (answer.status_code, "no access to this account any more" in answer.text) == (403, True)
    assert not is_signed_in(earlier)
    assert not is_signed_in(visitor)
    know(provider, subject, "staff")
    assert arrive(visitor, subject).status_code == 303


@pytest.mark.parametrize("groups", [(), ("lost",), "staff-of-others"])
def test_who_has_no_group_is_not_added(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive, groups: object
) -> None:
    """An account at the provider alone is not enough, nor a group of an organization that is not here."""
    email = know(provider, "zed", groups=groups)
    answer = arrive(visitors(None), "zed")
    assert (answer.status_code, "gives you access here" in answer.text) == (403, True)
    assert not [each for each in users.list_users(people.service.db) if each.email == email]


def test_a_group_may_make_operators(provider: FalseProvider, visitors: Visitors, arrive: Arrive) -> None:
    """They see the platform, and no partner's numbers."""
    know(provider, "opal", groups="platform")  # one group as a text, as some providers write it
    visitor = visitors(None)
    arrive(visitor, "opal")
    assert visitor.get("/studio/operator").status_code == 200
    assert visitor.get("/studio/explore").status_code == 403


def test_whom_the_provider_does_not_sign_in_stays_out(visitors: Visitors, arrive: Arrive) -> None:
    """A person who was deactivated there comes back with an error, and no code."""
    visitor = visitors(None)
    answer = arrive(visitor, "dora", code=None, error="access_denied", error_description="<b>deactivated</b>")
    assert (answer.status_code, "Not signed in" in answer.text) == (403, True)
    assert "deactivated" not in answer.text
    assert not is_signed_in(visitor)


def test_the_provider_is_asked_again_after_a_working_day(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """However much the session is used: whoever was deactivated meanwhile is out then."""
    know(provider, "ivy", "staff")
    visitor, service = visitors(None), people.service
    arrive(visitor, "ivy")
    now, token = people.service_now(), visitor.client.cookies["reelport-session"]
    session = sessions.find_session(service.db, service.service_secret, token, now)
    assert session is not None
    later = now + timedelta(hours=11)
    sessions.renew_session(service.db, session, Browser("", ""), later)
    with reading(service.db) as connection:
        ends = connection.execute(select(SESSIONS.c.expires_at).where(SESSIONS.c.id == session.id)).scalar_one()
    assert ends == session.created_at + timedelta(hours=12)


def test_a_page_with_a_long_address_is_shown_after_the_sign_in(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """Views have long ones. One that no cookie can keep leads to the first page."""
    know(provider, "tom", "staff")
    for size, expected in ((2000, f"/studio/explore?x={'x' * 2000}"), (5000, "/studio")):
        answer = arrive(visitors(None), "tom", f"/studio/explore?x={'x' * size}")
        assert answer.headers["location"] == expected


def test_signing_out_offers_the_end_of_the_providers_session(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """To whom it signed in. It sends the browser back to the sign-in."""
    know(provider, "ela", "staff")
    provider.described["end_session_endpoint"] = f"{provider.url}/end"
    visitor = visitors(None)
    arrive(visitor, "ela")
    page = visitor.send(visitor.get("/studio/account"), "/studio/sign-out")
    (link,) = re.findall(r'href="(/studio/oidc/end\?state=[^"]+)"', page.text)
    end = httpx2.URL(visitor.get(link, follow_redirects=False).headers["location"])
    assert (f"{end.scheme}://{end.host}:{end.port}{end.path}", dict(end.params)) == (
        f"{provider.url}/end",
        {"client_id": CLIENT, "post_logout_redirect_uri": "http://127.0.0.1:8642/studio/sign-in"},
    )
    member = visitors(MEMBER)
    assert "/studio/oidc/end" not in member.send(member.get("/studio/account"), "/studio/sign-out").text


@pytest.mark.parametrize("query", ["", "?state=guessed", "?state=%FF"])
def test_no_other_page_ends_the_providers_session(provider: FalseProvider, visitors: Visitors, query: str) -> None:
    """Whatever leads there without the link that this browser was shown comes to the page that has it."""
    provider.described["end_session_endpoint"] = f"{provider.url}/end"
    visitor, other = visitors(None), visitors(None)
    answer = visitor.get(f"/studio/oidc/end{query}", follow_redirects=False)
    assert answer.headers["location"].endswith("/studio/sign-in?left=provider")
    (link,) = re.findall(r'href="(/studio/oidc/end\?state=[^"]+)"', other.get("/studio/sign-in?left=provider").text)
    assert "/sign-in" in visitor.get(link, follow_redirects=False).headers["location"]


def test_a_provider_without_an_end_leads_back_to_the_sign_in(provider: FalseProvider, visitors: Visitors) -> None:
    """Not every provider ends sessions."""
    assert provider.url
    visitor = visitors(None)
    (link,) = re.findall(r'href="(/studio/oidc/end[^"]+)"', visitor.get("/studio/sign-in?left=provider").text)
    there = visitor.get(link)
    assert (there.url.path, there.url.query) == ("/studio/sign-in", b"")


def test_owners_leave_to_the_provider_what_it_decides(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """Neither a password nor a role is given to whom it signs in; channels may be limited."""
    email, visitor = know(provider, "gus", "staff"), visitors(OWNER)
    arrive(visitors(None), "gus")
    person = next(each.id for each in users.list_users(people.service.db) if each.email == email)
    page = visitor.get("/studio/people")
    assert f"/studio/people/{person}/role" not in page.text
    assert f"/studio/people/{person}/password" not in page.text
    csrf = dict(find_forms(page.text)[0].fields)["csrf"]
    for path, values in (("role", {"role": "owner"}), ("password", {})):
        answer = visitor.client.post(f"/studio/people/{person}/{path}", data={"csrf": csrf, **values})
        assert (answer.status_code, f"{email} signs in by the provider" in answer.text) == (422, True)
    with pytest.raises(UsageError, match="signs in by the provider"):
        users.change_password(people.service.db, email, "a long enough password")
    assert "Take the person out of those groups first" in page.text


def test_an_owner_by_the_provider_counts_as_one_who_can_sign_in(
    people: Api, provider: FalseProvider, visitors: Visitors, arrive: Arrive, rival: str
) -> None:
    """So the owner with a password may go."""
    db, now = people.service.db, people.service_now()
    know(provider, "hal", "others")
    arrive(visitors(None), "hal")
    visitor = visitors(rival)
    token = visitor.client.cookies["reelport-session"]
    owner = sessions.find_session(db, people.service.service_secret, token, now)
    assert owner is not None
    access_people.remove_person(db, owner, owner.user_id, audit_log.Actor(rival, ""), now)
