"""The operator's page: the platform's state, and nothing of what partners' reports hold."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from tests.server.api import Api
from tests.server.conftest import NOW, State
from tests.server.studio.conftest import MEMBER, OPERATOR, OWNER, Visitors

from reelport.server.access.roles import Role
from reelport.server.queue import jobs
from reelport.server.state.database import writing
from reelport.server.state.tables import ORGANIZATIONS
from reelport.server.studio import operator
from reelport.server.studio.rights import RIGHTS, Right
from reelport.server.studio.routes import ROUTES

PAGE = "/studio/operator"


def test_an_operator_sees_organizations_and_the_queue(visitors: Visitors, people: Api) -> None:
    """With how much of what each has, and why each report waits."""
    people.ask(**people.new())
    text = visitors(OPERATOR).get(PAGE).text
    row = re.search(r"<bdi>demo</bdi></th>(.*?)</tr>", text, re.DOTALL)
    assert row is not None
    assert re.findall(r'number">([^<]*)<', row[1]) == ["1", "1", "4", "1"]
    assert "It waits for a worker, at place 1 of its organization." in text
    assert "No worker is running" in text
    assert "are free: data" in text


def test_of_many_organizations_those_with_reports_are_shown(state: State) -> None:
    """The page stays a page; how many there are is said."""
    with writing(state.db) as connection:
        rows = [{"name": f"o{number:04}", "created_at": NOW, "served_at": NOW} for number in range(1000)]
        connection.execute(ORGANIZATIONS.insert(), rows)
    state.organization("zebra", "c-1")
    state.ask(state.caller(state.key("zebra")))
    shown = operator.read_platform(state.db, state.settings, state.now)
    assert (len(shown.organizations), shown.organizations_in_all) == (200, 1001)
    assert [each.name for each in shown.organizations[:2]] == ["zebra", "o0000"]
    assert (shown.organizations[0].channels, shown.organizations[0].keys, shown.organizations[0].unfinished) == (
        1,
        1,
        1,
    )


def test_a_report_that_is_made_says_by_whom(visitors: Visitors, people: Api) -> None:
    """And one whose attempt failed says why, and when it is tried again."""
    people.ask(**people.new())
    claim = jobs.claim(people.service.db, "vm-1-worker", running=9, lease_seconds=60)
    assert claim is not None
    text = visitors(OPERATOR).get(PAGE).text
    assert "It is being made. <code>vm-1-worker</code>" in text


def test_a_page_for_operators_holds_nothing_of_a_report(visitors: Visitors, people: Api) -> None:
    """Neither rows nor bytes nor what was asked for: a finished report is only one more that ended."""
    people.finished(b"day,views\n" + b"2026-01-01,8613\n" * 41_237)
    text = visitors(OPERATOR).get(PAGE).text
    for number in ("41\N{NARROW NO-BREAK SPACE}237", "41237", "41,237", "8613"):
        assert number not in text
    assert re.search(r"Ended so far: .*\d finished", text)
    told = {each.name for each in fields(operator.QueuedReport)}
    assert not told & {"rows", "bytes", "query", "channels", "key", "file"}


def test_no_route_with_a_partners_numbers_is_an_operators() -> None:
    """Whatever page comes, an operator's rights open none that reads, asks for or shares numbers."""
    partners = {Right.READ_NUMBERS, Right.ASK_FOR_REPORTS, Right.SHARE_VIEWS, Right.MANAGE_KEYS, Right.MANAGE_PEOPLE}
    assert not RIGHTS[Role.OPERATOR] & partners
    opened = [route.path for route in ROUTES if route.right in RIGHTS[Role.OPERATOR] - RIGHTS[None]]
    assert all(path.startswith(("/studio/sign-out", "/studio/account", "/studio/audit", PAGE)) for path in opened)


@pytest.mark.parametrize("email", [OWNER, MEMBER])
def test_partners_see_nothing_of_the_platform(visitors: Visitors, email: str) -> None:
    """Neither the page nor the checks."""
    visitor = visitors(email)
    refused = visitor.get(PAGE)
    assert (refused.status_code, "for the operators of the platform alone" in refused.text) == (403, True)
    assert visitor.client.post(f"{PAGE}/checks").status_code == 403


def test_an_operator_is_told_why_numbers_are_not_shown(visitors: Visitors) -> None:
    """There is no owner to ask: an operator is of no organization."""
    refused = visitors(OPERATOR).get("/studio/explore")
    assert (refused.status_code, "ask an owner" in refused.text) == (403, False)
    assert "operators see no partner&#39;s numbers" in refused.text


def test_checks_run_when_they_are_asked_for(visitors: Visitors) -> None:
    """The page shows what `doctor` finds; looking at the page runs none."""
    operator = visitors(OPERATOR)
    page = operator.get(PAGE)
    assert "What the checks found" not in page.text
    found = operator.send(page, f"{PAGE}/checks#checks")
    assert found.status_code == 200
    assert "DuckDB makes a report with" in found.text
    assert "has a layout that this version knows" in found.text


def test_damaged_tables_are_said_on_the_page(visitors: Visitors, people: Api) -> None:
    """An operator needs the page most when something is wrong."""
    log = people.service.settings.facts_root / "plays" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("no commit")
    page = visitors(OPERATOR).get(PAGE)
    assert page.status_code == 200
    assert '<p class="notice bad">' in page.text.partition("<h2>Tables</h2>")[2]
