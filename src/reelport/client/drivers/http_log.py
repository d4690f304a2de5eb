"""Keep signatures of links out of the HTTP library's log of our requests.

The library logs every address in full, and at debug level the headers of responses. Log records of other
programs' requests stay as they are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpx2

_OURS: ContextVar[bool] = ContextVar("reelport_requests", default=False)
_BYTES = r"""b(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_SECRET_HEADERS = re.compile(rf"\(b'(location|content-location|link|refresh|set-cookie)', {_BYTES}\)", re.IGNORECASE)


class _RedactingFilter(logging.Filter):
    """Redacts links and cookies in our requests' log records, and lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _OURS.get():
            if isinstance(record.args, tuple):
                record.args = tuple(map(_cut_to_host, record.args))
            record.msg = _SECRET_HEADERS.sub(r"(b'\1', b'[redacted]')", str(record.msg))
        return True


for _name in ("httpx2", "httpcore2.http11"):
    logging.getLogger(_name).addFilter(_RedactingFilter())


@contextmanager
def without_signatures() -> Iterator[None]:
    """Keep links out of the log while the block sends a request."""
    before = _OURS.set(True)
    try:
        yield
    finally:
        _OURS.reset(before)


def _cut_to_host(argument: object) -> object:
    """Cut an address to its host: vendors sign links in the path or in the query string."""
    return f"{argument.scheme}://{argument.netloc.decode()}/…" if isinstance(argument, httpx2.URL) else argument
