"""Proxies, certificates, homes and addresses that a client can't use: a sentence that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out
from tests.client.desk import HIDDEN, Desk
from tests.whole.terminal import on_terminal, surroundings

from reelport.cli.output.listing import CleanedOutput
from reelport.client.settings.config import expand_path
from reelport.client.settings.profiles import resolve
from reelport.errors import AccessError, UsageError
from reelport.testing import Vendor

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
