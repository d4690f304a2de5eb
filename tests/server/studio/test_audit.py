"""The page of the audit log: whose rows it shows, and how it pages and filters."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pytest
from starlette.testclient import TestClient
from tests.cases import thin_out
from tests.server.api import Api
from tests.server.studio.conftest import MEMBER, OPERATOR, OWNER, Visitors, facts_away
from tests.server.studio.visitor import add_user

from reelport.catalog import Dimension, Metric
from reelport.query import ReportQuery
from reelport.server.access import audit_log, operator_access, organizations
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.roles import Role
from reelport.server.reports.removal import remove_organization
from reelport.server.state.database import writing

AUDIT = "/studio/audit"
WHAT = re.compile(r'data-label="What"><bdi>([^<]*)</bdi>')


def record(people: Api, organization: str | None, *actions: Action, actor: str = "bot@demo.example") -> None:
    """Add rows about an organization, or about the platform."""
    db = people.service.db
    known = {each.name: each.id for each in organizations.list_organizations(db)}
    with writing(db) as connection:
        for number, action in enumerate(actions):
            whose = None if organization is None else known[organization]
            audit_log.record_action(connection, whose, Actor(actor, ""), action, f"s{number}", datetime.now(UTC))


def test_owners_read_what_was_done_in_their_organization(visitors: Visitors, people: Api) -> None:
    """By people, and by the commands of operators; nothing of others, and nothing of the platform."""
    organizations.add_organization(people.service.db, "rival", datetime.now(UTC))
    record(people, "rival", Action.VIEW_SAVED, actor="eve@rival.example")
    text = visitors(OWNER).get(AUDIT).text
    assert f"added a user: {MEMBER} (role analyst)" in text
    assert "command line" in text
    assert "eve@rival.example" not in text
    assert OPERATOR not in text


def test_a_french_log_says_who_acted_without_a_name_in_french(visitors: Visitors, people: Api) -> None:
    """A command and a shared link have names that are texts of Studio; a person's address is as it is."""
    record(people, "demo", Action.SHARED_VIEW_OPENED, actor="a shared link")
    text = visitors(OWNER).get(AUDIT, headers={"Accept-Language": "fr"}).text
    assert "<bdi>un lien partagé</bdi>" in text
    assert "ligne de commande" in text
    assert f"a ajouté un utilisateur\N{NO-BREAK SPACE}: {MEMBER} (rôle analyste)" in text
    assert "a shared link" not in text
    assert "command line" not in text


def test_a_french_log_of_the_platform_has_no_english_details(visitors: Visitors, people: Api) -> None:
    """Names of details and their words: rights, roles, what was removed with an organization."""
    db = people.service.db
    operator_access.allow_looks(db, OPERATOR, allowed=True)
    operator_access.allow_platform(db, OPERATOR, Role.VIEWER_WITHOUT_REVENUE)
    operator_access.allow_platform(db, OPERATOR, None)
    operator_access.allow_looks(db, OPERATOR, allowed=False)
    organizations.add_organization(db, "gone", datetime.now(UTC))
    add_user(people.service, "gus@gone.example", "owner", "gone")
    remove_organization(db, people.service.settings, "gone")
    text = visitors(OPERATOR).get(AUDIT, headers={"Accept-Language": "fr"}).text
    for said in (
        "peut consulter oui",
        "peut consulter non",
        "maintenant spectateur sans revenus",
        "maintenant aucun",
        "utilisateurs 1",
    ):
        assert said in text
    for said in ("may look", "viewer", "users 1", "none"):
        assert said not in text


def test_a_french_log_names_what_was_done_in_words(visitors: Visitors, people: Api) -> None:
    """Reports by what they ask for, keys and views by their names, days and rights in words; ids come last."""
    query = ReportQuery.of([Metric.VIEWS], [Dimension.DAY], date(2026, 10, 1), date(2026, 10, 7)).to_wire()
    moment = "2027-03-01T22:46+00:00"
    done: tuple[tuple[Action, str, dict[str, object], str], ...] = (
        (Action.REPORT_ASKED, "r1", {"query": query}, "a demandé un rapport : Vues par jour, %s (identifiant r1)"),
        (Action.KEY_CREATED, "k1", {"name": "A", "expires": moment}, "a créé une clé : A (identifiant k1, expire %s)"),
        (Action.VIEW_SHARED, "v1", {"name": "B", "days": 7}, "a partagé une vue : B (7 jours, identifiant v1)"),
        (Action.VIEW_PLACED, "C", {"folder": "D", "pinned": True}, "a rangé une vue : C (dossier D, épinglée oui)"),
        (Action.CHANNELS_ADDED, "", {"channels": ["c-1", "c-2"]}, "a ajouté des chaînes : c-1, c-2"),
    )
    times = iter(["1er \N{EN DASH} 7 octobre 2026", "1er mars 2027, 22:46 UTC"])
    (demo,) = (each.id for each in organizations.list_organizations(people.service.db) if each.name == "demo")
    with writing(people.service.db) as connection:
        for action, subject, details, _said in done:
            audit_log.record_action(connection, demo, Actor("x", ""), action, subject, datetime.now(UTC), details)
    text = visitors(OWNER).get(AUDIT, headers={"Accept-Language": "fr"}).text.replace("\N{NO-BREAK SPACE}", " ")
    for *_given, said in done:
        assert f"<bdi>{said.replace('%s', next(times)) if '%s' in said else said}</bdi>" in text


def test_rows_that_name_channels_are_read_without_the_facts(visitors: Visitors, people: Api) -> None:
    """Ids stand in place of the names, and the page says so, in either language."""
    owner = visitors(OWNER)
    with facts_away(people):
        said = {code: owner.get(AUDIT, headers={"Accept-Language": code}) for code in ("en", "fr")}
    assert [page.status_code for page in said.values()] == [200, 200]
    assert "The names of channels can't be read now" in said["en"].text
    assert "Les noms des chaînes sont illisibles" in said["fr"].text


def test_a_text_of_a_user_is_no_word_of_the_log(visitors: Visitors, people: Api) -> None:
    """Whatever it is: a folder `all`, a key that was called `viewer-without-revenue`, a system user `none`."""
    (demo,) = (each.id for each in organizations.list_organizations(people.service.db) if each.name == "demo")
    given: tuple[tuple[str, Action, dict[str, object]], ...] = (
        ("none", Action.VIEW_PLACED, {"folder": "all"}),
        ("none", Action.KEY_RENAMED, {"name": "all", "was": "viewer-without-revenue"}),
    )
    with writing(people.service.db) as connection:
        for actor, action, details in given:
            audit_log.record_action(connection, demo, Actor(actor, ""), action, "all", datetime.now(UTC), details)
    text = visitors(OWNER).get(AUDIT, headers={"Accept-Language": "fr"}).text.replace("\N{NO-BREAK SPACE}", " ")
    for said in ("none", "a rangé une vue : all (dossier all)"):
        assert f"<bdi>{said}</bdi>" in text
    assert "a renommé une clé : all (identifiant all, avant viewer-without-revenue)" in text


def test_an_ipv4_address_is_written_as_one(visitors: Visitors, people: Api) -> None:
    """However a socket or a proxy spells it: rows of one caller have one address."""
    visitor = visitors(None)
    app, url = people.client.app, str(visitor.client.base_url)
    visitor.client = TestClient(app, base_url=url, follow_redirects=True, client=("::ffff:192.0.2.5", 50_000))
    visitor.client.portal = people.client.portal
    visitor.sign_in(MEMBER)
    entry = next(each for each in audit_log.list_actions(people.service.db) if each.action == Action.SIGNED_IN)
    assert (entry.actor.name, entry.actor.address) == (MEMBER, "192.0.2.5")


def test_operators_read_what_concerns_the_platform_alone(visitors: Visitors) -> None:
    """Their own sign-ins are among it; what people of a partner do is not."""
    visitor = visitors(OPERATOR)
    text = visitor.get(AUDIT).text
    assert OPERATOR in text
    assert OWNER not in text
    assert visitors(MEMBER).get(AUDIT).status_code == 403


def test_rows_are_filtered_by_person_and_action(visitors: Visitors, people: Api) -> None:
    """However the address is spelled; what no row is like is said."""
    add_user(people.service, "fay@demo.example", "analyst")
    visitors("fay@demo.example")
    owner = visitors(OWNER)
    found = WHAT.findall(owner.get(f"{AUDIT}?person=%20Fay@demo.example&action=signed+in").text)
    assert found == ["signed in"]
    assert "No row is like that" in owner.get(f"{AUDIT}?person=nobody").text


def test_every_row_is_on_one_page(visitors: Visitors, people: Api) -> None:
    """The link to older ones keeps the filter, and leads to the end."""
    record(people, "demo", *[Action.VIEW_SAVED, Action.VIEW_DELETED] * 205)
    owner, path, seen = visitors(OWNER), f"{AUDIT}?action=saved+a+view", []
    while path:
        text = owner.get(path).text
        seen += WHAT.findall(text)
        older = re.search(r'href="([^"]*before=\d+)"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert [each for each in seen if each.startswith("saved a view: s")] == seen
    assert len(seen) == len(set(seen)) == 205


@pytest.mark.parametrize(
    "query",
    thin_out(
        [
            "before=x",
            "before=-1",
            "before=" + "9" * 40,
            "person=%00",
            "person=%FF",
            "person=" + "x" * 5000,
            "action=<b>",
        ],
        3,
    ),
)
def test_whatever_the_address_says_a_page_comes(visitors: Visitors, query: str) -> None:
    """What is no number and no action is left out; nothing fails, and no markup comes back."""
    page = visitors(OWNER).get(f"{AUDIT}?{query}")
    assert page.status_code == 200
    assert "<b>" not in page.text


def test_what_the_log_holds_is_text(visitors: Visitors, people: Api) -> None:
    """A name with markup, or that changes the direction of writing, is shown as it is, on its own."""
    record(people, "demo", Action.KEY_CREATED, actor="<img src=x>\u202e")
    text = visitors(OWNER).get(AUDIT).text
    assert "<img" not in text
    assert "<bdi>&lt;img src=x&gt;\u202e</bdi>" in text
