"""A link that leads nowhere: the error names the host that was tried, and what to set."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.client.conftest import Fetch, Server

from reelport import ReportQuery
from reelport.client.flows.download import advise_on_link_host, describe_link_host, path_of_link
from reelport.errors import Unreachable
from reelport.wire import VERSION_HEADER


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("reelport", [True, False])
def test_a_link_to_a_host_that_is_away_names_it(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch, *, reelport: bool
) -> None:
    """And the setting that is wrong, where it is a Reelport service; never the signature."""
    where = f"http://127.0.0.1:{closed_port()}"
    link = f"{where}/files/x.csv?signature=s1gn3d"
    server.looks(*[("FINISHED", [link])] * 4)
    if reelport:
        heard(server)
    with pytest.raises(Unreachable) as caught:
        fetcher(server, tmp_path / "views.csv", query)
    said = str(caught.value)
    assert f"The report's file at {where} gave no answer" in said
    assert ("REELPORT_PUBLIC_URL" in said) is reelport
    assert (server.url in said) is reelport
    assert "s1gn3d" not in said


@pytest.mark.parametrize("link", ["http://[::1", "http://a..b/f", f"http://{64 * 'a'}/f", "http://127.0.0.1:x/f"])
def test_a_link_that_is_no_address_is_told(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch, link: str
) -> None:
    """As an error of this library, whatever the resolver or the reader of addresses raises."""
    server.looks(*[("FINISHED", [link])] * 4)
    with pytest.raises(Unreachable, match=r"The report's file at .* gave no answer"):
        fetcher(server, tmp_path / "views.csv", query)


def heard(server: Server) -> None:
    """Have every answer so far say that a Reelport service gave it."""
    for path, answers in server.answers.items():
        server.answers[path] = [each.replace(b"\r\n", f"\r\n{VERSION_HEADER}: 1\r\n".encode(), 1) for each in answers]


def test_where_a_link_leads_is_told_without_what_is_secret_in_it() -> None:
    """Scheme, host and port alone."""
    assert describe_link_host("https://me:secret@files.example:444/a?signature=b") == "https://files.example:444"
    assert describe_link_host("http://[::1]:80/a") == "http://[::1]:80"
    for none in ("file:///etc/passwd", "https://x:port/", "", "https://[::1"):
        assert describe_link_host(none) == "no web address"


def test_a_links_path_tells_its_file() -> None:
    """Fresh links to the same file differ in their signature alone; of no address all tells."""
    assert path_of_link("https://files.example/a.csv?signature=b") == "/a.csv"
    assert path_of_link("http://[::1") == "http://[::1"


def test_a_link_to_the_services_own_host_needs_no_advice() -> None:
    """Ports that aren't written count as they are meant; another host of a Reelport service is worth a word."""
    for link, url in (("https://a:443/f", "https://a"), ("http://A/f", "http://a:80/graphql")):
        assert advise_on_link_host(link, url, reelport=True) == ""
    assert advise_on_link_host("http://a:8642/f", "https://a", reelport=True)
    assert advise_on_link_host("http://b/f", "http://a", reelport=False) == ""
