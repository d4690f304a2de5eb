"""Proxies, certificates and homes that a client can't use: a sentence that says what to do, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from tests import forked
from tests.cases import thin_out
from tests.whole.terminal import on_terminal, surroundings

from reelport.cli.output.listing import CleanedOutput
from reelport.client.settings.config import expand_path
from reelport.errors import UsageError
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
