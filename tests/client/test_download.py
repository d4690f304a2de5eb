"""Downloads from a server that cuts, breaks and mislabels: whole files or none, over a real socket."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import resource
import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from tests.client.conftest import REPORT, SECRET, Server, answer

from reelport import AsyncClient, Client, Downloaded, Proof, ReportQuery
from reelport.client.events import Event, Received, Retrying
from reelport.errors import (
    IncompleteDownload,
    ReelportError,
    ReportExpired,
    ServiceError,
    StorageError,
    Unreachable,
    UsageError,
)

ROWS = '2026-11-01,Plain,12\n2026-11-02,"Comma, ""quote"" and\nline",7\n2026-11-03,Émoji 🎬,1234\n'
CSV = "day,video_title,views\n" + ROWS
WHOLE = ["views.csv", "views.csv.json"]
SHA = hashlib.sha256(CSV.encode()).hexdigest()
MD5 = hashlib.md5(CSV.encode()).digest()  # noqa: S324 - what stores of objects name their files by

BLANK = b"ecpm_eur\n1.5000\n\n"
"""Two rows, of which the second has no value."""

Fetch = Callable[[Server, Path, ReportQuery], Downloaded]


def fetch(server: Server, to: Path, query: ReportQuery, told: Callable[[Event], None] | None = None) -> Downloaded:
    with Client(server.url, "key-1", SECRET, sleep=lambda _: None) as client:
        return client.reports.attach(REPORT, query).download(to, progress=told)


def afetch(server: Server, to: Path, query: ReportQuery) -> Downloaded:
    async def go() -> Downloaded:
        async def sleep(_: float) -> None:
            await asyncio.sleep(0)

        async with AsyncClient(server.url, "key-1", SECRET, sleep=sleep) as client:
            return await client.reports.attach(REPORT, query).download(to)

    return asyncio.run(go())


def serve(server: Server, *bodies: bytes) -> None:
    """A finished report whose link answers with these, the last one for ever."""
    server.looks(("FINISHED", [f"{server.url}/file"]))
    server.answers["/file"] = list(bodies)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=[fetch, afetch], ids=["sync", "async"])
def fetcher(request: pytest.FixtureRequest) -> Fetch:
    """The download through either client."""
    found: Fetch = request.param
    return found


def packed(text: str) -> bytes:
    return gzip.compress(text.encode())


def members(text: str) -> bytes:
    return b"".join(gzip.compress(part.encode()) for part in (text[:40], text[40:]))


@pytest.mark.parametrize(
    ("body", "proof"),
    [
        (answer(CSV, etag=f'"{SHA}"'), Proof.CHECKSUM),
        (answer(CSV, framed=False, etag=f'"{SHA}"'), Proof.CHECKSUM),
        (answer(CSV, etag='"not-a-hash"'), Proof.LENGTH),
        (answer(CSV, etag=f'W/"{"0" * 64}"'), Proof.LENGTH),
        (answer(CSV, framed=False, etag=f'"{MD5.hex()}"'), Proof.MD5),
        (answer(CSV, content_md5=b64encode(MD5).decode()), Proof.MD5),
        (answer(CSV, framed=False, x_goog_hash=f"crc32c=n03x6A==,md5={b64encode(MD5).decode()}"), Proof.MD5),
        (answer(CSV, content_md5="no base64", x_goog_hash="md5=="), Proof.LENGTH),
        (answer(CSV, etag=f'"{"0" * 32}"'), Proof.LENGTH),
        (answer(packed(CSV), etag=f'"{MD5.hex()}"'), Proof.LENGTH),
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


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (answer(CSV, etag=f'"{SHA}"', reelport_rows="12345"), 12345),
        (answer(CSV, etag=f'"{SHA}"', reelport_rows="many"), 3),
        (answer(CSV, etag=f'W/"{SHA}"', reelport_rows="12345"), 3),
        (answer(CSV, reelport_rows="12345"), 3),
    ],
)
def test_rows_are_believed_of_what_a_checksum_shows_to_be_the_same(
    server: Server, tmp_path: Path, query: ReportQuery, body: bytes, rows: int
) -> None:
    """A service may say how many rows its file has; where no checksum says that this is the file they are counted."""
    serve(server, body)
    assert fetch(server, tmp_path / "views.csv", query).rows == rows


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
    """Pages, other columns, other days and odd encodings never end under the target's name."""
    serve(server, body)
    with pytest.raises(error, match=says):
        fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == []


def test_an_empty_report_is_a_header_and_a_success(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """No rows are a result, not an error."""
    serve(server, answer("day,video_title,views\n"))
    assert fetch(server, tmp_path / "views.csv", query).rows == 0


def test_an_expired_link_is_looked_up_again(server: Server, tmp_path: Path, query: ReportQuery, fetcher: Fetch) -> None:
    """A link that isn't good any more costs one look, which brings a fresh one."""
    server.looks(("FINISHED", [f"{server.url}/old"]), ("FINISHED", [f"{server.url}/new"]))
    server.answers["/old"] = [answer("gone", status="403 Forbidden")]
    server.answers["/new"] = [answer(CSV)]
    assert fetcher(server, tmp_path / "views.csv", query).path.read_text(encoding="utf-8") == CSV
    assert server.paths() == ["/oauth/v1/token", "/graphql", "/old", "/graphql", "/new"]


def test_a_download_that_was_cut_is_tried_again(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """The second try begins from nothing and may succeed; it is told of."""
    told: list[Event] = []
    serve(server, answer(CSV[:50], content_length="999"), answer(CSV))
    fetch(server, tmp_path / "views.csv", query, told.append)
    assert sum(isinstance(event, Retrying) for event in told) == 1
    assert told[-1] == Received(len(CSV.encode()), len(CSV.encode()))


def test_a_redirect_is_followed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A link may lead on to where the file lies, and no credentials go with it."""
    serve(server, answer("", status="302 Found", location=f"{server.url}/bucket"))
    server.answers["/bucket"] = [answer(CSV)]
    fetch(server, tmp_path / "views.csv", query)
    assert b"authorization" not in dict(server.requests)["/bucket"].lower()


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


def test_a_disk_that_takes_no_more_says_so(server: Server, query: ReportQuery, tmp_path: Path) -> None:
    """A write that fails is a StorageError with the system's reason, and the half file is gone."""
    serve(server, answer("day,video_title,views\n" + "2026-11-01,Plain,12\n" * 400_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            fetch(server, tmp_path / "views.csv", query)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []


def test_a_device_is_no_target(server: Server, query: ReportQuery) -> None:
    """A download never takes the place of a device."""
    with pytest.raises(UsageError, match="no regular file"):
        fetch(server, Path("/dev/null"), query)
    assert server.requests == []


@pytest.mark.parametrize("name", [".", "absent/views.csv", "nul\0.csv", "circle/views.csv"])
def test_a_target_that_cannot_be_is_refused_before_anything_is_sent(
    server: Server, tmp_path: Path, query: ReportQuery, name: str
) -> None:
    """Nobody waits two hours to learn that a folder is missing, or that a name is none."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with Client(server.url, "key-1", SECRET) as client, pytest.raises(UsageError):
        client.reports.run(query, tmp_path / name)
    assert server.requests == []


def test_a_link_that_is_none_is_an_error_without_the_link(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """An address that isn't http is refused, and a signed one isn't repeated."""
    server.looks(("FINISHED", ["file:///etc/passwd?signature=s1gn3d"]))
    with pytest.raises(Unreachable) as caught:
        fetch(server, tmp_path / "views.csv", query)
    assert "s1gn3d" not in str(caught.value)


def test_two_downloads_to_one_name_both_succeed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """Two processes at the same moment don't write into each other's part."""
    serve(server, answer(CSV))
    threads = [threading.Thread(target=fetch, args=(server, tmp_path / "views.csv", query)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (tmp_path / "views.csv").read_text(encoding="utf-8") == CSV
    assert left_in(tmp_path) == WHOLE


def test_a_cancelled_download_leaves_nothing(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """Cancelling the task in the middle of a body closes the connection and takes the part away."""
    serve(server, answer(CSV[:30], content_length="5000"), answer(CSV[:30], content_length="5000"))

    async def go() -> None:
        seen = asyncio.Event()
        async with AsyncClient(server.url, "key-1", SECRET) as client:
            report = client.reports.attach(REPORT, query)
            task = asyncio.create_task(report.download(tmp_path / "views.csv", progress=lambda _: seen.set()))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(go())
    assert left_in(tmp_path) == []


def test_a_link_to_the_target_is_followed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A symbolic link stays one, and what it points to is replaced."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "views.csv").symlink_to(real / "latest.csv")
    serve(server, answer(CSV))
    fetch(server, tmp_path / "views.csv", query)
    assert (tmp_path / "views.csv").is_symlink()
    assert left_in(real) == ["latest.csv", "latest.csv.json"]


def test_a_file_has_the_permissions_of_any_new_file(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A report is as readable as the user's umask says."""
    serve(server, answer(CSV))
    mask = os.umask(0o022)
    try:
        path = fetch(server, tmp_path / "views.csv", query).path
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_is_a_storage_error(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A folder that vanishes in mid-download is told in a sentence."""
    serve(server, answer(CSV))
    folder = tmp_path / "here"
    folder.mkdir()

    def vanish(_: Event) -> None:
        folder.rename(tmp_path / "gone") if folder.exists() else None

    with pytest.raises(StorageError, match="can't be written or read"):
        fetch(server, folder / "views.csv", query, vanish)


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("etag", ['"none"', f'"{hashlib.sha256(BLANK).hexdigest()}"'])
def test_a_blank_line_is_a_row_of_one_empty_cell(
    server: Server, tmp_path: Path, fetcher: Fetch, etag: str, *, framed: bool
) -> None:
    """A report of one column has a blank line where its cell is empty, at its end too: a row, and no cut."""
    serve(server, answer(BLANK, framed=framed, etag=etag))
    one = ReportQuery.of(["ECPM_EUR"], [], date(2026, 11, 1), date(2026, 11, 3))
    done = fetcher(server, tmp_path / "rate.csv", one)
    assert (done.rows, done.path.read_bytes()) == (2, BLANK)


def test_retry_after_is_honoured(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A host of files that is busy says when to come again, and is asked again no sooner."""
    told: list[Event] = []
    serve(server, answer("", status="503 Busy", retry_after="7"), answer(CSV))
    fetch(server, tmp_path / "views.csv", query, told.append)
    assert [event.seconds for event in told if isinstance(event, Retrying)] == [7.0]


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """What the announced length shows beforehand is said before the disk is full."""
    serve(server, answer(CSV, content_length=str(1 << 60)))
    with pytest.raises(StorageError, match="room for"):
        fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == []
    assert server.paths().count("/file") == 1


def test_what_only_its_owner_could_read_stays_so(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A file that is replaced keeps its permissions, and its part has them from the first byte on."""
    target = tmp_path / "views.csv"
    target.touch(0o600)
    serve(server, answer(CSV))
    modes: set[int] = set()

    def look(_: Event) -> None:
        modes.update(path.stat().st_mode & 0o777 for path in tmp_path.glob("*.part"))

    fetch(server, target, query, look)
    assert modes | {target.stat().st_mode & 0o777} == {0o600}


def test_a_link_to_a_file_that_is_not_there_yet_is_followed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """The file that the link names is made; the link stays."""
    (tmp_path / "views.csv").symlink_to(tmp_path / "later.csv")
    serve(server, answer(CSV))
    fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == ["later.csv", "later.csv.json", "views.csv"]


def test_a_name_that_leaves_no_room_for_a_part_is_refused_at_once(
    server: Server, tmp_path: Path, query: ReportQuery
) -> None:
    """Nobody waits two hours to learn that a name is too long."""
    with Client(server.url, "key-1", SECRET) as client, pytest.raises(UsageError, match="too long"):
        client.reports.run(query, tmp_path / ("é" * 125))
    assert server.requests == []


def test_two_reports_to_one_name_leave_one_of_them_whole(server: Server, tmp_path: Path) -> None:
    """Whichever comes last has the name, and what stands beside it is its own."""
    serve(server, *[answer(f"day,video_title,views\n2026-11-01,{number},1\n") for number in range(40)])

    def fetch_some() -> None:
        for _ in range(10):
            with Client(server.url, "key-1", SECRET) as client:
                client.reports.attach(f"{threading.get_ident()}").download(tmp_path / "views.csv")

    threads = [threading.Thread(target=fetch_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert left_in(tmp_path) == WHOLE
    says = json.loads((tmp_path / "views.csv.json").read_text())
    assert says["sha256"] == hashlib.sha256((tmp_path / "views.csv").read_bytes()).hexdigest()


def test_what_has_the_parts_name_and_is_none_is_left_alone(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """A folder in the place of the part, or a file of somebody else's: the part gets another name."""
    serve(server, answer(CSV))
    taken = f"views.csv.{hashlib.sha256(REPORT.encode()).hexdigest()[:8]}.part"
    (tmp_path / taken).mkdir()
    fetch(server, tmp_path / "views.csv", query)
    assert left_in(tmp_path) == sorted([*WHOLE, taken])
