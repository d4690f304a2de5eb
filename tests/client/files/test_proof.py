"""What the head of a response says of a file: whether there is one, how long it is, and where its body begins."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Literal

import pytest
from tests.cases import thin_out
from tests.client.conftest import Server, answer, fetch
from tests.client.downloads import CSV, left_in, packed, serve

from reelport import Client, Proof, ReportQuery
from reelport.client.files.part import Tally
from reelport.client.files.proof import Promise, check_head
from reelport.client.files.shape import Lines
from reelport.client.steps import Reply
from reelport.errors import IncompleteDownload, ReelportError, ReportExpired, ServiceError, Unreachable
from reelport.testing import Cut, Vendor

HEADERS = [
    "Content-MD5",
    "Repr-Digest",
    "Digest",
    "x-goog-hash",
    *(f"x-amz-checksum-{name}" for name in ("md5", "sha1", "sha256", "sha512")),
]
PROOFS = dict.fromkeys(("Repr-Digest", "Digest", "x-amz-checksum-sha256"), Proof.CHECKSUM) | dict.fromkeys(
    ("Content-MD5", "x-goog-hash", "x-amz-checksum-md5"), Proof.MD5
)


@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (ReportExpired, (400, 401, 403, 404, 410)),
        (Unreachable, (408, 425, 429, 500, 502, 503, 504)),
        (ServiceError, (204, 300, 402, 405, 418, 501)),
    ],
)
def test_a_status_tells_an_expired_link_from_a_service_to_be_tried_again(
    error: type[ReelportError], statuses: tuple[int, ...]
) -> None:
    """Hosts of signed links refuse an expired one by several statuses; what passes is retried; the rest is final."""
    for status in statuses:
        with pytest.raises(ReelportError) as caught:
            check_head(Reply(status, {}, b""))
        assert type(caught.value) is error, status


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", "gzip", "x-gzip"])
def test_encodings_that_are_read(encoding: str) -> None:
    """A host may say that a file has no encoding; gzip has an old name."""
    head = Reply(200, {"content-encoding": encoding}, b"")
    check_head(head)
    assert Promise.of(head).encoded is encoding.endswith("gzip")


@pytest.mark.parametrize("status", [200, 206])
def test_only_a_partial_response_has_a_range(status: int) -> None:
    """A `Content-Range` beside a whole file means nothing: the body begins at the file's first byte."""
    promise = Promise.of(Reply(status, {"content-range": "bytes 7-9/10", "content-length": "3"}, b""))
    assert (promise.start, promise.total) == ((7, 10) if status == 206 else (0, 3))


def encoded(name: str, data: bytes) -> str:
    return b64encode(hashlib.new(name, data).digest()).decode()


@pytest.mark.parametrize(
    ("header", "packing"),
    thin_out([*((header, None) for header in HEADERS), ("Content-MD5", "transport"), ("Repr-Digest", "file")], 3),
)
def test_a_digest_that_contradicts_the_bytes_is_an_incomplete_download(
    client: Client,
    vendor: Vendor,
    query: ReportQuery,
    to: Path,
    header: str,
    packing: Literal["transport", "file"] | None,
) -> None:
    """One byte that differs, in a file framed as whole, is seen by any digest; the right file passes it."""
    vendor.etag, vendor.digests, vendor.gzip = False, (header,), packing
    vendor.cut, vendor.cut_times = (Cut.WRONG_BYTE, 1)
    report = client.reports.submit(query)
    done = client.reports.attach(report.token, query).download(to)
    assert (vendor.downloads, done.proof) == (2, PROOFS.get(header, Proof.LENGTH))
    vendor.cut_times = None
    with pytest.raises(IncompleteDownload, match=header):
        client.reports.attach(report.token, query).download(to.with_name("other.csv"))
    assert left_in(to.parent) == ["views.csv", "views.csv.json"]


@pytest.mark.parametrize("etag", ["weak", True])
def test_a_checksum_of_the_file_that_was_cut_holds_for_the_rest(
    client: Client, vendor: Vendor, query: ReportQuery, to: Path, etag: Literal["weak", True]
) -> None:
    """A body that goes on after a cut is held against the digests of the first answer, not of its parts."""
    vendor.etag, vendor.digests = etag, ("Content-MD5", "Repr-Digest")
    vendor.cut, vendor.cut_times = Cut.CONTENT_LENGTH, 1
    assert client.reports.run(query, to).proof is Proof.CHECKSUM


@pytest.mark.parametrize(
    ("headers", "proof"),
    [
        ({"content_md5": "AAAA", "repr_digest": "sha-256=abc", "digest": "id=:", "x_goog_hash": "?"}, Proof.LENGTH),
        ({"x_amz_checksum_sha256": "AAAA-3", "x_amz_checksum_type": "COMPOSITE"}, Proof.LENGTH),
        ({"x_amz_checksum_sha256": encoded("sha256", b""), "x_amz_checksum_type": "COMPOSITE"}, Proof.LENGTH),
        ({"x_goog_hash": f"md5={encoded('md5', b'')}", "x_goog_stored_content_encoding": "gzip"}, Proof.LENGTH),
        ({"content_digest": f"sha-512=:{encoded('sha512', CSV.encode())}:, x=?1"}, Proof.LENGTH),
    ],
)  # fmt: skip
def test_what_is_no_digest_of_the_file_contradicts_nothing(
    server: Server, tmp_path: Path, query: ReportQuery, headers: dict[str, str], proof: Proof
) -> None:
    """Malformed values, checksums of an upload's parts and of what is stored packed say nothing of the bytes."""
    serve(server, answer(CSV, framed=True, **headers))
    assert fetch(server, tmp_path / "views.csv", query).proof is proof


def test_a_digest_of_the_unpacked_file_is_one_of_the_packed(server: Server, tmp_path: Path, query: ReportQuery) -> None:
    """Whoever packs on the way leaves the digest of what was packed."""
    serve(server, answer(packed(CSV), content_encoding="gzip", content_md5=encoded("md5", CSV.encode())))
    assert fetch(server, tmp_path / "views.csv", query).proof is Proof.MD5


BODY = b'day,title\n2026-01-01,"two\nlines"\n' * 120_000


def counted(body: bytes) -> int:
    """The rows below the header, in one go."""
    lines = Lines()
    lines.feed(body)
    return lines.rows


@pytest.mark.parametrize("piece", [1000, 65_536, 1 << 20, (1 << 20) + 1, len(BODY)])
def test_pieces_of_any_size_come_to_the_same(piece: int) -> None:
    """Hash and rows are those of the whole; a copy that was taken on the way goes on by itself."""
    tally = Tally()
    for at in range(0, len(BODY), piece):
        tally.feed(BODY[at : at + piece])
        if at == 0:
            begun = tally.copy()
    begun.feed(b"more")
    assert (tally.sha256, tally.rows) == (hashlib.sha256(BODY).hexdigest(), counted(BODY))
    assert begun.sha256 == hashlib.sha256(BODY[:piece] + b"more").hexdigest()
    assert tally.lines.closed


def test_rows_that_are_known_are_not_counted() -> None:
    """They are what was told, of a copy too; the hash is made all the same."""
    tally = Tally(7)
    tally.feed(BODY)
    assert (tally.rows, tally.copy().rows, tally.sha256) == (7, 7, hashlib.sha256(BODY).hexdigest())


def test_lines_that_another_counted_are_not_counted_again() -> None:
    """What is told of a piece is taken for it, among pieces of which nothing is told."""
    tally = Tally()
    tally.feed(b"day,title\n")
    tally.feed(BODY, 5)
    tally.feed(b"2026-01-02,cut")
    assert (tally.rows, tally.lines.closed) == (6, False)
    tally.feed(b" short\n", 1)
    assert (tally.rows, tally.lines.closed) == (6, True)
