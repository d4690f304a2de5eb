"""Bodies that are cut, broken and mislabelled: whole files or none, over a real socket."""

from __future__ import annotations

import gzip
import hashlib
from datetime import date
from pathlib import Path

import pytest
from tests.client.conftest import REPORT, Fetch, Server, answer, fetch
from tests.client.downloads import CSV, ROWS, SHA, WHOLE, left_in, packed, serve

from reelport import Proof, ReportQuery
from reelport.client.events import Event, Received, Retrying
from reelport.client.flows.download import find_downloaded
from reelport.errors import IncompleteDownload, ReelportError, ReportExpired, ServiceError, Unreachable

BLANK = b"ecpm_eur\n\n"
"""One row, which has no value."""


def members(text: str) -> bytes:
    return b"".join(gzip.compress(part.encode()) for part in (text[:40], text[40:]))


@pytest.mark.parametrize(
    ("body", "proof"),
    [
        (answer(CSV, etag=f'"{SHA}"'), Proof.CHECKSUM),
        (answer(CSV, framed=False, etag=f'"{SHA}"'), Proof.CHECKSUM),
        (answer(CSV, etag='"not-a-hash"'), Proof.LENGTH),
        (answer(CSV, etag=f'"{"0" * 32}"'), Proof.LENGTH),
        (answer(CSV), Proof.LENGTH),
        (answer(CSV, framed=False), Proof.SHAPE),
        (answer(packed(CSV), content_encoding="gzip"), Proof.LENGTH),
        (answer(packed(CSV), content_encoding="gzip", etag=f'"{SHA}"'), Proof.CHECKSUM),
        (answer(members(CSV), content_encoding="gzip", etag=f'"{SHA}"'), Proof.CHECKSUM),
        (answer(packed(CSV), content_type="application/gzip"), Proof.LENGTH),
        (answer(packed(CSV), framed=False), Proof.PACKED),
    ],
)
def test_a_whole_file_arrives(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch, body: bytes, proof: Proof
) -> None:
    """However a whole file is sent, its very bytes end under the target's name, with what shows that they are whole."""
    serve(server, body)
    done = fetcher(server, tmp_path / "views.csv", query)
    assert done.path.read_text(encoding="utf-8") == CSV
    assert (done.bytes, done.sha256, done.rows, done.proof) == (len(CSV.encode()), SHA, 3, proof)
    assert left_in(tmp_path) == WHOLE


def test_rows_are_counted_whatever_the_service_says(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """Of a file that a checksum proves, too."""
    serve(server, answer(CSV, etag=f'"{SHA}"', reelport_rows="12345"))
    assert fetch(server, tmp_path / "views.csv", query).rows == 3


CUT_IN_NUMBER = CSV[:-3]
CUT_AT_LINE_END = "".join(CSV.splitlines(keepends=True)[:2])
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ntransfer-encoding: chunked\r\n\r\n14\r\n" + CSV.encode()[:20]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(answer(CUT_IN_NUMBER, framed=False), id="unframed, cut inside the last number"),
        pytest.param(answer(CSV[:60], framed=False), id="unframed, cut inside a quote"),
        pytest.param(answer(CSV[:37], framed=False), id="unframed, cut inside a row"),
        pytest.param(answer(CSV[:9], framed=False), id="unframed, cut inside the header"),
        pytest.param(answer("", framed=False), id="unframed, cut before the header"),
        pytest.param(answer(CUT_AT_LINE_END, framed=False, etag=f'"{SHA}"'), id="cut at a line end, checksum"),
        pytest.param(answer(CUT_IN_NUMBER, etag=f'"{SHA}"'), id="shorter than the checksum says"),
        pytest.param(answer(CUT_AT_LINE_END, content_length="4096"), id="content-length too large"),
        pytest.param(answer("", content_length="10"), id="nothing where bytes were announced"),
        pytest.param(CHUNKED, id="chunked, cut"),
        pytest.param(answer(packed(CSV)[:-12], content_encoding="gzip"), id="gzip cut inside an intact frame"),
        pytest.param(answer(packed(CSV)[:-8], content_encoding="gzip"), id="gzip without its trailer"),
        pytest.param(answer(packed(CSV)[:-12], framed=False, content_encoding="gzip"), id="gzip cut, unframed"),
        pytest.param(answer(packed(CSV)[:-6] + b"abcdef", content_encoding="gzip"), id="gzip with a wrong CRC"),
        pytest.param(answer(CSV, etag=f'"{"0" * 64}"'), id="another checksum"),
        pytest.param(answer(CSV, etag=f'W/"{"0" * 64}"'), id="another checksum in a weak ETag"),
        pytest.param(answer(CSV.replace(",7\n", "\n")), id="a row with a cell too few"),
        pytest.param(answer(CSV.replace(",7\n", ",7,8\n")), id="a row with a cell too many"),
        pytest.param(answer(CSV.replace("Plain", '"Plain')), id="a quote that never closes"),
    ],
)  # fmt: skip
def test_half_a_file_is_never_accepted(
    server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch, body: bytes
) -> None:
    """A cut or damaged body is tried again, then refused; what had the name before keeps it."""
    target = tmp_path / "views.csv"
    target.write_text("of yesterday\n")
    serve(server, body)
    with pytest.raises(IncompleteDownload):
        fetcher(server, target, query)
    assert server.paths().count("/file") == 3
    assert target.read_text() == "of yesterday\n"
    assert left_in(tmp_path) == ["views.csv"]


def test_a_cut_at_a_line_end_without_frame_or_checksum_cannot_be_seen(
    server: Server, tmp_path: Path, query: ReportQuery
) -> None:
    """What nothing can show passes, and the proof says how little was known."""
    serve(server, answer(CUT_AT_LINE_END, framed=False))
    assert fetch(server, tmp_path / "views.csv", query).proof is Proof.SHAPE


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (answer("<html>maintenance</html>", content_type="text/html; charset=utf-8"), ServiceError, "HTML page"),
        (answer("  <!DOCTYPE html><p>Log in"), ServiceError, "HTML page"),
        (answer(CSV.replace("views", "uploads", 1)), ServiceError, "uploads"),
        (answer("video_title,day,views\n" + ROWS), ServiceError, "asked for"),
        (answer(CSV.replace("2026-11-03", "2026-11-09")), ServiceError, "2026-11-09"),
        (answer(CSV.replace("12\n", "12\n2026-11-01,Plain,12\n")), ServiceError, "count twice"),
        (answer(CSV.replace("1234", "many")), ServiceError, "'many' is no number"),
        (answer(b"\x1b\x2a\xff\xfe\n"), ServiceError, "no CSV"),
        (answer(CSV, content_encoding="br"), ServiceError, "'br'"),
        (answer("", status="206 Partial Content"), ServiceError, "206"),
        (answer("", status="500 Oops"), Unreachable, "500"),
        (answer("", status="404 Not Found"), ReportExpired, "404"),
    ],
)
def test_what_is_no_report_is_refused(
    server: Server, tmp_path: Path, query: ReportQuery, body: bytes, error: type[ReelportError], says: str
) -> None:
    """Pages, other columns, other days and odd encodings never end under the target's name; the report is named."""
    serve(server, body)
    with pytest.raises(error, match=says) as caught:
        fetch(server, tmp_path / "views.csv", query)
    assert caught.value.token == REPORT
    assert left_in(tmp_path) == []


def test_an_empty_report_is_a_header_and_a_success(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """No rows are a result, not an error."""
    serve(server, answer("day,video_title,views\n"))
    assert fetch(server, tmp_path / "views.csv", query).rows == 0


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("etag", ['"none"', f'"{hashlib.sha256(BLANK).hexdigest()}"'])
def test_a_blank_line_is_a_row_of_one_empty_cell(
    server: Server, tmp_path: Path, fetcher: Fetch, etag: str, *, framed: bool
) -> None:
    """A report of one column has a blank line where its cell is empty, at its end too: a row, and no cut."""
    serve(server, answer(BLANK, framed=framed, etag=etag))
    one = ReportQuery.of(["ECPM_EUR"], [], date(2026, 11, 1), date(2026, 11, 3))
    done = fetcher(server, tmp_path / "rate.csv", one)
    assert (done.rows, done.path.read_bytes()) == (1, BLANK)


def test_a_download_that_was_cut_is_tried_again(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """The second try begins from nothing and may succeed; it is told of."""
    told: list[Event] = []
    serve(server, answer(CSV[:50], content_length="999"), answer(CSV))
    fetch(server, tmp_path / "views.csv", query, told.append)
    assert sum(isinstance(event, Retrying) for event in told) == 1
    received = [event for event in told if isinstance(event, Received)]
    assert received[-1] == Received(len(CSV.encode()), len(CSV.encode()))


def test_retry_after_is_honoured(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A host of files that is busy says when to come again, and is asked again no sooner."""
    told: list[Event] = []
    serve(server, answer("", status="503 Busy", retry_after="7"), answer(CSV))
    fetch(server, tmp_path / "views.csv", query, told.append)
    assert [event.seconds for event in told if isinstance(event, Retrying)] == [7.0]


def test_a_file_that_two_links_give_counts_once_or_not_at_all(server: Server, tmp_path: Path) -> None:
    """By day there are no more rows than days: the second file would double them."""
    query = ReportQuery.of(["VIEWS"], ["DAY"], date(2026, 11, 1), date(2026, 11, 2))
    server.looks(("FINISHED", [f"{server.url}/file", f"{server.url}/more"]))
    server.answers["/file"] = server.answers["/more"] = [answer("day,views\n2026-11-01,1\n2026-11-02,2\n")]
    with pytest.raises(ServiceError, match="more than 2 rows"):
        fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == []


def test_an_expired_link_and_a_cut_are_two_failures(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """Only a fresh link that has expired as well ends the download before its three tries."""
    serve(server, answer("", status="403 Forbidden"), answer(CSV[:50], content_length="999"), answer(CSV))
    assert fetch(server, tmp_path / "views.csv", query).rows == 3
    serve(server, answer("", status="403 Forbidden"))
    server.requests.clear()
    with pytest.raises(ReportExpired):
        fetch(server, tmp_path / "again.csv", query)
    assert server.paths().count("/file") == 2


def test_a_file_that_was_downloaded_before_is_found_with_its_facts(
    server: Server, tmp_path: Path, query: ReportQuery
) -> None:
    """Size, rows, sidecar and last complete day; nothing is found once a byte has changed."""
    serve(server, answer(CSV, reelport_last_complete_day="2026-11-02"))
    done = fetch(server, tmp_path / "views.csv", query)
    assert find_downloaded(done.path, done.sha256, done.proof) == done
    done.path.write_text(CSV.replace("1234", "1235"))
    assert find_downloaded(done.path, done.sha256, done.proof) is None


def test_a_report_that_expires_on_the_way_is_said_to_have_expired(
    server: Server, tmp_path: Path, query: ReportQuery
) -> None:
    """Both its links were refused: a last look says whether it is the link or the report that is gone."""
    link = f"{server.url}/file"
    server.answers["/file"] = [answer("", status="403 Forbidden")]
    server.looks(("FINISHED", [link]), ("FINISHED", [link]), ("EXPIRED", []))
    with pytest.raises(ReportExpired, match=r"The report R-1234 has expired and its file is gone\. Ask for it again\."):
        fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == []
