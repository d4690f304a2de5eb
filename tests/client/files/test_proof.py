"""What the head of a response says of a file: whether there is one, how long it is, and where its body begins."""

from __future__ import annotations

import hashlib

import pytest

from reelport.client.files.part import Tally
from reelport.client.files.proof import Promise, check_head
from reelport.client.files.shape import Lines
from reelport.client.steps import Reply
from reelport.errors import ReelportError, ReportExpired, ServiceError, Unreachable


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
