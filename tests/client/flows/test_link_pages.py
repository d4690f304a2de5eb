"""Pages of download links: all of them are read, and as many links are had as the vendor counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import REPORT, Server, Time, fetch, looked
from tests.client.downloads import left_in
from tests.client.flows.flow_driver import FlowDriver, reply
from tests.testing.test_vendor import ask, graphql

from reelport import Client, ReportQuery
from reelport.client.events import ignore_event
from reelport.client.flows import lifecycle
from reelport.client.session import Session
from reelport.client.steps import Reply
from reelport.errors import IncompleteDownload, ServiceError
from reelport.testing import Vendor


def page(*links: str | None, total: int | None = None, more: bool = False, following: int | None = None) -> Reply:
    """The answer to a look at one page of a finished report."""
    answer: dict[str, Any] = looked("FINISHED")
    connection = answer["data"]["partner"]["reportFile"]["downloadLinks"]
    connection["edges"] = [{"node": {"link": link}} for link in links]
    connection |= {"pageInfo": {"hasNextPage": more, "nextPage": following}, "totalCount": total}
    return reply(answer)


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
    with pytest.raises(ServiceError, match="don't end"):
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
