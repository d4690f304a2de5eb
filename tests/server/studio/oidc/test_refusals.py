"""Sign-in by an OpenID Connect provider: what is refused of answers that lie, or belong elsewhere."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from urllib.parse import quote

import httpx2
import pytest
from joserfc import jwk
from tests.cases import thin_out
from tests.server.api import Api
from tests.server.studio.conftest import Visitors
from tests.server.studio.oidc.conftest import CALLBACK, Arrive, begin, find_state, is_signed_in, know
from tests.server.studio.oidc.false_provider import CLIENT, SECRET, FalseProvider
from tests.server.studio.visitor import guess_until_refused

from reelport.server.access.oidc import sign_begun


def test_an_answer_counts_once(provider: FalseProvider, visitors: Visitors) -> None:
    """Sent again, it signs nobody in: what the browser kept is used up, for another code of the provider too."""
    visitor = visitors(None)
    know(provider, "cleo", "staff")
    location = begin(visitor)
    query = {"code": provider.authorize(location, "cleo"), "iss": provider.url, "state": find_state(location)}
    kept = visitor.client.cookies["reelport-oidc"]
    assert visitor.get(CALLBACK, params=query, follow_redirects=False).status_code == 303
    assert visitor.get(CALLBACK, params=query).status_code == 400
    stolen = visitors(None)
    stolen.client.cookies.set("reelport-oidc", kept, domain="127.0.0.1", path="/")
    query["code"] = provider.authorize(location, "cleo")
    assert stolen.get(CALLBACK, params=query).status_code == 400
    assert not is_signed_in(stolen)


@pytest.mark.parametrize("kept", ["", "rpi_nothing.", "mine"])
def test_an_answer_of_another_browser_is_refused(provider: FalseProvider, visitors: Visitors, kept: str) -> None:
    """Else a page of an attacker could sign a visitor in as the attacker. The visitor's own sign-in goes on."""
    attacker, victim = visitors(None), visitors(None)
    know(provider, "eve", "staff")
    know(provider, "vera", "staff")
    location, own = begin(attacker), begin(victim) if kept == "mine" else ""
    if kept == "rpi_nothing.":
        victim.client.cookies.set("reelport-oidc", kept, domain="127.0.0.1", path="/")
    query = {"code": provider.authorize(location, "eve"), "iss": provider.url, "state": find_state(location)}
    answer = victim.get(CALLBACK, params=query)
    assert (answer.status_code, "This sign-in is not valid" in answer.text) == (400, True)
    assert not is_signed_in(victim)
    if own:
        query = {"code": provider.authorize(own, "vera"), "iss": provider.url, "state": find_state(own)}
        assert victim.get(CALLBACK, params=query, follow_redirects=False).status_code == 303


@pytest.mark.parametrize("checks_verifier", [True, False])
def test_a_code_of_another_sign_in_is_refused(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, checks_verifier: bool
) -> None:
    """By the verifier; where a provider does not look at it, by the nonce."""
    know(provider, "eve", "staff")
    foreign = provider.authorize(begin(visitors(None)), "eve")
    provider.checks_verifier = checks_verifier
    victim = visitors(None)
    assert arrive(victim, "eve", code=foreign).status_code == 403
    assert not is_signed_in(victim)


def test_a_sign_in_that_began_long_ago_is_refused(people: Api) -> None:
    """Ten minutes after it began, whatever the browser still keeps."""
    service, now = people.service, people.service_now()
    assert service.provider is not None
    token = sign_begun(service.service_secret, now)
    state = httpx2.URL(service.provider.begin(token, "http://127.0.0.1:8642/studio/oidc/callback")).params["state"]
    assert service.provider.is_own(token, state, now + timedelta(minutes=9))
    assert not service.provider.is_own(token, state, now + timedelta(minutes=10))


LIES: dict[str, dict[str, object]] = {
    "nonce": {"nonce": "of another sign-in"},
    "no nonce": {"nonce": None},
    "issuer": {"iss": "https://other.example"},
    "audience": {"aud": "another client"},
    "audiences": {"aud": ["another client", "a third"]},
    "no audience": {"aud": None},
    "party": {"aud": [CLIENT, "another client"], "azp": "another client"},
    "expired": {"exp": int(time.time()) - 3600},
    "never expires": {"exp": None},
    "future": {"iat": int(time.time()) + 36_000},
    "no subject": {"sub": None},
    "number": {"sub": 7},
    "subject of two lines": {"sub": "le\na", "email": "lea@sso.example", "groups": ["staff"]},
    "long subject": {"sub": "x" * 256, "email": "lea@sso.example", "groups": ["staff"]},
    "text of a time": {"exp": "tomorrow"},
}


@pytest.mark.parametrize("lie", thin_out(LIES, 4))
def test_an_identity_with_a_wrong_claim_is_refused(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, lie: str
) -> None:
    """Each claim is held against this sign-in, this client and this moment."""
    know(provider, "lea", "staff")
    provider.lies.update(LIES[lie])
    visitor = visitors(None)
    answer = arrive(visitor, "lea")
    assert (answer.status_code, "Not signed in" in answer.text) == (403, True)
    assert not is_signed_in(visitor)


@pytest.mark.parametrize("how", ["none", "HS256", "HS256 by the public key", "another key", "no token", "no signature"])
def test_an_identity_that_the_provider_did_not_sign_is_refused(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, how: str
) -> None:
    """Neither without a signature, nor by what others know: the client's secret, the public key."""
    know(provider, "sue", "staff")
    match how:
        case "none":
            provider.header["alg"], provider.is_signing = "none", False
        case "HS256":
            provider.header["alg"], provider.signer = "HS256", jwk.OctKey.import_key(SECRET)
        case "HS256 by the public key":
            public = provider.key.as_pem(private=False).hex()
            provider.header["alg"], provider.signer = "HS256", jwk.OctKey.import_key(public)
        case "another key":
            provider.signer = jwk.RSAKey.generate_key(2048, {"kid": "first"})
        case "no token":
            provider.token = ""
        case "no signature":
            provider.token = provider.sign({"iss": provider.url, "sub": "sue"}).rpartition(".")[0] + "."
    visitor = visitors(None)
    assert arrive(visitor, "sue").status_code == 403
    assert not is_signed_in(visitor)


@pytest.mark.parametrize("issuer", [None, "", "https://other.example"])
def test_an_answer_of_another_provider_is_refused_before_its_code_is_sent(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, issuer: str | None
) -> None:
    """RFC 9207: else a code of one provider would be sent to another."""
    know(provider, "max", "staff")
    visitor = visitors(None)
    provider.answers["/token"] = 500, b"the code was sent"
    assert arrive(visitor, "max", iss=issuer).status_code == 403
    assert not is_signed_in(visitor)


@pytest.mark.parametrize(
    "path", ["https://evil.example/", "//evil.example/studio", "/studio/../x", "/studio@evil", "/studio/x\r\ny"]
)
def test_a_sign_in_by_the_provider_leads_to_studio_alone(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, path: str
) -> None:
    """Neither what the link says nor what the browser was made to keep leads elsewhere."""
    know(provider, "rex", "staff")
    assert arrive(visitors(None), "rex", path).headers["location"] == "/studio"
    visitor = visitors(None)
    location = begin(visitor)
    token = visitor.client.cookies["reelport-oidc"].partition(".")[0]
    visitor.client.cookies.clear()
    visitor.client.cookies.set("reelport-oidc", f"{token}.{quote(path)}", domain="127.0.0.1", path="/")
    query = {"code": provider.authorize(location, "rex"), "iss": provider.url, "state": find_state(location)}
    assert visitor.get(CALLBACK, params=query, follow_redirects=False).headers["location"] == "/studio"


DESCRIPTION = "/.well-known/openid-configuration"


AWAY = {DESCRIPTION: 500, "/token": 503, "/me": 502, "/jwks": 500}


WRONG: dict[str, tuple[str, int, bytes]] = {
    "no description": (DESCRIPTION, 404, b"{}"),
    "a page": (DESCRIPTION, 200, b"<html>"),
    "a list": (DESCRIPTION, 200, b"[]"),
    "a redirect": (DESCRIPTION, 302, b""),
    "deep": (DESCRIPTION, 200, b"[" * 500_000),
    "huge token": ("/token", 200, b'{"id_token": "' + b"x" * 2_000_000 + b'"}'),
    "no token": ("/token", 200, b"{}"),
    "token is a list": ("/token", 200, b'{"id_token": [1]}'),
    "no keys": ("/jwks", 200, b"{}"),
    "keys are none": ("/jwks", 200, b'{"keys": [1, null, {"kty": "RSA"}]}'),
    "somebody else": ("/me", 200, b'{"sub": "somebody else", "email": "ann@demo.example", "groups": ["heads"]}'),
}


@pytest.mark.parametrize("path", AWAY)
def test_a_provider_that_is_away_is_told_so(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, path: str
) -> None:
    """With a page that says to try again, and when; the password's form is still there."""
    know(provider, "pam", "staff")
    visitor = visitors(None)
    provider.answers[path] = AWAY[path], b"no"
    answer = visitor.get("/studio/oidc") if path == DESCRIPTION else arrive(visitor, "pam")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "The provider is away" in answer.text
    assert "Password" in visitor.get("/studio/sign-in").text


def test_a_provider_that_does_not_listen_is_away(provider: FalseProvider, visitors: Visitors) -> None:
    """Also where it falls silent in the middle of a sign-in."""
    provider.described["token_endpoint"] = "http://127.0.0.1:9/token"  # noqa: S105 - the port of nobody
    visitor = visitors(None)
    location = begin(visitor)
    query = {"code": "x", "iss": provider.url, "state": find_state(location)}
    assert visitor.get(CALLBACK, params=query).status_code == 503


@pytest.mark.long
def test_a_provider_whose_answer_never_ends_is_away(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """However often it says a little: it holds no thread, so sign-ins go on and the service can stop."""
    know(provider, "dot", "staff")
    provider.endless.add("/token")
    assert arrive(visitors(None), "dot").status_code == 503


@pytest.mark.parametrize("wrong", thin_out(WRONG, 4))
def test_an_answer_of_the_provider_that_is_wrong_signs_nobody_in(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, wrong: str
) -> None:
    """Whatever it is: a page says that the provider did not, and the log says why."""
    know(provider, "wes", "staff")
    path, status, body = WRONG[wrong]
    visitor = visitors(None)
    provider.answers[path] = status, body
    answer = visitor.get("/studio/oidc") if path == DESCRIPTION else arrive(visitor, "wes")
    assert (answer.status_code, "Not signed in" in answer.text) == (403, True)
    assert not is_signed_in(visitor)


@pytest.mark.parametrize(
    "endpoint",
    [
        "javascript:alert(1)",
        "ftp://127.0.0.1/",
        "//evil.example",
        "http:///studio",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/\ud800",
        7,
        None,
    ],
)
def test_a_browser_is_sent_to_an_address_of_the_web_alone(
    provider: FalseProvider, visitors: Visitors, endpoint: object
) -> None:
    """With the scheme of the issuer: an issuer with TLS doesn't lead to an address without."""
    provider.described["authorization_endpoint"] = endpoint
    assert visitors(None).get("/studio/oidc", follow_redirects=False).status_code == 403


def test_new_keys_of_the_provider_are_read_when_they_sign(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """Not ten minutes later."""
    know(provider, "nia", "staff")
    assert arrive(visitors(None), "nia").status_code == 303
    first, provider.key = provider.key, jwk.RSAKey.generate_key(2048, {"kid": "second"})
    provider.header["kid"] = "second"
    assert arrive(visitors(None), "nia").status_code == 303
    provider.key = first


UNREADABLE: dict[str, object] = {
    "nothing of the key": {"kty": "RSA"},
    "a number too small": {"kty": "RSA", "n": "AA", "e": "AQAB"},
    "no base64": {"kty": "RSA", "n": "!!", "e": "AQAB"},
    "another curve": {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
    "a point beside the curve": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    "another length": {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    "a list for a kind": {"kty": ["RSA"]},
    "no kind": {"n": "AA"},
    "no key": None,
}


@pytest.mark.parametrize("unreadable", thin_out(UNREADABLE, 4))
def test_a_key_of_the_provider_that_cant_be_read_locks_nobody_out(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive, unreadable: str
) -> None:
    """The others sign on, whether it comes first or last."""
    know(provider, "kim", "staff")
    whole = {**provider.key.as_dict(private=False), "use": "sig"}
    for found in ([UNREADABLE[unreadable], whole], [whole, UNREADABLE[unreadable]]):
        provider.answers["/jwks"] = 200, json.dumps({"keys": found}).encode()
        assert arrive(visitors(None), "kim").status_code == 303


def test_failed_sign_ins_by_the_provider_are_limited(
    provider: FalseProvider, visitors: Visitors, arrive: Arrive
) -> None:
    """Each asks the provider: nobody makes us ask it without end. Those that succeed don't count."""
    know(provider, "fay", "staff")
    for _ in range(12):
        assert arrive(visitors(None), "fay").status_code == 303
    visitor = visitors(None)
    assert guess_until_refused(lambda: arrive(visitor, "fay", code="wrong").status_code)[-1] == 429


@pytest.mark.parametrize(("name", "value"), [("issuer", "https://other.example"), ("more", "x" * 2_000_000)])
def test_a_description_of_another_issuer_or_without_end_is_refused(
    provider: FalseProvider, visitors: Visitors, name: str, value: str
) -> None:
    """However right the rest of it is: no browser is sent where it says."""
    provider.described[name] = value
    assert visitors(None).get("/studio/oidc", follow_redirects=False).status_code == 403
