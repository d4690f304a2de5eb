"""What the HTTP library may log of our requests: never what signs a link, whoever turned its logging on.

It logs every address in full, and at its finest the headers of answers. Requests of others are left alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpx2

_OURS: ContextVar[bool] = ContextVar("reelport_requests", default=False)
_TELLING = re.compile(r"\(b'(location|set-cookie)', b['\"].*?['\"]\)", re.IGNORECASE)


class _Hushed(logging.Filter):
    """Takes out of a record what it shouldn't tell, and lets it pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _OURS.get():
            if isinstance(record.args, tuple):
                record.args = tuple(map(_bare, record.args))
            record.msg = _TELLING.sub(r"(b'\1', b'[redacted]')", str(record.msg))
        return True


for _name in ("httpx2", "httpcore2.http11"):
    logging.getLogger(_name).addFilter(_Hushed())


@contextmanager
def without_signatures() -> Iterator[None]:
    """Keep links out of the log while the block sends a request."""
    before = _OURS.set(True)
    try:
        yield
    finally:
        _OURS.reset(before)


def _bare(argument: object) -> object:
    """An address as far as its host: some sign a link in its path, others behind a question mark."""
    return f"{argument.scheme}://{argument.netloc.decode()}/…" if isinstance(argument, httpx2.URL) else argument
