"""An operator looks at an organization's Studio: read-only, for a while, and the organization reads of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient
from tests.patience import until as wait_for
from tests.server.api import Api
from tests.server.studio.conftest import OPERATOR, OWNER, VIEWER, Visitors
from tests.server.studio.visitor import PASSWORD, Visitor, add_user, find_forms

from reelport.errors import UsageError
from reelport.server.access import audit_log, operator_access, organizations, sessions, users
from reelport.server.access.audit_log import Action, AuditEntry
from reelport.server.app import create_app
from reelport.server.reports.removal import remove_organization
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import METADATA, SESSIONS
from reelport.server.studio.rights import LOOKING, RIGHTS, Right
from reelport.server.studio.routes import ROUTES

REASON = "ticket 4711"
BANNER = "as an operator, until"
NOT_NOW = "You look as an operator"


@pytest.fixture
def right(people: Api) -> Iterator[None]:
    """The operator may look."""
    operator_access.allow_looks(people.service.db, OPERATOR, allowed=True)
    yield
    operator_access.allow_looks(people.service.db, OPERATOR, allowed=False)


def find_address(people: Api, name: str = "demo") -> str:
    """The page of an organization for operators."""
    return f"/studio/operator/organizations/{organizations.get_organization(people.service.db, name).id}"


def begin(visitor: Visitor, address: str, reason: str = REASON) -> httpx2.Response:
    """Begin a look by the page's form."""
    return visitor.send(visitor.get(address), f"{address}/look", reason=reason)


def count_rows(people: Api) -> dict[str, int]:
    """How many rows each table of the state has, but that of attempts: whoever opens a wrong link makes one."""
    with reading(people.service.db) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in METADATA.sorted_tables
            if table.name != "attempts"
        }


def test_no_role_alone_may_look(visitors: Visitors, people: Api) -> None:
    """Without the right the page has no form, and the form's address refuses; nobody of an organization has it."""
    assert not any(Right.LOOK in rights for rights in RIGHTS.values())
    address, operator = find_address(people), visitors(OPERATOR)
    assert not [form for form in find_forms(operator.get(address).text) if form.action.endswith("/look")]
    refused = operator.client.post(f"{address}/look", data={"reason": REASON})
    assert (refused.status_code, "operators with the right to look" in refused.text) == (403, True)
    with pytest.raises(UsageError, match="is no operator"):
        operator_access.allow_looks(people.service.db, OWNER, allowed=True)


@pytest.mark.usefixtures("right")
def test_a_look_shows_what_people_of_the_organization_see(visitors: Visitors, people: Api) -> None:
    """Its numbers, reports and saved views, with a banner on each page; it ends by a button."""
    people.finished()
    operator, address = visitors(OPERATOR), find_address(people)
    first = begin(operator, address)
    assert (first.status_code, first.url.path, BANNER in first.text) == (200, "/studio/overview", True)
    looked, seen = operator.get("/studio/reports").text, visitors(VIEWER).get("/studio/reports").text
    reports = [set(re.findall(r"/studio/reports/(\w+)", text)) for text in (looked, seen)]
    assert reports[0]
    assert reports[0] == reports[1]
    assert BANNER not in seen
    back = operator.send(operator.get("/studio/saved"), "/studio/operator/end-look")
    assert (back.url.path, BANNER in back.text) == (address, False)
    assert "This is for the people of an organization" in operator.get("/studio/reports").text


@pytest.mark.usefixtures("right")
def test_nothing_is_changed_asked_for_or_downloaded_in_a_look(visitors: Visitors, people: Api) -> None:
    """Every route is walked: those that read numbers open, all others refuse, and no table gains or loses a row."""
    operator = visitors(OPERATOR)
    page = begin(operator, find_address(people))
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert token is not None
    before, wrong = count_rows(people), {}
    for route in ROUTES:
        if route.right is Right.LEAVE:
            continue
        path = route.path.replace("{", "").replace("}", "")
        sent = {"csrf": token[1]} if route.method == "POST" else None
        answer = operator.client.request(route.method, path, data=sent, follow_redirects=False)
        refused = answer.status_code == 403 and NOT_NOW in answer.text
        if refused == (route.right in LOOKING):
            wrong[f"{route.method} {path}"] = answer.status_code
        assert route.method == "GET" or refused or route.right is Right.ENTER, path
    assert not wrong
    assert count_rows(people) == before


@pytest.mark.usefixtures("right")
def test_a_page_in_a_look_offers_no_download(visitors: Visitors, people: Api) -> None:
    """Nor does it lead to the operator's account, or to the organization's keys and people."""
    people.finished()
    operator = visitors(OPERATOR)
    begin(operator, find_address(people))
    path = max(re.findall(r'"(/studio/reports/(?!new)\w+)"', operator.get("/studio/reports").text))
    texts = [operator.get(each).text for each in ("/studio/overview", "/studio/explore", path)]
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', texts[0])
    assert csrf is not None
    for download in ("/studio/explore/export?metric=VIEWS&as=lines.csv", f"{path}/chart.svg"):
        assert operator.get(download).status_code == 403
    assert operator.client.post(f"{path}/download", data={"csrf": csrf[1]}).status_code == 403
    for text in texts:
        assert BANNER in text
        assert {form.action for form in find_forms(text) if form.method == "post"} == {
            "/studio/operator/end-look",
            "/studio/sign-out",
        }
        assert not re.search(r'href="[^"]*/(export|chart\.|account|keys|people)', text)
        assert "/explore/export" not in text


@pytest.mark.usefixtures("right")
def test_owners_read_of_a_look_in_their_audit_log(visitors: Visitors, people: Api, rival: str) -> None:
    """Who looked, from when to when, and why; nobody else reads of it."""
    operator = visitors(OPERATOR)
    begin(operator, find_address(people), "why the <b>owner</b> asked")
    operator.send(operator.get("/studio/overview"), "/studio/sign-out")
    text = visitors(OWNER).get("/studio/audit").text
    assert f"<bdi>{OPERATOR}</bdi>" in text
    assert re.search(
        r"began to look as the operator of the platform: demo \(until [^)]*, reason why the &lt;b&gt;owner", text
    )
    assert "ended a look as the operator of the platform: demo" in text
    assert not re.search(rf"<bdi>{OPERATOR}</bdi></td><td[^>]*><bdi>signed", text)
    assert OPERATOR not in visitors(rival).get("/studio/audit").text


@pytest.mark.usefixtures("right")
@pytest.mark.parametrize("reason", ["", "   ", "x" * 301, "two\nlines"])
def test_a_look_needs_a_reason(visitors: Visitors, people: Api, reason: str) -> None:
    """Without one nothing begins, and nothing is recorded."""
    operator, address = visitors(OPERATOR), find_address(people)
    before = count_rows(people)["audit_log"]
    refused = begin(operator, address, reason)
    assert (refused.status_code, "A reason is one line" in refused.text) == (400, True)
    assert count_rows(people)["audit_log"] == before
    assert BANNER not in operator.get(address).text


def find_ends(people: Api, since: int) -> list[AuditEntry]:
    """The rows of the organization's log since a row that tell of a look's end, oldest first."""
    demo = organizations.get_organization(people.service.db, "demo").id
    rows = audit_log.list_actions(people.service.db, organization_id=demo, action=Action.LOOK_ENDED)
    return [each for each in rows if each.number > since][::-1]


@pytest.mark.usefixtures("right")
def test_a_look_ends_by_itself(visitors: Visitors, people: Api) -> None:
    """After half an hour, however much it is used. The service records when, and the session is the operator's own."""
    operator, db = visitors(OPERATOR), people.service.db
    begin(operator, find_address(people))
    newest, over = audit_log.list_actions(db)[0].number, datetime.now(UTC)
    with writing(db) as connection:
        until = connection.execute(select(func.max(SESSIONS.c.looks_until))).scalar_one()
        assert timedelta(0) < until - datetime.now(UTC) <= operator_access.LIFE
        connection.execute(SESSIONS.update().where(SESSIONS.c.looks_until == until).values(looks_until=over))
    assert operator.get("/studio/reports").status_code == 403
    assert operator.get("/studio/operator").status_code == 200
    with TestClient(create_app(replace(people.service.settings, sweep_seconds=0.1))):
        assert wait_for(lambda: find_ends(people, newest))
    operator_access.end_overdue_looks(db, datetime.now(UTC))
    (end,) = find_ends(people, newest)
    assert (end.actor.name, end.subject, end.at) == (OPERATOR, "demo", over.replace(microsecond=end.at.microsecond))


@pytest.mark.usefixtures("right")
def test_the_end_of_a_look_that_is_over_stands_before_the_next_begin(visitors: Visitors, people: Api) -> None:
    """Also where the service hasn't recorded it yet."""
    operator, db = visitors(OPERATOR), people.service.db
    begin(operator, find_address(people))
    newest = audit_log.list_actions(db)[0].number
    with writing(db) as connection:
        connection.execute(SESSIONS.update().values(looks_until=datetime.now(UTC)))
    begin(operator, find_address(people))
    actions = [each.action for each in audit_log.list_actions(db) if each.number > newest]
    assert actions == [Action.LOOK_BEGUN, Action.LOOK_ENDED]


@pytest.mark.usefixtures("right")
@pytest.mark.parametrize("ends", ["a new password", "its session", "the user"])
def test_a_look_ends_with_the_login(visitors: Visitors, people: Api, ends: str) -> None:
    """Its organization reads when, whatever ends the login."""
    email, db = f"{ends.replace(' ', '')}@platform.example", people.service.db
    add_user(people.service, email, "operator", None)
    operator_access.allow_looks(db, email, allowed=True)
    operator = visitors(email)
    begin(operator, find_address(people))
    newest = audit_log.list_actions(db)[0].number
    match ends:
        case "a new password":
            users.change_password(db, email, PASSWORD)
        case "the user":
            users.remove_user(db, email)
        case _:
            with writing(db) as connection:
                connection.execute(SESSIONS.update().values(expires_at=datetime.now(UTC)))
            visitors(email)
    assert [(each.actor.name, each.subject) for each in find_ends(people, newest)] == [(email, "demo")]


def test_a_look_ends_with_the_right_to_it(visitors: Visitors, people: Api) -> None:
    """At once, at the next page."""
    operator_access.allow_looks(people.service.db, OPERATOR, allowed=True)
    operator = visitors(OPERATOR)
    assert BANNER in begin(operator, find_address(people)).text
    operator_access.allow_looks(people.service.db, OPERATOR, allowed=False)
    assert operator.get("/studio/reports").status_code == 403
    changes = [each for each in audit_log.list_actions(people.service.db) if each.action == Action.LOOK_RIGHT_CHANGED]
    assert [each.details["may_look"] for each in changes[:2]] == ["no", "yes"]


def test_the_right_given_back_does_not_bring_a_look_back(visitors: Visitors, people: Api) -> None:
    """Its organization reads that it ended with the right, once; another look needs another reason."""
    db, demo = people.service.db, organizations.get_organization(people.service.db, "demo").id
    operator_access.allow_looks(db, OPERATOR, allowed=True)
    operator = visitors(OPERATOR)
    begin(operator, find_address(people))
    newest = audit_log.list_actions(db, organization_id=demo)[0].number
    for allowed in (False, False, True):
        operator_access.allow_looks(db, OPERATOR, allowed=allowed)
    assert operator.get("/studio/reports").status_code == 403
    found = [each for each in audit_log.list_actions(db, organization_id=demo) if each.number > newest]
    assert [each.action for each in found] == [Action.LOOK_ENDED]
    operator_access.allow_looks(db, OPERATOR, allowed=False)


@pytest.mark.usefixtures("right")
def test_a_session_looks_at_one_organization_at_a_time(visitors: Visitors, people: Api, rival: str) -> None:
    """A second form at the same moment begins nothing: else the first look would end unrecorded."""
    assert rival
    service, operator = people.service, visitors(OPERATOR)
    now, token = people.service_now(), operator.client.cookies["reelport-session"]
    session = sessions.find_session(service.db, service.service_secret, token, now)
    assert session is not None
    begun = [
        operator_access.begin_look(service.db, session, organization.id, REASON, audit_log.Actor(OPERATOR, ""), now)
        for organization in (organizations.get_organization(service.db, name) for name in ("demo", "rival"))
    ]
    assert begun == [True, False]
    assert "demo" in operator.get("/studio/overview").text


@pytest.mark.usefixtures("right")
def test_a_look_ends_with_its_organization(visitors: Visitors, people: Api) -> None:
    """No other organization that gets its number is looked at."""
    organizations.add_organization(people.service.db, "short", datetime.now(UTC))
    operator = visitors(OPERATOR)
    assert BANNER in begin(operator, find_address(people, "short")).text
    remove_organization(people.service.db, people.service.settings, "short")
    organizations.add_organization(people.service.db, "next", datetime.now(UTC))
    assert operator.get("/studio/reports").status_code == 403
    assert operator.get("/studio/operator").status_code == 200


@pytest.mark.usefixtures("right")
def test_another_session_of_the_operator_does_not_look(visitors: Visitors, people: Api) -> None:
    """A look is one browser's; an organization that isn't there can't be looked at."""
    one, other = visitors(OPERATOR), visitors(OPERATOR)
    begin(one, find_address(people))
    assert other.get("/studio/operator").status_code == 200
    assert BANNER not in other.get("/studio/operator").text
    page = other.get(find_address(people))
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert csrf is not None
    gone = other.client.post("/studio/operator/organizations/99999/look", data={"csrf": csrf[1], "reason": REASON})
    assert gone.status_code == 404
    add_user(people.service, "omar@platform.example", "operator", None)
    assert visitors("omar@platform.example").client.post(f"{find_address(people)}/look").status_code == 403
