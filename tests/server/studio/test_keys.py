"""The page of keys, by forms as a browser without a script sends them."""

from __future__ import annotations

import html
import io
import re
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from tests.cases import thin_out
from tests.server.api import Api
from tests.server.studio.conftest import OWNER, Visitors, facts_away
from tests.server.studio.visitor import Visitor, find_forms

from reelport.catalog.scopes import Scope
from reelport.server.access import audit_log, channel_registry, keys, organizations
from reelport.server.access.channel_registry import Channel, Entry
from reelport.server.access.keys import Key, find_or_create_studio_key
from reelport.server.state.database import writing
from reelport.server.state.tables import KEYS, ORGANIZATIONS

STORED_SCRIPT = '"><script>alert(1)</script>'
SECRET = re.compile(r'<code id="key-secret">(rps_\w+)</code>')


@pytest.fixture
def owner(people: Api, visitors: Visitors) -> Visitor:
    """An owner's browser, at an organization without a longest life of keys."""
    with writing(people.service.db) as connection:
        connection.execute(ORGANIZATIONS.update().values(max_key_days=None))
    return visitors(OWNER)


def make(owner: Visitor, **values: str | list[str]) -> httpx2.Response:
    """The answer to the form for a new key."""
    return owner.send(owner.get("/studio/keys"), "/studio/keys", follow=True, **values)


def secret_in(page: httpx2.Response) -> str:
    """The secret that a page shows."""
    found = SECRET.search(page.text)
    assert found is not None, page.text
    return found[1]


def named(api: Api, name: str) -> Key:
    """The one key of that name."""
    (found,) = (key for key in keys.list_keys(api.service.db) if key.name == name)
    return found


def made(api: Api, owner: Visitor, name: str, **values: str | list[str]) -> tuple[Key, str]:
    """A key made by the form, and its secret."""
    secret = secret_in(make(owner, name=name, **values))
    return named(api, name), secret


def text_of(page: httpx2.Response) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def grants(api: Api, key: Key, secret: str) -> bool:
    """Whether a token is granted."""
    return api.grant(client_id=key.id, client_secret=secret).status_code == 200


def test_a_key_is_made_and_its_secret_shown_once(people: Api, owner: Visitor) -> None:
    """With scopes, channels and expiry as chosen; it gets tokens, and no later page has the secret."""
    page = make(owner, name="Nightly", scope=["create_reports", "access_ads"], channel=["c-demo"], expires="30")
    key, secret = named(people, "Nightly"), secret_in(page)
    assert "Nightly · Channels: c-demo" in text_of(page)
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert (key.permissions, key.channels, key.created_by) == (("create_reports", "access_ads"), ("c-demo",), OWNER)
    assert key.expires_at is not None
    assert abs(key.expires_at - datetime.now(UTC) - timedelta(days=30)) < timedelta(hours=1)
    assert grants(people, key, secret)
    for path in ("/studio/keys", f"/studio/keys/{key.id}"):
        assert secret not in owner.get(path).text
    make(owner, name="Whole", scope=[*Scope])
    rows = [re.search(rf"{name}.*?</tr>", owner.get("/studio/keys").text, re.DOTALL) for name in ("Nightly", "Whole")]
    assert [re.findall('data-label="May">([^<]*)<', row[0]) for row in rows if row] == [
        ["create reports, access ads"],
        ["everything"],
    ]


def test_the_page_with_a_secret_leads_elsewhere_when_it_is_loaded_again(owner: Visitor) -> None:
    """A script then asks for the list: the form isn't sent again, which would make a second key."""
    assert 'data-once="/studio/keys"' in make(owner, name="Once").text


def test_a_key_has_a_name(owner: Visitor) -> None:
    """Nobody makes one that can't be told from others, by a key of the keyboard: the form comes back as it was."""
    form = owner.get("/studio/keys")
    assert re.search(r'<input name="name" value="" maxlength="200" required', form.text)
    before = owner.get("/studio/keys").text
    page = owner.send(form, "/studio/keys", name="  ")
    assert page.status_code == 422
    assert "Give the key a name" in page.text
    assert owner.get("/studio/keys").text == before


def test_everything_wrong_with_a_new_key_is_told_at_once(people: Api, owner: Visitor) -> None:
    """What was typed stays, the script in it as text."""
    before = len(keys.list_keys(people.service.db))
    page = make(owner, name="x" * 201, scope=[], expires=STORED_SCRIPT)
    assert page.status_code == 422
    said = text_of(page)
    for part in ("A key needs permissions", "one line of at most 200 characters", "is no expiry"):
        assert part in said
    assert "<script>alert" not in page.text
    (form,) = (form for form in find_forms(page.text) if form.action == "/studio/keys")
    assert dict(form.fields)["expires"] == STORED_SCRIPT
    assert len(keys.list_keys(people.service.db)) == before


def test_the_secret_is_a_file_by_a_form(people: Api, owner: Visitor, log: io.StringIO) -> None:
    """It comes and goes in bodies: no address and no line of the log has it."""
    page = make(owner, name="File", kind="public")
    key, secret = named(people, "File"), secret_in(page)
    file = owner.send(page, f"/studio/keys/{key.id}/env")
    assert file.text.splitlines()[:3] == [
        "REELPORT_URL=http://127.0.0.1:8642",
        f"REELPORT_API_KEY={key.id}",
        f"REELPORT_API_SECRET={secret}",
    ]
    assert "REELPORT_USERNAME" in file.text
    assert file.headers["content-disposition"] == f'attachment; filename="{key.id}.env"'
    assert file.headers["cache-control"] == "no-store"
    assert secret not in str(file.url)
    assert "/env" in log.getvalue()
    assert secret not in log.getvalue()
    assert owner.send(page, f"/studio/keys/{key.id}/env", secret="x\ny").status_code == 400  # noqa: S106 - it is none


def test_a_key_is_renamed_in_the_page(people: Api, owner: Visitor) -> None:
    """A script in a name is text, in the list and on the key's page."""
    key, _ = made(people, owner, "Before")
    page = owner.send(owner.get(f"/studio/keys/{key.id}"), f"/studio/keys/{key.id}/rename", name=STORED_SCRIPT)
    assert page.url.path == f"/studio/keys/{key.id}"
    for text in (page.text, owner.get("/studio/keys").text):
        assert "<script>alert" not in text
        assert STORED_SCRIPT in html.unescape(text)
    wrong = owner.send(page, f"/studio/keys/{key.id}/rename", name="x" * 201)
    assert (wrong.status_code, "one line" in wrong.text) == (422, True)


def test_a_secret_is_rotated(people: Api, owner: Visitor) -> None:
    """The second secret is shown once, and no third is made while it waits for its first use."""
    key, first = made(people, owner, "Rotated")
    path = f"/studio/keys/{key.id}"
    form = owner.get(path)
    page = owner.send(form, f"{path}/rotate", grace="0")
    second = secret_in(page)
    assert page.headers["cache-control"] == "no-store"
    assert "for 0 hours after it" in text_of(page)
    assert "Channels: all, later ones too" in text_of(page)
    again = owner.send(form, f"{path}/rotate", grace="0")
    assert (again.status_code, SECRET.search(again.text)) == (422, None)
    assert grants(people, key, first)
    assert grants(people, key, second)
    assert not grants(people, key, first)


def test_a_rotation_is_cancelled(people: Api, owner: Visitor) -> None:
    """The second secret is worth nothing, and another one may be made."""
    key, first = made(people, owner, "Cancelled")
    path = f"/studio/keys/{key.id}"
    second = secret_in(owner.send(owner.get(path), f"{path}/rotate"))
    shown = owner.get(path)
    assert "second secret unused" in shown.text
    assert second not in shown.text
    page = owner.send(shown, f"{path}/cancel")
    assert (page.status_code, page.url.path) == (200, path)
    assert "second secret unused" not in page.text
    assert not grants(people, key, second)
    assert grants(people, key, first)
    assert SECRET.search(owner.send(page, f"{path}/rotate").text)
    late = owner.send(shown, f"{path}/cancel")
    assert late.status_code == 200
    assert owner.send(shown, f"{path}/cancel").status_code == 422


@pytest.mark.parametrize("grace", thin_out(["", "-1", "721", "soon", "9" * 30, "²"], 3))
def test_a_grace_out_of_range_is_told(people: Api, owner: Visitor, grace: str) -> None:
    """And no secret is made."""
    name = f"Grace of {grace[:5]!r}"
    key, _ = made(people, owner, name)
    page = owner.send(owner.get(f"/studio/keys/{key.id}"), f"/studio/keys/{key.id}/rotate", grace=grace)
    assert (page.status_code, "hours" in text_of(page)) == (422, True)
    assert not named(people, name).has_next_secret


def test_a_key_is_revoked_after_a_question(people: Api, owner: Visitor) -> None:
    """The question stands on the key's page; the answer ends the key, and the page says so from then on."""
    key, secret = made(people, owner, "Revoked")
    question = owner.get(f"/studio/keys/{key.id}")
    assert "Revoke <bdi>Revoked</bdi>?" in question.text
    assert grants(people, key, secret)
    page = owner.send(question, f"/studio/keys/{key.id}/revoke")
    assert page.url.path == "/studio/keys"
    assert not grants(people, key, secret)
    shown = owner.get(f"/studio/keys/{key.id}")
    assert {form.action for form in find_forms(shown.text)} & {
        f"/studio/keys/{key.id}/{what}" for what in ("rotate", "cancel", "revoke")
    } == set()
    assert owner.send(question, f"/studio/keys/{key.id}/revoke").status_code == 200


def test_keys_of_one_name_are_told_apart_by_their_ids(people: Api, owner: Visitor) -> None:
    """In the notice before they expire, in the list, and where one is revoked."""
    for _place in range(2):
        make(owner, name="Twin", expires="10")
    twins = [key.id for key in keys.list_keys(people.service.db) if key.name == "Twin"]
    _before, notice, listed = re.split('role="note"|<table', owner.get("/studio/keys").text, maxsplit=2)
    for id_ in twins:
        assert f'<bdi>Twin</bdi></a> <code class="hint">{id_}</code>' in notice
        assert f'<bdi>Twin</bdi></a><br><code class="hint">{id_}</code>' in listed
        assert f"The key <code>{id_}</code>" in owner.get(f"/studio/keys/{id_}").text


def test_the_maximum_age_asks_before_it_ends_keys(people: Api, owner: Visitor) -> None:
    """Which keys end is shown; without the answer nothing is changed."""
    key, secret = made(people, owner, "Aged", expires="")
    db = people.service.db
    with writing(db) as connection:
        aged = KEYS.update().where(KEYS.c.id == key.id)
        connection.execute(aged.values(created_at=datetime.now(UTC) - timedelta(days=50)))
    question = owner.send(owner.get("/studio/keys"), "/studio/keys/max-age", days="40")
    assert (question.status_code, f"These keys would end at once: Aged ({key.id})." in question.text) == (422, True)
    assert grants(people, key, secret)
    assert organizations.get_organization(db, "demo").max_key_days is None
    page = owner.send(owner.get("/studio/keys"), "/studio/keys/max-age", days="40", confirmed="on")
    assert page.url.path == "/studio/keys"
    assert organizations.get_organization(db, "demo").max_key_days == 40
    assert not grants(people, key, secret)
    assert "expired" in page.text
    late = make(owner, name="Late", expires="41")
    assert (late.status_code, "Keys of demo live 40 days at most" in text_of(late)) == (422, True)
    for wrong in ("0", "soon", "9" * 5000, "²"):
        assert owner.send(page, "/studio/keys/max-age", days=wrong).status_code == 422
    assert owner.send(page, "/studio/keys/max-age", days="").status_code == 200
    assert grants(people, key, secret)


def test_notice_is_given_before_a_key_expires(people: Api, owner: Visitor) -> None:
    """Above the list, and as a mark."""
    key, _ = made(people, owner, "Ending", expires="10")
    page = owner.get("/studio/keys")
    assert "Ending" in page.text.split('role="note"')[1].split("</div>")[0]
    assert "expires in 9 days" in page.text
    assert "Make another one before" in page.text
    assert "never used" in owner.get(f"/studio/keys/{key.id}").text


def test_another_organizations_key_is_not_found(people: Api, owner: Visitor) -> None:
    """By any page or form, as an unknown one; Studio's own key too."""
    service, now = people.service, datetime.now(UTC)
    organizations.add_organization(service.db, "rival", now)
    rival = keys.create_key(service.db, service.service_secret, "rival", ["create_reports"], now)
    demo = organizations.get_organization(service.db, "demo")
    with writing(service.db) as connection:
        hidden = find_or_create_studio_key(connection, demo.id, now)
    page = owner.get("/studio/keys")
    assert rival.id not in page.text
    assert hidden not in page.text
    csrf = dict(find_forms(page.text)[0].fields)["csrf"]
    for id_ in (rival.id, hidden, "rpk_unknown", "%00"):
        assert owner.get(f"/studio/keys/{id_}").status_code == 404
        for what in ("rename", "rotate", "cancel", "env", "revoke"):
            data = {"csrf": csrf, "name": "mine", "grace": "0", "secret": rival.secret}
            assert owner.client.post(f"/studio/keys/{id_}/{what}", data=data).status_code == 404, what
    (found,) = (key for key in keys.list_keys(service.db, "rival") if key.id == rival.id)
    assert (found.name, found.has_next_secret, found.revoked_at) == ("", False, None)


def test_what_owners_do_with_keys_is_in_the_audit_log(people: Api, owner: Visitor) -> None:
    """By whom and from where; never a secret."""
    key, first = made(people, owner, "Logged")
    path = f"/studio/keys/{key.id}"
    second = secret_in(owner.send(owner.get(path), f"{path}/rotate"))
    owner.send(owner.get(path), f"{path}/cancel")
    owner.send(owner.get(path), f"{path}/rename", name="Logged again")
    owner.send(owner.get(path), f"{path}/revoke")
    log = [entry for entry in audit_log.list_actions(people.service.db) if entry.subject == key.id][::-1]
    assert [entry.action for entry in log] == [
        "created a key",
        "began a key's rotation",
        "cancelled a key's rotation",
        "renamed a key",
        "revoked a key",
    ]
    assert {entry.actor.name for entry in log} == {OWNER}
    assert first not in repr(log)
    assert second not in repr(log)


def test_a_key_is_limited_to_channels_by_slug_or_id(people: Api, owner: Visitor) -> None:
    """As they are typed; a name of no channel is told, and makes no key."""
    service = people.service
    channel_registry.add_channels(service.db, service.settings, "demo", [Entry(Channel("c-two", "two"))])
    key, _secret = made(people, owner, "Limited", channels="two,\nc-demo")
    assert key.channels == ("c-demo", "c-two")
    refused = make(owner, name="Refused", channels="two third")
    assert refused.status_code == 422
    assert "demo has no channel 'third'." in text_of(refused)
    assert "Refused" not in {each.name for each in keys.list_keys(service.db)}


def test_a_key_is_revoked_without_the_facts(people: Api, owner: Visitor) -> None:
    """A secret that got out is ended at any time: its page names channels by their ids then."""
    key, secret = made(people, owner, "Got out", channel="c-demo")
    with facts_away(people):
        assert f"/studio/keys/{key.id}" in owner.get("/studio/keys").text
        page = owner.get(f"/studio/keys/{key.id}")
        assert "<bdi>c-demo</bdi>" in page.text
        assert owner.send(page, f"/studio/keys/{key.id}/revoke").status_code == 200
    assert not grants(people, key, secret)
