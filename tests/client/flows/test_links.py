"""Links to files: expired, redirected, on several pages, none at all, or to a host that leads nowhere."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.client.conftest import REPORT, SECRET, Fetch, Server, Time, answer, fetch
from tests.client.downloads import CSV, left_in, packed, serve
from tests.client.flows.flow_driver import FlowDriver, page
from tests.testing.test_vendor import ask, graphql

from reelport import Client, ReportQuery
from reelport.client.events import ignore_event
from reelport.client.flows import lifecycle
from reelport.client.flows.download import advise_on_link_host, describe_link_host, path_of_link
from reelport.client.session import Session
from reelport.client.steps import Reply
from reelport.errors import IncompleteDownload, ServiceError, Unreachable
from reelport.testing import Vendor
from reelport.wire import VERSION_HEADER


def test_an_expired_link_is_looked_up_again(server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch) -> None:
    """A link that isn't good any more costs one look, which brings a fresh one."""
    server.looks(("FINISHED", [f"{server.url}/old"]), ("FINISHED", [f"{server.url}/new"]))
    server.answers["/old"] = [answer("gone", status="403 Forbidden")]
    server.answers["/new"] = [answer(CSV)]
    assert fetcher(server, tmp_path / "views.csv", query).path.read_text(encoding="utf-8") == CSV
    assert server.paths() == ["/oauth/v1/token", "/graphql", "/old", "/graphql", "/new"]


def test_a_redirect_is_followed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A link may lead on to where the file lies, and no credentials go with it."""
    serve(server, answer("", status="302 Found", location=f"{server.url}/bucket"))
    server.answers["/bucket"] = [answer(CSV)]
    fetch(server, tmp_path / "views.csv", query)
    assert b"authorization" not in dict(server.requests)["/bucket"].lower()


def test_a_link_that_is_none_is_an_error_without_the_link(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """An address that isn't http is refused, and a signed one isn't repeated."""
    server.looks(("FINISHED", ["file:///etc/passwd?signature=s1gn3d"]))
    with pytest.raises(Unreachable) as caught:
        fetch(server, tmp_path / "views.csv", query)
    assert "s1gn3d" not in str(caught.value)


def test_several_links_become_one_file_with_one_header(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch
) -> None:
    """Each file brings its header; the report has it once. A missing last line end joins no two rows."""
    server.looks(("FINISHED", [f"{server.url}/{part}" for part in "abc"]))
    server.answers["/a"] = [answer("day,video_title,views\n2026-11-01,One,1")]
    server.answers["/b"] = [answer("day,video_title,views\n", etag=f'"{"0" * 63}"')]
    server.answers["/c"] = [answer(packed("day,video_title,views\n2026-11-02,Two,2\n"))]
    done = fetcher(server, tmp_path / "views.csv", query)
    assert done.path.read_text() == "day,video_title,views\n2026-11-01,One,1\n2026-11-02,Two,2\n"
    assert done.rows == 2


def test_links_that_only_their_queries_tell_apart_begin_anew_together(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch
) -> None:
    """Fresh links may come in another order: what can't be told apart is fetched again, so that no row comes twice."""
    old, new = ([f"{server.url}/file?part={part}&age={age}" for part in parts] for age, parts in ((1, "ab"), (2, "ba")))
    server.looks(("FINISHED", old), ("FINISHED", new))
    for part, title in (("a", "One"), ("b", "Two")):
        for age in (1, 2):
            server.answers[f"/file?part={part}&age={age}"] = [answer(f"day,video_title,views\n2026-11-01,{title},1\n")]
    server.answers["/file?part=b&age=1"] = [answer("", status="403 Forbidden")]
    done = fetcher(server, tmp_path / "views.csv", query)
    assert done.path.read_text() == "day,video_title,views\n2026-11-01,Two,1\n2026-11-01,One,1\n"


def test_files_with_different_headers_are_not_put_together(server: Server, tmp_path: Path) -> None:
    """Columns that differ between two files of a report are an error, with or without a query."""
    server.looks(("FINISHED", [f"{server.url}/a", f"{server.url}/b"]))
    server.answers["/a"] = [answer("day,views\n2026-11-01,1\n")]
    server.answers["/b"] = [answer("views,day\n1,2026-11-01\n")]
    with (
        Client(server.url, "key-1", SECRET, sleep=lambda _: None) as client,
        pytest.raises(ServiceError, match="headers"),
    ):
        client.reports.attach(REPORT).download(tmp_path / "views.csv")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("links", [1, 10, 12, 30])
def test_every_page_of_links_is_read(vendor: Vendor, client: Client, query: ReportQuery, to: Path, links: int) -> None:
    """A report in many files, ten links a page, has the rows that it has in one file."""
    whole = client.reports.run(query, to.with_name("whole.csv"), fresh=True)
    vendor.links, vendor.links_a_page = links, 10
    assert client.reports.run(query, to, fresh=True).sha256 == whole.sha256
    assert vendor.downloads == links + 1


def test_links_that_the_vendor_counts_and_does_not_give_are_an_incomplete_download(
    vendor: Vendor, client: Client, query: ReportQuery, to: Path
) -> None:
    """Twelve files by the count and ten links are no whole report: nothing is kept under its name."""
    vendor.links, vendor.links_lost = 10, 2
    report = client.reports.submit(query)
    with pytest.raises(IncompleteDownload, match="12 files by the service's count, but the service gives 10 links"):
        client.reports.attach(report.token, query).download(to)
    assert left_in(to.parent) == []


def test_links_that_come_late_are_waited_for(session: Session, time: Time) -> None:
    """A finished report with fewer links than are counted isn't ready; once all are there it is."""
    hand = FlowDriver(time, page("https://f/1", total=2), page("https://f/1", "https://f/2", total=2))
    assert hand.drive(lifecycle.wait(session, REPORT, ignore_event)).links == ("https://f/1", "https://f/2")
    with pytest.raises(IncompleteDownload):
        FlowDriver(time, page("https://f/1", total=2)).drive(lifecycle.wait(session, REPORT, ignore_event))


@pytest.mark.parametrize("answer", [page("https://f/1", None), page("https://f/1", "https://f/2", total=1)])
def test_a_link_too_few_or_too_many_is_no_ready_report(session: Session, time: Time, answer: Reply) -> None:
    """An edge without a link lacks a file, with or without a count; a link more than counted is one too many."""
    with pytest.raises(IncompleteDownload):
        FlowDriver(time, answer).drive(lifecycle.wait(session, REPORT, ignore_event))


@pytest.mark.parametrize("following", [None, 3])
def test_pages_are_followed_by_their_numbers(session: Session, time: Time, following: int | None) -> None:
    """The next page is the one that the vendor names, or the one after; without a count all links will do."""
    hand = FlowDriver(time, page("https://f/1", more=True, following=following), page("https://f/2"))
    assert hand.drive(lifecycle.look(session, REPORT, ignore_event)).links == ("https://f/1", "https://f/2")
    assert f'"page": {following or 2}'.encode() in (hand.sent[-1].request.body or b"")


@pytest.mark.parametrize("following", [None, 1, -1])
def test_pages_without_an_end_are_an_error(session: Session, time: Time, following: int | None) -> None:
    """A vendor whose pages go in a circle, or on for ever, is left with an error."""
    hand = FlowDriver(time, page("https://f/1", more=True, following=following))
    with pytest.raises(ServiceError, match="never end"):
        hand.drive(lifecycle.look(session, REPORT, ignore_event))


def test_the_vendor_pages_what_a_document_asks_for(vendor: Vendor) -> None:
    """`first` and `page` are understood inline and as variables; a document without them has the first page."""
    vendor.links, vendor.links_a_page = 5, 2
    token = ask(vendor)
    inline = (
        f'{{ partner {{ reportFile(reportToken: "{token}") {{ downloadLinks(first: 3, page: 2) {{ edges }} }} }} }}'
    )
    for document, variables, count in ((inline, {}, 2), (inline.replace("(first: 3, page: 2)", ""), {}, 2),
                                       ("reportFile", {"token": token, "page": 3}, 1)):  # fmt: skip
        found = graphql(vendor, document, variables)["data"]["partner"]["reportFile"]["downloadLinks"]
        assert (len(found["edges"]), found["totalCount"]) == (count, 5)


def test_links_without_a_count_or_pages_are_taken_as_all(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A vendor that answers with edges alone is understood as before."""
    server.looks(("FINISHED", [f"{server.url}/a"]))
    server.answers["/a"] = [b"HTTP/1.1 200 OK\r\n\r\nday,video_title,views\n"]
    assert fetch(server, tmp_path / "views.csv", query).rows == 0


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
