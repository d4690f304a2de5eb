"""HTTP/1.1 framing: refuses request smuggling, and bodies mostly of chunk framing.

Parsing a chunk costs as much as some hundreds of bytes, and its framing is never counted as part of the body.
"""

from __future__ import annotations

import re
from typing import Any

import h11

_FREE_CHUNKS = 200
"""Chunks that every body may have, however small they are."""
_MEAN_CHUNK_BYTES = 256
"""Average bytes that further chunks must have."""
_FREE_FRAMING_BYTES = 65_536
"""Bytes of chunk framing that every body may have; beyond them, at most as many as the body has bytes."""
_ABSOLUTE_FORM = re.compile(rb"https?://(?P<host>[^/?#]+)(?P<path>[^#]*)", re.IGNORECASE)


class StrictFraming(h11.Connection):
    """Parses requests strictly: one body length, no tiny chunks. Marks a last answer.

    A request with both Content-Length and Transfer-Encoding may smuggle another one past a proxy (RFC 9112, 6.1).
    """

    refusal: str | None = None
    """Why the request was refused, for its client; None where it just isn't HTTP."""

    _ends_by_closing = False

    _received = 0
    """Bytes received since the head of the request."""
    _chunks = 0
    _body = 0

    def hides_cut(self, left: int) -> bool:
        """Whether the client would take the answer for a whole one without its last `left` bytes.

        HTTP/1.0 has no chunks: an answer without a length ends with its connection.
        """
        return self._ends_by_closing and (left > 0 or self.our_state is h11.SEND_BODY)

    def receive_data(self, data: bytes) -> None:
        """Count and buffer received bytes."""
        self._received += len(data)
        super().receive_data(data)

    def next_event(self) -> Any:  # noqa: ANN401 - as h11 has it
        """Return the next event. RemoteProtocolError for two body lengths or tiny chunks."""
        event = super().next_event()
        match event:
            case h11.Request():
                self._received = self._chunks = self._body = 0
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                    self._refuse("The request has both Content-Length and Transfer-Encoding: send one of them.")
                return _to_origin_form(event)
            case h11.Data():
                self._chunks += event.chunk_start
                self._body += len(event.data)
                self._check_body_framing()
        return event

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]  # all overloads in one
        """Return an event's bytes. An answer before the whole body closes the connection."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            kept = [(name, value) for name, value in event.headers.raw_items() if name.lower() != b"connection"]
            event = h11.Response(
                status_code=event.status_code, headers=[*kept, (b"connection", b"close")], reason=event.reason
            )
        return super().send(event)

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """Return an event's bytes, as h11 does; note an answer that only the connection's end will end."""
        parts = super().send_with_data_passthrough(event)
        if isinstance(event, h11.Response):
            has_length = any(name == b"content-length" for name, _ in event.headers)
            self._ends_by_closing = self.their_http_version == b"1.0" and not has_length
        return parts

    def _check_body_framing(self) -> None:
        if self._chunks > _FREE_CHUNKS + self._body // _MEAN_CHUNK_BYTES:
            self._refuse(f"The body comes in too many small chunks: send at least {_MEAN_CHUNK_BYTES} bytes in each.")
        if self._received > _FREE_FRAMING_BYTES + 2 * self._body:
            self._refuse("The frames of the body's chunks are longer than the body: send no extensions of chunks.")

    def _refuse(self, sentence: str) -> None:
        self.refusal = sentence
        raise h11.RemoteProtocolError(sentence)


def _to_origin_form(request: h11.Request) -> h11.Request:
    """Return a request whose target is a path.

    The host of a whole address becomes its Host, whatever the header said (RFC 9112, 3.2.2).
    """
    address = _ABSOLUTE_FORM.fullmatch(request.target)
    if address is None:
        return request
    headers = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"host"]
    path = address["path"] if address["path"].startswith(b"/") else b"/" + address["path"]
    return h11.Request(
        method=request.method,
        headers=[(b"Host", address["host"]), *headers],
        target=path,
        http_version=request.http_version,
    )
