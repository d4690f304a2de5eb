"""The numbers of the whole platform: the sum of the partners' numbers, for operators who hold the right alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient
from tests.sandboxes import sample_channels
from tests.server.studio.conftest import LAST, OPERATOR, OWNER, RIVAL, fetch_report, visit_as
from tests.server.studio.test_overview import AUDIENCE, COUNTRIES, EARNED, RANGES, find_cards, find_lists
from tests.server.studio.visitor import Visitor, find_forms, text_of

from reelport.catalog import Dimension, Metric
from reelport.engine.tenant import Tenant
from reelport.errors import UsageError
from reelport.facts.log.log_entry import Span
from reelport.query import ReportQuery
from reelport.server.access import audit_log, operator_access, organizations
from reelport.server.access.audit_log import Action
from reelport.server.access.channel_registry import list_channels
from reelport.server.access.roles import Role
from reelport.server.settings import Settings
from reelport.server.state.database import connected
from reelport.server.studio.rights import RIGHTS, Right

PAGE = "/studio/operator/numbers"
ADDING_UP = (*AUDIENCE[:2], EARNED)
MONTH = RANGES[""]


@pytest.fixture
def db(sampled: Settings) -> Iterator[Engine]:
    """The state of the service."""
    with connected(sampled) as db:
        yield db


@pytest.fixture
def operator(app: TestClient, db: Engine) -> Iterator[Visitor]:
    """An operator who may see the platform, earnings included."""
    operator_access.allow_platform(db, OPERATOR, Role.VIEWER)
    yield from visit_as(app, OPERATOR)
    operator_access.allow_platform(db, OPERATOR, None)


def ask(settings: Settings, channels: Collection[str], days: Span = MONTH) -> list[Decimal]:
    """The totals of the report for these channels."""
    query = ReportQuery.of([metric.name for metric in ADDING_UP], [], *days)
    return [Decimal(number) for number in fetch_report(settings, query, Tenant(frozenset(channels)))[0]]


def find_ranking(page: str) -> dict[str, list[Decimal]]:
    """The exact numbers of each organization of the ranking."""
    section = re.findall(r'<section class="panel" aria-labelledby="organizations">.*?</section>', page, re.DOTALL)[0]
    return {
        name: [Decimal(number) for number in re.findall(r'class="number" title="([^"]*)"', row)]
        for row, name in re.findall(r"(<tr><th scope=\"row\">.*?<bdi>(.*?)</bdi>.*?</tr>)", section, re.DOTALL)
    }


def test_numbers_are_the_sum_of_the_partners_reports(operator: Visitor, sampled: Settings) -> None:
    """The ranking has each organization's own numbers and their sum; the cards add every other channel."""
    page = operator.get(PAGE).text
    assert "compared with 6 June to 3 July 2026" in text_of(page)
    ranking, partners = find_ranking(page), sample_channels()
    together = ranking.pop("All organizations")
    assert list(ranking) == sorted(ranking, key=lambda name: -ranking[name][0])
    assert ranking == {name: ask(sampled, channels) for name, channels in partners.items()}
    assert together == [sum(numbers) for numbers in zip(*ranking.values(), strict=True)]
    others = {each.id for each in list_channels(sampled)}.difference(*partners.values())
    cards = find_cards(page)
    shown = [Decimal(cards[metric.name]) for metric in ADDING_UP]
    assert shown == [one + other for one, other in zip(together, ask(sampled, others), strict=True)]
    assert shown[0] > together[0] > ranking["demo"][0] > 0


def test_lists_are_those_of_all_channels_together(operator: Visitor, sampled: Settings) -> None:
    """The first videos of the platform, and each country with its views of every channel."""
    lists = find_lists(operator.get(f"{PAGE}?range=7").text)
    tenant = Tenant(frozenset(each.id for each in list_channels(sampled)))
    for heading, by in (("Top videos", Dimension.VIDEO_ID), ("Country", Dimension.VISITOR_COUNTRY)):
        query = ReportQuery.of([Metric.VIEWS.name], [by.name], *RANGES["?range=7"])
        found = {COUNTRIES.get(cell, cell or "Unknown"): views for cell, views in fetch_report(sampled, query, tenant)}
        shown = {cell: int(views) for cell, views in lists[heading].items()}
        assert shown.items() <= found.items()
        assert sorted(shown.values(), reverse=True) == sorted(found.values(), reverse=True)[:10]


def test_an_organization_changes_by_what_it_had_before(operator: Visitor, sampled: Settings) -> None:
    """Also by the views of channels that have none in these days: its change is that of its reports."""
    page = operator.get(f"{PAGE}?from={LAST}&to={LAST}").text
    for name, channels in sample_channels().items():
        now, then = (ask(sampled, channels, (day, day))[0] for day in (LAST, LAST - timedelta(7)))
        change = (now - then) / then * 100
        row = re.findall(rf"<bdi>{name}</bdi>.*?</tr>", page, re.DOTALL)[0]
        assert f"{abs(change):,.1f}" in text_of(row)


def test_earnings_need_a_right_of_their_own(db: Engine, operator: Visitor) -> None:
    """Without it there is no card, no column and no address that shows them."""
    operator_access.allow_platform(db, OPERATOR, Role.VIEWER_WITHOUT_REVENUE)
    page = operator.get(f"{PAGE}?metric={EARNED.name}").text
    assert set(find_cards(page)) == {metric.name for metric in AUDIENCE}
    assert "arnings" not in text_of(page)
    assert all(len(numbers) == 2 for numbers in find_ranking(page).values())


def test_the_page_leads_to_nothing_that_an_operator_may_not_open(operator: Visitor) -> None:
    """No explorer, no file, no saved view, no link to share: its own days and cards, and pages of operators."""
    page = operator.get(PAGE)
    body = page.text.partition('<main id="main"')[2]
    addresses = set(re.findall(r'(?:href|action)="([^"#?]*)', body))
    assert addresses == {each for each in addresses if each.startswith("/studio/operator")}
    assert not [form for form in find_forms(body) if form.method == "post"]
    for address in addresses:
        assert operator.get(address).status_code == 200
    for path in ("/studio/explore", "/studio/overview", "/studio/saved", "/studio/explore/export?as=lines.csv"):
        assert operator.get(path).status_code == 403


def test_no_role_alone_sees_the_platform(app: TestClient, db: Engine) -> None:
    """An operator without the right is refused, and so is every partner, whatever the address says."""
    assert not any(Right.READ_PLATFORM in rights for rights in RIGHTS.values())
    for email, sentence in (
        (OPERATOR, "reelport user may-see-platform"),
        (OWNER, "for the operators of the platform alone"),
        (RIVAL, "for the operators of the platform alone"),
    ):
        for visitor in visit_as(app, email):
            for query in ("", "?channel=demo-news", "?metric=VIEWS&range=lifetime"):
                refused = visitor.get(f"{PAGE}{query}")
                assert (refused.status_code, sentence in text_of(refused.text)) == (403, True)
    with pytest.raises(UsageError, match="is no operator"):
        operator_access.allow_platform(db, OWNER, Role.VIEWER)


def test_an_operator_reads_how_to_get_the_rights(db: Engine, operator: Visitor) -> None:
    """Who lacks one reads the command to ask for, and sees no way to the page; who holds it reads nothing of it."""
    assert PAGE in operator.get("/studio/operator").text
    assert "may-see-platform" not in operator.get("/studio/operator").text
    operator_access.allow_platform(db, OPERATOR, None)
    page = operator.get("/studio/operator").text
    assert PAGE not in page
    assert f"reelport user may-see-platform {OPERATOR} yes" in page
    id_ = organizations.get_organization(db, "demo").id
    assert f"reelport user may-look {OPERATOR} yes" in operator.get(f"/studio/operator/organizations/{id_}").text


def test_a_look_has_no_numbers_of_the_platform(db: Engine, operator: Visitor) -> None:
    """A session that looks at one partner has none of the operator's rights."""
    operator_access.allow_looks(db, OPERATOR, allowed=True)
    address = f"/studio/operator/organizations/{organizations.get_organization(db, 'demo').id}"
    operator.send(operator.get(address), f"{address}/look", reason="ticket 4711")
    assert operator.get(PAGE).status_code == 403
    operator.send(operator.get("/studio/saved"), "/studio/operator/end-look")
    assert operator.get(PAGE).status_code == 200
    operator_access.allow_looks(db, OPERATOR, allowed=False)


def test_the_right_ends_at_once_and_stands_in_the_audit_log(db: Engine, operator: Visitor) -> None:
    """Who was given it, as what and by whom; taken away, the next page is refused."""
    assert operator.get(PAGE).status_code == 200
    operator_access.allow_platform(db, OPERATOR, None)
    assert operator.get(PAGE).status_code == 403
    rows = [each for each in audit_log.list_actions(db) if each.action == Action.PLATFORM_RIGHT_CHANGED]
    assert [(each.subject, each.details["is"]) for each in rows[:2]] == [(OPERATOR, "none"), (OPERATOR, "viewer")]
    assert "right to the platform" in operator.get("/studio/audit").text
