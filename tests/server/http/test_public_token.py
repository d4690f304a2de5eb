"""The token endpoint of public keys: what each grant answers, and what is said when there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from starlette.testclient import TestClient
from tests import quick_users
from tests.cases import thin_out
from tests.server.api import ASK, INPUT, Api
from tests.server.studio.visitor import guess_until_refused

from reelport.server.access import key_rotation, keys, users
from reelport.server.access.audit_log import Actor
from reelport.server.access.keys import KeyDetails
from reelport.server.state.database import writing
from reelport.wire import PUBLIC_GRAPHQL_PATH, PUBLIC_TOKEN_PATH, TOKEN_PATH

EMAIL = "ann@demo.example"
PASSWORD = "correct horse battery"  # noqa: S105 - of a test
LOGIN = {"grant_type": "password", "username": EMAIL, "password": PASSWORD}


@pytest.fixture(scope="module", autouse=True)
def user(api: Api) -> None:
    """A user of `demo`."""
    quick_users.add_user(api.service.db, "demo", EMAIL, "owner", PASSWORD, datetime.now(UTC))


@pytest.fixture
def client_pair(api: Api) -> dict[str, str]:
    """The id and secret of a public key of its own: grants are limited for each."""
    key = keys.create_key(
        api.service.db, api.service.service_secret, "demo", ["create_reports"], datetime.now(UTC), kind="public"
    )
    return {"client_id": key.id, "client_secret": key.secret}


def post(api: Api, form: dict[str, str], path: str = PUBLIC_TOKEN_PATH) -> httpx2.Response:
    return api.client.post(path, data=form)


def ask_at_root(api: Api, token: str) -> httpx2.Response:
    body = json.dumps({"query": ASK, "variables": {"input": INPUT}}).encode()
    return api.client.post(PUBLIC_GRAPHQL_PATH, content=body, headers={"Authorization": f"Bearer {token}"})


def test_a_password_is_answered_as_by_the_reference(api: Api, client_pair: dict[str, str]) -> None:
    """Ten hours, an empty scope, a refresh token, the user's id; nothing may be stored. `version` is let pass."""
    reply = post(api, client_pair | LOGIN | {"version": "2"})
    said = reply.json()
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    assert (said["expires_in"], said["scope"], said["token_type"]) == (36_000, "", "Bearer")
    assert said["refresh_token"]
    assert said["uid"].startswith("rpu_")


@pytest.mark.parametrize("grant", ["password", "refresh_token", "client_credentials"])
def test_the_first_use_of_a_second_secret_may_be_any_grant(api: Api, client_pair: dict[str, str], grant: str) -> None:
    """Its tokens are those of the key; the secret of before ends with its grace, here at once."""
    refresh_token = post(api, client_pair | LOGIN).json()["refresh_token"]
    service, now, actor = api.service, datetime.now(UTC), Actor(EMAIL, "")
    with writing(service.db) as connection:
        new = key_rotation.rotate_key(connection, service.service_secret, client_pair["client_id"], 0, actor, now)
    form = LOGIN | {"grant_type": grant} | ({"refresh_token": refresh_token} if grant == "refresh_token" else {})
    assert post(api, client_pair | form | {"client_secret": new.secret}).status_code == 200
    refused = post(api, client_pair | LOGIN)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client")


@pytest.mark.parametrize("grant", ["password", "refresh_token"])
def test_a_users_token_asks_for_reports_at_the_root(api: Api, client_pair: dict[str, str], grant: str) -> None:
    """GraphQL of public keys is at `POST /`."""
    said = post(api, client_pair | LOGIN).json()
    if grant == "refresh_token":
        said = post(api, client_pair | {"grant_type": grant, "refresh_token": said["refresh_token"]}).json()
    answer = ask_at_root(api, said["access_token"]).json()
    assert answer["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]


def test_a_secret_alone_gives_a_token_without_rights(api: Api, client_pair: dict[str, str]) -> None:
    """As at the reference's public host, whatever key it is. Who asks for a report by it is told the key's path."""
    for pair in (client_pair, {"client_id": api.key.id, "client_secret": api.key.secret}):
        said = post(api, pair | {"grant_type": "client_credentials"}).json()
        assert (said["scope"], said["refresh_token"]) == ("", None)
        error = ask_at_root(api, said["access_token"]).json()["errors"][0]
        assert "create_reports" in error["message"]
        assert f"A private key gets its tokens at {TOKEN_PATH};" in error["message"]


def test_wrong_users_and_wrong_passwords_are_the_same_answer(api: Api, client_pair: dict[str, str]) -> None:
    """Nobody learns which addresses sign in here."""
    wrong = post(api, client_pair | LOGIN | {"password": "x" * 20})
    unknown = post(api, client_pair | LOGIN | {"username": "bob@demo.example"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    assert wrong.json() == unknown.json()


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"password": ""}, "invalid_request", "password is missing"),
        ({"username": ""}, "invalid_request", "username is missing"),
        ({"client_secret": "no"}, "invalid_client", "the secret is wrong"),
        ({"grant_type": "refresh_token"}, "invalid_request", "refresh_token is missing"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant", "ask with the password"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type", "password, refresh_token, client_credentials"),
        ({"grant_type": ""}, "invalid_request", "send password"),
        ({"scope": "access_revenue"}, "invalid_scope", "none of the scopes"),
    ],
)
def test_what_is_wrong_is_said(
    api: Api, client_pair: dict[str, str], changed: dict[str, str], error: str, said: str
) -> None:
    """A code of RFC 6749 with status 400, and a sentence that says what to change."""
    reply = post(api, client_pair | LOGIN | changed)
    assert (reply.status_code, reply.json()["error"]) == (400, error)
    assert said in reply.json()["error_description"]


def test_a_key_of_the_other_kind_is_sent_to_its_path(api: Api, client_pair: dict[str, str]) -> None:
    """Each error names the path and the grant that the key gets tokens by."""
    private = {"client_id": api.key.id, "client_secret": api.key.secret}
    reply = post(api, private | LOGIN)
    assert (reply.json()["error"], TOKEN_PATH in reply.json()["error_description"]) == ("unauthorized_client", True)
    reply = post(api, client_pair | {"grant_type": "client_credentials"}, TOKEN_PATH)
    assert reply.json()["error"] == "unauthorized_client"
    assert PUBLIC_TOKEN_PATH in reply.json()["error_description"]
    reply = post(api, client_pair | LOGIN, TOKEN_PATH)
    assert reply.json()["error"] == "unsupported_grant_type"
    assert PUBLIC_TOKEN_PATH in reply.json()["error_description"]


def test_a_browser_at_the_root_is_told_what_is_where(api: Api) -> None:
    """The root takes only POST; whoever looks at it finds the paths."""
    reply = api.client.get(PUBLIC_GRAPHQL_PATH)
    assert (reply.status_code, reply.json()["error"]) == (404, "not_found")
    assert PUBLIC_TOKEN_PATH in reply.json()["error_description"]


def test_guessing_is_slowed_down_and_locks_out_nobody_elsewhere(api: Api, client_pair: dict[str, str]) -> None:
    """After ten wrong passwords an address waits, even with the right one; that user elsewhere does not."""
    victim = client_pair | LOGIN | {"username": "mia@demo.example"}
    quick_users.add_user(api.service.db, "demo", "mia@demo.example", "analyst", PASSWORD, datetime.now(UTC))
    replies: list[httpx2.Response] = []

    def guess() -> int:
        replies.append(post(api, victim | {"password": f"wrong password {len(replies)}"}))
        return replies[-1].status_code

    assert guess_until_refused(guess)[:10] == [400] * 10
    assert int(replies[-1].headers["retry-after"]) >= 1
    # One more may have come back meanwhile.
    assert any(guess_until_refused(guess)[-1] == post(api, victim).status_code == 429 for _ in range(20))
    assert post(api, client_pair | LOGIN).status_code == 200
    assert api.service.login_attempts.begin("192.0.2.7", "mia@demo.example") == 0


@pytest.mark.parametrize(
    "spell", thin_out([str.upper, str.title, lambda name: f" {name}", lambda name: f"{name}\t"], 4)
)
def test_guessing_is_slowed_down_however_the_user_is_spelled(
    api: Api, client_pair: dict[str, str], spell: Callable[[str], str]
) -> None:
    """Whatever leads to the same user is one user, for whom eleven guesses are too many."""
    name = f"guessed-{client_pair['client_id'].lower()}@demo.example"
    wrong = client_pair | LOGIN | {"password": "x" * 20}

    def guess(spelled: str) -> int:
        return post(api, wrong | {"username": spelled}).status_code

    def is_locked_out() -> bool:
        """Whether one spelling is refused after as many guesses as may be by the other."""
        return guess_until_refused(lambda: guess(name))[-1] == guess(spell(name)) == 429

    assert guess(spell(name)) == 400
    assert any(is_locked_out() for _ in range(5)), "a user of its own would have ten guesses"


@pytest.mark.long
def test_an_address_can_not_use_up_a_public_key(api: Api, client_pair: dict[str, str]) -> None:
    """Its secret is in every copy of a program: one address is told to come again, another signs in."""
    form = client_pair | {"grant_type": "client_credentials"}
    while (reply := post(api, form)).status_code == 200:
        pass
    assert (reply.status_code, reply.json()["error"]) == (429, "too_many_requests")
    assert "from this address" in reply.json()["error_description"]
    assert int(reply.headers["retry-after"]) >= 1
    for path in (PUBLIC_TOKEN_PATH, TOKEN_PATH):
        for _ in range(200):  # some of them may be granted, as time passes
            post(api, form, path)
    elsewhere = TestClient(api.client.app, client=("192.0.2.7", 50_000))
    assert elsewhere.post(PUBLIC_TOKEN_PATH, data=client_pair | LOGIN).status_code == 200


def test_pages_of_other_sites_use_up_nothing_of_their_visitors_address(api: Api, client_pair: dict[str, str]) -> None:
    """What a browser sends for them is refused; it counts neither as a wrong password nor as a grant of the key."""
    wrong, foreign = client_pair | LOGIN | {"password": "x" * 20}, {"Sec-Fetch-Site": "cross-site"}
    for path in (PUBLIC_TOKEN_PATH, TOKEN_PATH):
        for _ in range(60):
            reply = api.client.post(path, data=wrong, headers=foreign)
            assert (reply.status_code, reply.json()["error"]) == (403, "invalid_request")
    assert post(api, client_pair | LOGIN).status_code == 200


@pytest.mark.parametrize("end", ["password", "remove"])
def test_a_users_tokens_end_at_the_next_request(api: Api, client_pair: dict[str, str], end: str) -> None:
    """With another password, or without the user: the access token is 401, the refresh token invalid_grant."""
    name = f"{end}@demo.example"
    quick_users.add_user(api.service.db, "demo", name, "analyst", PASSWORD, datetime.now(UTC))
    said = post(api, client_pair | LOGIN | {"username": name}).json()
    assert ask_at_root(api, said["access_token"]).status_code == 200
    if end == "password":
        users.change_password(api.service.db, name, PASSWORD + "2")
    else:
        users.remove_user(api.service.db, name)
    assert ask_at_root(api, said["access_token"]).status_code == 401
    reply = post(api, client_pair | {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]})
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")


def test_right_passwords_are_not_slowed_down(api: Api, client_pair: dict[str, str]) -> None:
    """A program that signs in at each start does so more than ten times."""
    assert [post(api, client_pair | LOGIN).status_code for _ in range(15)] == [200] * 15


def test_a_users_tokens_end_with_the_key(api: Api) -> None:
    """Half an hour before the key expires a token is granted for half an hour, by password and by refresh."""
    service, now = api.service, datetime.now(UTC) - timedelta(hours=23, minutes=30)
    details = KeyDetails(expires="1")
    key = keys.create_key(
        service.db, service.service_secret, "demo", ["create_reports"], now, kind="public", details=details
    )
    pair = {"client_id": key.id, "client_secret": key.secret}
    first = post(api, pair | LOGIN)
    again = post(api, pair | {"grant_type": "refresh_token", "refresh_token": first.json()["refresh_token"]})
    for reply in (first, again):
        assert 0 < reply.json()["expires_in"] <= 1800
        assert "reelport-key-expires" in reply.headers
