"""Where settings come from; proxies, certificates, homes and addresses that can't be used, told in a sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import astuple
from io import BytesIO
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out
from tests.client.desk import HIDDEN, Desk
from tests.whole.terminal import on_terminal, surroundings

from reelport.cli.output.listing import CleanedOutput
from reelport.client.session import Session
from reelport.client.settings.config import (
    DAILYMOTION_URL,
    PUBLIC_HOST,
    Bearer,
    PrivateKey,
    PublicKey,
    Settings,
    expand_path,
    normalize_url,
    resolve_home,
)
from reelport.client.settings.profiles import resolve
from reelport.client.settings.profiles import resolve_without_files as read
from reelport.errors import AccessError, UsageError
from reelport.testing import Vendor

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


CLIENTS = """
from reelport.client.drivers.http import AsyncHttp, Http
from reelport.errors import UsageError
for kind in (Http, AsyncHttp):
    try:
        kind()
    except UsageError as error:
        print(error)
"""
WEEK = ["report", "run", "--metrics", "VIEWS", "--dimensions", "VIDEO_TITLE", "--start", "2026-01-01", "--end", "2026-01-07"]  # fmt: skip  # noqa: E501
STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31m\x08\u202e"


def outside(**more: str) -> dict[str, str]:
    """The environment without what steers a client's connections."""
    steering = ("proxy", "ssl_cert")
    return {
        name: text for name, text in os.environ.items() if not any(each in name.lower() for each in steering)
    } | more


@pytest.mark.parametrize(
    ("name", "value", "said"),
    thin_out(
        [
            ("ALL_PROXY", "socks5://user:pa55word@127.0.0.1:1", "ALL_PROXY names a SOCKS proxy, for which a library"),
            ("https_proxy", "foo://user:pa55word@127.0.0.1:1", "https_proxy is no address of a proxy"),
            ("HTTP_PROXY", "http://user:pa55word@127.0.0.1:x", "HTTP_PROXY is no address of a proxy"),
            ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE names can't be read (No such file or directory)"),
            ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE names can't be read ("),
        ],
        3,
    ),
)
def test_what_the_surroundings_lack_is_a_sentence(name: str, value: str, said: str) -> None:
    """Both clients refuse a proxy or certificates that can't be had, and repeat no password of an address."""
    words = [sys.executable, "-c", CLIENTS]
    done = subprocess.run(words, env=outside(**{name: value}), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count(said)) == (0, 2), done.stderr + done.stdout
    assert "pa55word" not in done.stdout


def test_a_user_without_a_home_is_told_what_to_set(tmp_path: Path) -> None:
    """A home of nobody is an error of usage, in the library and in the command."""
    with pytest.raises(UsageError, match="no user 'nobody-of-this-name' has a home folder"):
        expand_path("~nobody-of-this-name/reports")
    words = ["-m", "reelport", "auth", "status"]
    environment = outside(REELPORT_HOME="~nobody-of-this-name/a")
    done = forked.run(words, env=environment, cwd=tmp_path)
    assert (done.returncode, "has a home folder" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.parametrize("form", thin_out(["csv", "json", "ndjson", "table"], 2))
def test_what_steers_a_terminal_never_reaches_it_from_a_report(vendor: Vendor, tmp_path: Path, form: str) -> None:
    """Cells with escapes are shown without them on a terminal; in a file they are as they came."""
    vendor.csv = lambda _: f'video_title,views\n"{STEERING}One",1\nÉté 👩‍💻,2\n'.encode()
    here = surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path))
    status, drawn = on_terminal(here, *WEEK, "-q", "--format", form)
    assert status == 0
    assert "Été 👩‍💻" in drawn
    assert not [sign for sign in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "\x08", "\u202e") if sign in drawn], drawn


def test_what_steers_a_terminal_never_reaches_it_from_an_error(vendor: Vendor, tmp_path: Path) -> None:
    """Neither a header that wasn't asked for nor a refusal is printed raw."""
    here = surroundings(vendor.url, vendor.key, vendor.secret, REELPORT_HOME=str(tmp_path))
    vendor.csv = lambda _: f"video_title,{STEERING}views\n".encode()
    status, drawn = on_terminal(here, *WEEK, "-q")
    assert status == 1
    assert "owned" in drawn
    assert not [sign for sign in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "\u202e") if sign in drawn]


def test_cleaned_output_keeps_lines_and_letters() -> None:
    """Pieces may end anywhere: inside a letter, or between the two signs of a line end."""
    for size in (1, 2, 3, 100):
        screen = BytesIO()
        cleaned = CleanedOutput(screen)
        data = "é\tü\r\na\rb\x1b[1m\r\n👩‍💻\r".encode()
        for at in range(0, len(data), size):
            cleaned.write(data[at : at + size])
        cleaned.finish()
        assert screen.getvalue().decode() == "é\tü\na\ufffdb\ufffd[1m\n👩‍💻\ufffd"


def test_the_environments_secret_stays_with_the_environments_key_and_address(desk: Desk) -> None:
    """It serves a profile's key only when the environment names that address, and no other key."""
    desk.user('[profiles.a]\nurl = "https://a.example"\nkey = "key-a"\n')
    hidden = {"REELPORT_API_SECRET": HIDDEN, "REELPORT_URL": "https://a.example"}
    assert desk.source("secret", "a", **hidden) == (HIDDEN, "REELPORT_API_SECRET")
    assert desk.source("secret", "a", REELPORT_API_KEY="key-a", **hidden)[0] == HIDDEN
    assert desk.source("secret", "a", REELPORT_API_KEY="key-b", **hidden)[0] is None
    assert desk.source("secret", "a", **hidden | {"REELPORT_URL": "https://b.example"})[0] is None


@pytest.mark.parametrize(
    "secrets_of_environment",
    [
        {"REELPORT_API_KEY": "k", "REELPORT_API_SECRET": HIDDEN},
        {"REELPORT_API_KEY": "k", "REELPORT_API_SECRET": HIDDEN, "REELPORT_USERNAME": "u", "REELPORT_PASSWORD": HIDDEN},
        {"REELPORT_BEARER": HIDDEN},
    ],
)
@pytest.mark.parametrize("place", ["project", "user"])
def test_a_file_never_steers_a_secret_of_the_environment(
    desk: Desk, place: str, secrets_of_environment: dict[str, str]
) -> None:
    """An address that only a file gives gets no secret of the environment: the sentence says how it may."""
    write = {"project": desk.project, "user": desk.user}[place]
    write('[profiles.default]\nurl = "https://elsewhere.example"\n')
    variables = desk.environment | secrets_of_environment
    with pytest.raises(
        AccessError, match=r"elsewhere\.example doesn't get .*set REELPORT_URL=https://elsewhere"
    ) as caught:
        resolve(variables, folder=desk.folder)
    assert HIDDEN not in str(caught.value)
    trusted = variables | {"REELPORT_URL": "https://elsewhere.example"}
    assert resolve(trusted, folder=desk.folder).url == "https://elsewhere.example"
    assert resolve(variables, folder=desk.folder, url="https://typed.example").url == "https://typed.example"


def test_a_file_never_steers_a_secret_that_a_call_gives(desk: Desk) -> None:
    """A key given as arguments goes to the address given beside it or by the environment, and to no project's."""
    desk.project('[profiles.default]\nurl = "https://elsewhere.example"\n')
    with pytest.raises(AccessError, match="the secret of the argument"):
        resolve(desk.environment, folder=desk.folder, key="k", secret=HIDDEN)
    given = resolve(desk.environment, folder=desk.folder, key="k", secret=HIDDEN, url="https://mine.example")
    assert given.url == "https://mine.example"


def test_a_secret_kept_for_an_address_still_goes_to_it(desk: Desk) -> None:
    """What `auth login` kept belongs to one address, so a file may name that address."""
    desk.project('[profiles.default]\nurl = "https://u.example"\nkey = "k"\n')
    desk.holds({"secret of private key k": HIDDEN})
    assert desk.source("secret") == (HIDDEN, f"file ({desk.home}/secrets.json)")
    outside = {"REELPORT_API_SECRET": "of another"}
    assert desk.source("secret", **outside)[0] == HIDDEN


@pytest.mark.parametrize("url", ["http://reports.example", "http://10.0.0.7:8642", "http://localhost.example"])
def test_plain_http_to_another_machine_asks_for_insecure(desk: Desk, url: str) -> None:
    """A key in clear text is sent only where it was asked for in so many words."""
    variables = {**desk.environment, "REELPORT_URL": url, "REELPORT_API_KEY": "k", "REELPORT_API_SECRET": HIDDEN}
    with pytest.raises(UsageError, match="--insecure"):
        resolve(variables)
    assert resolve(variables, insecure=True).url == url
    assert resolve({**variables, "REELPORT_INSECURE": "1"}).url == url
    with pytest.raises(UsageError, match="REELPORT_INSECURE must be 1 or 0"):
        resolve({**variables, "REELPORT_INSECURE": "yes"})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8642", "http://127.9.9.9", "http://localhost:1", "http://[::1]:8642"]
)
def test_plain_http_to_this_machine_needs_no_word(desk: Desk, url: str) -> None:
    """Nobody is on the way to this machine itself."""
    assert resolve(desk.environment, url=url, key="k", secret=HIDDEN).url == url


def test_the_environments_password_stays_with_the_environments_account(desk: Desk) -> None:
    """It doesn't go with the account that a profile names."""
    desk.user('[profiles.a]\nkind = "public"\nkey = "k"\nusername = "a"\n')
    outside = {"REELPORT_PASSWORD": HIDDEN, "REELPORT_API_SECRET": HIDDEN}  # and Dailymotion's own address
    assert desk.source("password", "a", **outside)[0] == HIDDEN
    assert desk.source("password", "a", REELPORT_USERNAME="b", **outside)[0] is None
