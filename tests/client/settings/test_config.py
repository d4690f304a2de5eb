"""Which service a client speaks to, as whom, and what that means."""

from __future__ import annotations

import re
from dataclasses import astuple
from pathlib import Path

import pytest

from reelport.client.session import Session
from reelport.client.settings.config import (
    DAILYMOTION_URL,
    PUBLIC_HOST,
    Bearer,
    PrivateKey,
    PublicKey,
    Settings,
    normalize_url,
    resolve_home,
)
from reelport.client.settings.profiles import resolve_without_files as read
from reelport.errors import AccessError, UsageError

KEY = {"REELPORT_API_KEY": "key of env", "REELPORT_API_SECRET": "secret of env"}
LOGIN = {"REELPORT_USERNAME": "me@example.org", "REELPORT_PASSWORD": "password of env"}
GIVEN = "secret"
BEARER = {"REELPORT_BEARER": "bearer-of-env"}


@pytest.mark.parametrize(
    ("url", "reelport"),
    [
        ("https://partner.api.dailymotion.com", False),
        ("https://dailymotion.com", False),
        ("https://graphql.API.Dailymotion.com/", False),
        ("https://notdailymotion.com", True),
        ("https://dailymotion.com.example.org", True),
        ("http://127.0.0.1:8642", True),
        ("http://[::1]:8642/reports/", True),
    ],
)
def test_which_hosts_may_be_reelport(url: str, *, reelport: bool) -> None:
    """Every host but Dailymotion's own may turn out to be a Reelport service."""
    settings = read({}, url=url, key="key", secret=GIVEN)
    assert settings.is_dailymotion is not reelport
    assert not settings.url.endswith("/")


@pytest.mark.parametrize(
    ("environment", "kind", "url"),
    [
        (KEY, PrivateKey, DAILYMOTION_URL),
        (KEY | LOGIN, PublicKey, PUBLIC_HOST),
        (KEY | LOGIN | BEARER, Bearer, DAILYMOTION_URL),
        (BEARER, Bearer, DAILYMOTION_URL),
        (KEY | {"REELPORT_BEARER": "  "}, PrivateKey, DAILYMOTION_URL),
        (KEY | {"REELPORT_URL": "http://127.0.0.1:1"}, PrivateKey, "http://127.0.0.1:1"),
    ],
)
def test_the_environment_names_a_key(environment: dict[str, str], kind: type, url: str) -> None:
    """What is set makes a private key, a public one, or a bearer token, each with a host of its own."""
    settings = read(environment)
    assert isinstance(settings.key, kind)
    assert settings.url == url


def test_a_key_given_whole_leaves_the_environment_aside() -> None:
    """An argument's key isn't mixed with a login, or displaced by a bearer token, of the environment."""
    settings = read(KEY | LOGIN | BEARER, key="key", secret=GIVEN)
    assert settings.key == PrivateKey("key", "secret")
    assert read(KEY | LOGIN, bearer="mine").key == Bearer("mine")
    half = read(KEY | LOGIN | BEARER, key="key", secret=GIVEN, username="you")
    assert half.key == PublicKey("key", "secret", "you", "password of env")


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, ["REELPORT_API_KEY", "REELPORT_API_SECRET"]),
        ({"REELPORT_API_KEY": "k"}, ["REELPORT_API_SECRET"]),
        ({"REELPORT_PASSWORD": "p"}, ["REELPORT_API_KEY", "REELPORT_API_SECRET", "REELPORT_USERNAME"]),
        (KEY | {"REELPORT_USERNAME": "u"}, ["REELPORT_PASSWORD"]),
    ],
)
def test_a_key_that_is_not_whole(environment: dict[str, str], missing: list[str]) -> None:
    """All that is missing is named at once, and nothing that is there."""
    with pytest.raises(AccessError) as caught:
        read(environment)
    assert [word for word in str(caught.value).replace(".", "").split() if word.startswith("REELPORT")] == missing


@pytest.mark.parametrize("name", ["REELPORT_SLOTS", "REELPORT_WINDOW_DAYS"])
@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "٣", "9" * 5000])
def test_a_count_that_is_none(name: str, text: str) -> None:
    """A count is a whole number of at least 1, in plain digits, and not endless."""
    with pytest.raises(UsageError, match=name):
        read(KEY | {name: text})


def test_counts_come_from_the_environment() -> None:
    """Slots and the longest window are settings; a query is held to the latter."""
    settings = read(KEY | {"REELPORT_SLOTS": "5", "REELPORT_WINDOW_DAYS": " 30 "})
    assert (settings.slots, settings.windows) == (5, 30)
    assert Session(settings).rules.days == 30
    plain = read(KEY)
    assert (plain.slots, plain.windows, Session(plain).rules.days) == (2, None, 180)


@pytest.mark.parametrize("value", [7, b"key", ["key"], "half a letter: \ud800"])
def test_what_is_no_text(value: object) -> None:
    """A key that isn't a text is refused for that, wherever it stands."""
    with pytest.raises(UsageError, match="text"):
        read(KEY, key=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        *("example.org", "ftp://example.org", "http://", "http://[::1", "http://x:0", "http://x:99999", "http://a@b"),
        *("https://reports..example.org", "https://.example.org", f"https://{64 * 'a'}.example.org"),
    ],
)
def test_what_is_no_address(url: str) -> None:
    """Neither a bare name, an address with a login in it, nor a host that no DNS name can be is taken."""
    with pytest.raises(UsageError):
        normalize_url(url)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("reports.example.org/v1", "https://reports.example.org/v1"),
        ("localhost:8642", "http://localhost:8642"),
        ("127.0.0.1:8642", "http://127.0.0.1:8642"),
        ("a b", DAILYMOTION_URL),
        ("http://a b", DAILYMOTION_URL),
        ("http://x/\x1b[31m", DAILYMOTION_URL),
        ("x" * 5000, DAILYMOTION_URL),
    ],
)
def test_an_address_without_a_scheme_is_told_with_one(url: str, meant: str) -> None:
    """Of this machine by http; where more than the scheme is wrong, an example is given."""
    with pytest.raises(UsageError, match=re.escape(meant)):
        normalize_url(url)


def test_one_service_has_one_address() -> None:
    """Case of the host, the standard port and a slash at the end make no other service: the ledger finds its rows."""
    same = ["https://example.org", "https://EXAMPLE.org/", "https://example.org:443", " https://example.org// "]
    assert {normalize_url(url) for url in same} == {"https://example.org"}
    assert normalize_url("http://[::1]:80/Reports/") == "http://[::1]/Reports"
    assert normalize_url(f"https://{63 * 'a'}.example.org./") == f"https://{63 * 'a'}.example.org."


def test_an_identity_tells_keys_apart_and_tells_no_key() -> None:
    """Service, kind, key and account each make another identity; secret and password don't, and nothing shows."""
    keys: list[PrivateKey | PublicKey | Bearer] = [
        PrivateKey("one-key", "s"),
        PrivateKey("another-key", "s"),
        PublicKey("one-key", "s", "owner-1", "p"),
        PublicKey("one-key", "s", "owner-2", "p"),
        Bearer("token-1"),
        Bearer("token-2"),
    ]
    found = {Settings(url, key).identity for key in keys for url in ("https://a.example", "https://b.example")}
    assert len(found) == 2 * len(keys)
    assert all(len(identity) == 16 and int(identity, 16) >= 0 for identity in found)
    first, renewed = PublicKey("k", "s", "u", "p"), PublicKey("k", "s2", "u", "p2")
    assert Settings("https://a.example", first).identity == Settings("https://a.example", renewed).identity


@pytest.mark.parametrize(
    ("key", "url", "graphql", "token"),
    [
        (PrivateKey("k", "s"), DAILYMOTION_URL, "/graphql", "/oauth/v1/token"),
        (PublicKey("k", "s", "u", "p"), PUBLIC_HOST, "/", "/oauth/token"),
        (PublicKey("k", "s", "u", "p"), "http://127.0.0.1:8642/base", "/", "/oauth/token"),
        (Bearer("t"), DAILYMOTION_URL, "/graphql", None),
        (Bearer("t"), PUBLIC_HOST, "/", None),
    ],
)
def test_each_key_has_its_paths(
    key: PrivateKey | PublicKey | Bearer, url: str, graphql: str, token: str | None
) -> None:
    """Private and public keys are good at different paths; a bearer token goes where its host has GraphQL."""
    settings = Settings(url, key)
    assert settings.graphql_url == url + graphql
    assert settings.token_url == (None if token is None else url + token)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("htp:/x", "did you mean http://x?"),
        ("https:/x.example/y", "did you mean https://x.example/y?"),
        ("x.example", "did you mean https://x.example?"),
        ("localhost:8080", "did you mean http://localhost:8080?"),
        ("ftp://x", "give one like"),
        ("://", "give one like"),
    ],
)
def test_an_address_that_is_none_is_told_with_the_one_that_was_meant(url: str, advice: str) -> None:
    """A mistyped scheme is put right, and never taken for a host."""
    with pytest.raises(UsageError, match=re.escape(advice)):
        read({"REELPORT_URL": url, "REELPORT_API_KEY": "k", "REELPORT_API_SECRET": "s"})


def test_no_key_prints_itself() -> None:
    """The repr of settings holds the address and no part of the key."""
    for key in (PrivateKey("ident", "hidden"), PublicKey("ident", "hidden", "owner", "word"), Bearer("hidden")):
        printed = repr(Settings("https://a.example", key))
        assert not [secret for secret in astuple(key) if secret in printed]


def test_the_home_is_a_setting(tmp_path: Path) -> None:
    """What a user keeps lies in one folder."""
    assert resolve_home({"REELPORT_HOME": str(tmp_path)}) == tmp_path
    assert resolve_home({"REELPORT_HOME": "~/x"}) == Path.home() / "x"
    assert resolve_home({"REELPORT_HOME": " "}) == Path.home() / ".reelport"
