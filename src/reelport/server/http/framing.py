"""Framing: where a request ends is told in one way, and a body is no dearer to take apart than it is long.

Each chunk costs as much as some hundreds of bytes do, and its frame is never counted as part of the body.
"""

from __future__ import annotations

from typing import Any

import h11

_CHUNKS = 200
"""Chunks that any body may have, however small they are."""
_CHUNK = 256
"""Bytes that those beyond have to have on average."""
_FRAMES = 65_536
"""Bytes of frames that any body may have; beyond them, no more than it has bytes of its own."""


class StrictFraming(h11.Connection):
    """Reads requests of one length, in chunks that are worth taking apart; says when an answer is the last one.

    RFC 9112, 6.1: with both a length and chunks a request may be meant to smuggle another one past a proxy.
    """

    refusal: str | None = None
    """Why the request was refused, for its caller; None where it just isn't HTTP."""

    _came = 0
    """Bytes that came since the head of the request."""
    _chunks = 0
    _body = 0

    def receive_data(self, data: bytes) -> None:
        """Take what has come."""
        self._came += len(data)
        super().receive_data(data)

    def next_event(self) -> Any:  # noqa: ANN401 - as h11 has it
        """The next event; RemoteProtocolError for a request with both, or with a body of tiny chunks."""
        event = super().next_event()
        match event:
            case h11.Request():
                self._came = self._chunks = self._body = 0
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                    self._refuse("The request has both Content-Length and Transfer-Encoding: send one of them.")
            case h11.Data():
                self._chunks += event.chunk_start
                self._body += len(event.data)
                self._judge()
        return event

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]  # all overloads in one
        """The bytes of an event. An answer that is given before the body has come whole is the connection's last."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            kept = [(name, value) for name, value in event.headers.raw_items() if name.lower() != b"connection"]
            event = h11.Response(
                status_code=event.status_code, headers=[*kept, (b"connection", b"close")], reason=event.reason
            )
        return super().send(event)

    def _judge(self) -> None:
        if self._chunks > _CHUNKS + self._body // _CHUNK:
            self._refuse(f"The body comes in too many small chunks: send at least {_CHUNK} bytes in each.")
        if self._came > _FRAMES + 2 * self._body:
            self._refuse("The frames of the body's chunks are longer than the body: send no extensions of chunks.")

    def _refuse(self, sentence: str) -> None:
        self.refusal = sentence
        raise h11.RemoteProtocolError(sentence)
