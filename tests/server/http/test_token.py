"""The token endpoint: how a form may arrive, what a grant holds, and what is said when there is none."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx2
import pytest
from tests.patience import until
from tests.server.api import Api

from reelport.server.access import key_rotation, keys
from reelport.server.access.audit_log import Actor
from reelport.server.access.keys import KeyDetails
from reelport.server.limits.body_budget import TOKEN_BODY_BYTES
from reelport.server.limits.rate_limits import hash_owner
from reelport.server.state.database import writing
from reelport.wire import TOKEN_PATH

FORMS = [
    "form",
    "form under a JSON header",
    "form under a header of text",
    "form after a mark",
    "multipart",
    "JSON",
    "JSON after a mark",
    "JSON under a form header",
]
KEYS = {"access_token", "refresh_token", "expires_in", "scope", "token_type"}
FORM_HEADER = {"Content-Type": "application/x-www-form-urlencoded"}


def basic(id_: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{id_}:{secret}".encode()).decode()}


def test_a_grant_has_five_keys_always(api: Api) -> None:
    """All five keys are there, `refresh_token` as null, and nothing may be stored."""
    reply = api.grant(scope="create_reports")
    assert reply.status_code == 200
    assert reply.json().keys() == KEYS
    assert reply.json()["refresh_token"] is None
    assert (reply.json()["expires_in"], reply.json()["token_type"]) == (3600, "Bearer")
    assert reply.headers["cache-control"] == "no-store"
    assert "pragma" not in reply.headers  # a header of requests, for caches of HTTP/1.0


def test_unknown_scopes_and_those_the_key_lacks_are_left_out(api: Api) -> None:
    """Scopes come in any order; what is granted comes in ours."""
    reply = api.grant(scope="  access_revenue read_reports nonsense   create_reports ")
    assert reply.json()["scope"] == "create_reports read_reports"


def test_a_key_that_holds_none_of_the_scopes_gets_none(api: Api) -> None:
    """Only then it is an invalid scope."""
    reply = api.grant(scope="access_revenue nonsense")
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_scope")
    commas = api.grant(scope="create_reports,read_reports").json()
    assert (commas["error"], "blanks separate them" in commas["error_description"]) == ("invalid_scope", True)


def fields(api: Api) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": api.key.id,
        "client_secret": api.key.secret,
        "scope": "create_reports",
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_form_may_arrive_in_several_ways(api: Api, form: str) -> None:
    """A form, a form in parts and a JSON object are read, whatever the header calls them."""
    given = fields(api)
    encoded = str(httpx2.QueryParams(given)).encode()
    match form:
        case "form":
            reply = api.client.post(TOKEN_PATH, content=encoded, headers=FORM_HEADER)
        case "form under a JSON header":
            reply = api.client.post(TOKEN_PATH, content=encoded, headers={"Content-Type": "application/json"})
        case "form under a header of text":
            reply = api.client.post(TOKEN_PATH, content=encoded, headers={"Content-Type": "text/plain"})
        case "form after a mark":  # a byte order mark, as Windows' shell writes it
            reply = api.client.post(TOKEN_PATH, content=b"\xef\xbb\xbf" + encoded, headers=FORM_HEADER)
        case "JSON after a mark":
            reply = api.client.post(TOKEN_PATH, content=b"\xef\xbb\xbf" + json.dumps(given).encode())
        case "multipart":
            reply = api.client.post(TOKEN_PATH, files={name: (None, value) for name, value in given.items()})
        case "JSON":
            reply = api.client.post(TOKEN_PATH, json=given)
        case _:
            reply = api.client.post(TOKEN_PATH, content=json.dumps(given).encode(), headers=FORM_HEADER)
    assert reply.status_code == 200, reply.text
    assert reply.json()["scope"] == "create_reports"


def test_basic_credentials_are_taken(api: Api) -> None:
    """The id and secret may stand in the header instead of the body."""
    reply = api.client.post(
        TOKEN_PATH, data={"grant_type": "client_credentials"}, headers=basic(api.key.id, api.key.secret)
    )
    assert reply.status_code == 200


def test_two_authorization_headers_are_refused(api: Api) -> None:
    """Though both are good: a proxy in between may have looked at the other one."""
    twice = [*basic(api.key.id, api.key.secret).items()] * 2
    reply = api.client.post(TOKEN_PATH, data={"grant_type": "client_credentials"}, headers=twice)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


def test_wrong_basic_credentials_are_challenged(api: Api) -> None:
    """RFC 6749: 401 with WWW-Authenticate where the header was used, 400 where the body was."""
    reply = api.client.post(TOKEN_PATH, data={"grant_type": "client_credentials"}, headers=basic(api.key.id, "no"))
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
    assert reply.headers["www-authenticate"].startswith("Basic ")
    reply = api.grant(client_secret="no")  # noqa: S106 - a wrong one
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_client")


@pytest.mark.parametrize("changed", [{"client_id": "x"}, {"client_id": "rpk_\0"}, {"client_id": "é" * 2000}])
def test_strange_ids_are_only_unknown(api: Api, changed: dict[str, str]) -> None:
    """Whatever is sent as an id, no key is found and nothing breaks."""
    reply = api.grant(**changed)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_client")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "wrong"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "wrong", "client_id": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "password", "username": "u", "password": "p"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "invalid_request"),
        ({"grant_type": "client_credentials", "client_id": "x"}, "invalid_request"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_oauths_words(api: Api, form: dict[str, str], error: str) -> None:
    """Each has status 400, a code of RFC 6749 as JSON and a sentence."""
    reply = api.client.post(TOKEN_PATH, data=form)
    assert (reply.status_code, reply.json()["error"]) == (400, error)
    assert reply.json()["error_description"]
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", "application/x-www-form-urlencoded"),
        (b"grant_type=%FF%FE", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % number for number in range(1000)), "application/x-www-form-urlencoded"),
        (b'{"grant_type": ', "application/json"),
        (b'{"grant_type": 5}', "application/json"),
        (b'{"grant_type": "x", "grant_type": "client_credentials"}', "application/json"),
        (b'{"\\ud800": 5}', "application/json"),
        (b'{"\\ud800": "", "\\ud800": ""}', "application/json"),
        (b"{" * 16_000, "application/json"),
        (b'{"a":' * 3_000, "application/json"),
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"no parts", "multipart/form-data"),
        (b"no parts", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=grant_type\r\n\r\n", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n--x--',
            "multipart/form-data; boundary=x",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\xff\r\n--x--',
            "multipart/form-data; boundary=x; charset=no",
        ),
        *(
            (
                b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n--x--',
                f"multipart/form-data; boundary=x; charset={charset}",
            )
            for charset in ("undefined", "idna", "hex", "utf-16")
        ),
        (b"--x\r\nnonsense\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"grant_type=client_credentials", ""),
    ],
)
def test_a_broken_body_is_an_invalid_request(api: Api, body: bytes, header: str) -> None:
    """Whatever the body, the answer is JSON with status 400."""
    reply = api.client.post(TOKEN_PATH, content=body, headers={"Content-Type": header} if header else {})
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request"), reply.text


def test_credentials_in_both_places_are_refused(api: Api) -> None:
    """RFC 6749 allows one way at a time; the same id in both is no second way."""
    header = basic(api.key.id, api.key.secret)
    twice = api.client.post(TOKEN_PATH, data=fields(api), headers=header)
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    once = {"grant_type": "client_credentials", "client_id": api.key.id}
    assert api.client.post(TOKEN_PATH, data=once, headers=header).status_code == 200
    broken = api.client.post(TOKEN_PATH, data=once, headers={"Authorization": "Basic %%%"})
    assert (broken.status_code, broken.json()["error"]) == (400, "invalid_request")


def test_a_long_body_is_too_large(api: Api) -> None:
    """Exactly the limit is still read; more of it is 413, as JSON, however costly it would be to read."""
    at_limit = urlencode(fields(api)).encode() + b"&x="
    at_limit += b"%" * (TOKEN_BODY_BYTES - len(at_limit))
    assert api.client.post(TOKEN_PATH, content=at_limit, headers=FORM_HEADER).status_code == 200
    reply = api.client.post(TOKEN_PATH, content=at_limit + b"%", headers=FORM_HEADER)
    assert (reply.status_code, reply.json()["error"]) == (413, "invalid_request")


def test_only_post_is_taken(api: Api) -> None:
    """A secret must not stand in an address."""
    reply = api.client.get(TOKEN_PATH, params=fields(api))
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"] == "invalid_request"


def test_the_seconds_of_a_refusal_as_one_too_many_do_not_count(api: Api) -> None:
    """A crowd of them is quick, and would hide from an alert that the others are slow."""
    assert refuse_grant(api, "any").status_code == 429
    assert api.grant().status_code == 200
    page = api.client.get("/metrics").text
    requests = re.findall(
        rf'^reelport_requests_total{{.*route="{TOKEN_PATH}",status="(\d+)"}} (\S+)$', page, re.MULTILINE
    )
    (timed,) = re.findall(rf'^reelport_request_seconds_count{{route="{TOKEN_PATH}"}} (\S+)$', page, re.MULTILINE)
    assert dict(requests).keys() >= {"200", "429"}
    assert float(timed) == sum(float(count) for status, count in requests if status != "429")


def test_a_key_that_asks_too_often_is_told_when_to_come_again(api: Api) -> None:
    """429 with Retry-After; the id alone, with a wrong secret, uses up nothing of it."""
    for _ in range(200):
        api.service.grants.take(hash_owner(api.key.id, "wrong"))
    assert api.grant().status_code == 200
    reply = refuse_grant(api, api.key.secret)
    assert (reply.status_code, reply.json()["error"]) == (429, "too_many_requests")
    assert int(reply.headers["retry-after"]) >= 1


def refuse_grant(api: Api, secret: str) -> httpx2.Response:
    """The answer to one grant too many. On a busy machine a grant comes back before the request: then once more."""
    replies: list[httpx2.Response] = []

    def is_refused() -> bool:
        while not api.service.grants.take(hash_owner(api.key.id, secret)):
            pass
        replies.append(api.grant(client_secret=secret))
        return replies[-1].status_code == 429

    assert until(is_refused)
    return replies[-1]


def test_the_first_use_of_a_rotated_secret_is_answered_as_any(api: Api) -> None:
    """A token at once, by either secret; the old one ends with its grace, here at once."""
    service, now = api.service, datetime.now(UTC)
    key = keys.create_key(service.db, service.service_secret, "demo", ["create_reports"], now)
    with writing(service.db) as connection:
        new = key_rotation.rotate_key(connection, service.service_secret, key.id, 0, Actor("ann", ""), now)
    replies = [
        api.grant(client_id=key.id, client_secret=secret) for secret in (key.secret, new.secret, new.secret, key.secret)
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 400]
    assert replies[3].json()["error"] == "invalid_client"


def test_a_key_that_expires_soon_says_so_beside_its_tokens(api: Api) -> None:
    """In a header of each grant, and in its life. The body is the same."""
    details = KeyDetails(expires="1")
    service, now = api.service, datetime.now(UTC) - timedelta(hours=23, minutes=30)
    key = keys.create_key(service.db, service.service_secret, "demo", ["create_reports"], now, details=details)
    for _ in range(2):
        reply = api.grant(client_id=key.id, client_secret=key.secret)
        assert reply.json().keys() == KEYS
        assert 0 < reply.json()["expires_in"] <= 1800
        assert reply.headers["reelport-key-expires"] == f"{now + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    assert "reelport-key-expires" not in api.grant().headers


def test_an_expired_key_is_refused_as_an_unknown_one(api: Api) -> None:
    """The sentence names all that may be the cause; which it is is not told."""
    details = KeyDetails(expires="1")
    service, now = api.service, datetime.now(UTC) - timedelta(days=2)
    key = keys.create_key(service.db, service.service_secret, "demo", ["create_reports"], now, details=details)
    replies = [api.grant(client_id=id_, client_secret=key.secret) for id_ in (key.id, "rpk_unknown")]
    assert {reply.status_code for reply in replies} == {400}
    assert {reply.text for reply in replies} == {replies[0].text}
    assert "it has expired or was revoked" in replies[0].json()["error_description"]


def test_a_grant_and_a_request_are_noted_as_uses(api: Api) -> None:
    """When the key was last used is in the state soon after."""
    service = api.service
    key = keys.create_key(service.db, service.service_secret, "demo", ["create_reports"], datetime.now(UTC))

    def last_used() -> datetime | None:
        (found,) = (each for each in keys.list_keys(service.db, "demo") if each.id == key.id)
        return found.last_used_at

    assert last_used() is None
    assert api.grant(client_id=key.id, client_secret="rps_wrong").status_code == 400  # noqa: S106 - it is no secret
    assert last_used() is None
    assert api.grant(client_id=key.id, client_secret=key.secret).status_code == 200
    assert until(lambda: last_used() is not None)
