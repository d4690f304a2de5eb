"""What the head of a response says of a file: whether there is one, how long it is, and where its body begins."""

from __future__ import annotations

import pytest

from reelport.client.files.proof import Promise, check_head
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
