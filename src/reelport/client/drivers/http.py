"""The default transports: HTTP through httpx2. Loaded with a client's first request."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

import httpx2

from reelport.client.steps import TOO_SLOW, AsyncBody, Body, Lost, Reply, Request
from reelport.errors import UsageError

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_CONNECT_SECONDS = 10.0

# A service may close an idle connection just when an ask is sent over it, and then nobody knows whether the ask was
# taken. So we close idle connections first: sooner than any service does.
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
_NO_ADDRESS = (httpx2.InvalidURL, UnicodeError)  # the latter: a host that no DNS name can be, as in http://a..b/

_AT_ONCE = 1 << 18
_LONG = 1 << 20  # fewest remaining bytes for which this pays: the connection can't be reused afterwards
_SIZE = re.compile(r"[0-9]{1,19}")

_OURS: ContextVar[bool] = ContextVar("reelport_requests", default=False)
_BYTES = r"""b(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_SECRET_HEADERS = re.compile(rf"\(b'(location|content-location|link|refresh|set-cookie)', {_BYTES}\)", re.IGNORECASE)


class Http:
    """Blocking HTTP through httpx2. Several threads may share one."""

    def __init__(self) -> None:
        with _translate_environment_errors():
            self._client = httpx2.Client(headers=_build_headers(), limits=_LIMITS)

    def open(self, request: Request) -> Body | Lost:
        """Send a request; return the response, its body still open. UsageError once closed."""
        _refuse_closed(closed=self._client.is_closed)
        try:
            made = _build_request(self._client, request, _trace)
            with _without_signatures(), _bounded_head(request):
                response = self._client.send(made, stream=True, auth=None, follow_redirects=request.method == "GET")
                return _Body(response, request.timeout)
        except (httpx2.RequestError, *_NO_ADDRESS) as error:
            return _describe_loss(error)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class _Body:
    def __init__(self, response: httpx2.Response, timeout: float) -> None:
        self._response = response
        self._timeout = timeout
        self._chunks: Iterator[bytes] = response.iter_raw()
        self._begun = False
        self._rest: _LongBody | None = None
        self.head = _read_head(response)

    def read(self) -> bytes | Lost:
        if self._rest is not None:
            return self._rest.read()
        try:
            data = next(self._chunks, b"")
        except httpx2.RequestError as error:
            return _describe_loss(error)
        if not self._begun:
            # The first piece is all that the library had received: the rest can be read from the socket.
            self._begun = True
            self._rest = _LongBody.of(self._response, len(data), self._timeout)
        return data

    def close(self) -> None:
        self._response.close()


class AsyncHttp:
    """HTTP by httpx2 on asyncio. An event loop that follows another has own connections."""

    def __init__(self) -> None:
        self._client = _make_async_client()
        self._loop: object = None

    async def open(self, request: Request) -> AsyncBody | Lost:
        """Send a request; return the response, its body still open. UsageError once closed."""
        _refuse_closed(closed=self._client.is_closed)
        self._follow_loop()
        try:
            made = _build_request(self._client, request, _trace_async)
            follow = request.method == "GET"
            with _without_signatures(), _bounded_head(request):
                return _AsyncBody(await self._client.send(made, stream=True, auth=None, follow_redirects=follow))
        except (httpx2.RequestError, *_NO_ADDRESS) as error:
            return _describe_loss(error)

    async def close(self) -> None:
        """Close all connections."""
        self._follow_loop()
        await self._client.aclose()

    def _follow_loop(self) -> None:
        """Abandon the connections of an ended event loop: they can't even be closed any more."""
        import asyncio  # noqa: PLC0415 - a third of the time that the blocking client takes to load

        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            self._client = _make_async_client()
        self._loop = loop


def _make_async_client() -> httpx2.AsyncClient:
    with _translate_environment_errors():
        return httpx2.AsyncClient(headers=_build_headers(), limits=_LIMITS)


class _AsyncBody:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._chunks: AsyncIterator[bytes] = response.aiter_raw()
        self.head = _read_head(response)

    async def read(self) -> bytes | Lost:
        try:
            return await anext(self._chunks, b"")
        except httpx2.RequestError as error:
            return _describe_loss(error)

    async def close(self) -> None:
        await self._response.aclose()


@contextmanager
def _translate_environment_errors() -> Iterator[None]:
    """Turn a bad proxy or certificate variable into a UsageError when a client is made."""
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{_name_set(_PROXIES)} names a SOCKS proxy, for which a library is missing: pip install "
                         "socksio, or name an http:// proxy.") from error  # fmt: skip
    except (ValueError, httpx2.InvalidURL) as error:
        raise UsageError(
            f"{_name_set(_PROXIES)} is no address of a proxy: give one like http://proxy.example:3128."
        ) from error
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or error.__class__.__name__
        raise UsageError(f"The certificates that {_name_set(_CERTIFICATES)} names can't be read ({reason}): name a PEM "
                         "file of certificates, or unset it.") from error  # fmt: skip


def _name_set(names: tuple[str, ...]) -> str:
    found = [name for name in os.environ if name.upper() in names and os.environ[name]]
    return " or ".join(sorted(found)) or " or ".join(names)


def _refuse_closed(*, closed: bool) -> None:
    """Raise UsageError for a closed client, so that no request counts as perhaps arrived."""
    if closed:
        raise UsageError("This client was closed: make another one.")


def build_user_agent() -> str:
    """Return the User-Agent header: this client's version and Python's."""
    try:
        own = version("reelport")
    except PackageNotFoundError:
        own = "unknown"
    return f"reelport/{own} python/{sys.version_info.major}.{sys.version_info.minor}"


def _build_headers() -> dict[str, str]:
    return {"user-agent": build_user_agent(), "accept-encoding": "identity", "accept": "*/*"}


def _build_request(
    client: httpx2.Client | httpx2.AsyncClient, request: Request, follow: Callable[[str, dict[str, Any]], object]
) -> httpx2.Request:
    timeout = httpx2.Timeout(request.timeout, connect=min(request.timeout, _CONNECT_SECONDS))
    content, extensions = request.body, {"trace": follow}
    return client.build_request(
        request.method, request.url, headers=request.headers, content=content, timeout=timeout, extensions=extensions
    )


def _read_head(response: httpx2.Response) -> Reply:
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def _describe_loss(error: httpx2.RequestError | httpx2.InvalidURL | UnicodeError) -> Lost:
    """Describe a failed request. Leaves its address out: that may be a signed URL."""
    if isinstance(error, _SlowHead):
        return TOO_SLOW
    if isinstance(error, _NO_ADDRESS):
        return Lost("the link is no address", sent=False)
    return Lost(_describe_error(error), sent=not isinstance(error, _NEVER_SENT))


def _describe_error(error: httpx2.RequestError) -> str:
    match error:
        case httpx2.ConnectTimeout():
            return "connecting took too long"
        case httpx2.TimeoutException():
            return "the service fell silent"
        case httpx2.UnsupportedProtocol():
            return "the link is neither http nor https"
        case httpx2.TooManyRedirects():
            return "it redirects without end"
        case httpx2.ConnectError() if refused := _find_refusal(error):
            return refused
        case _:
            return _ERRNO.sub("", str(error)).strip(". ") or type(error).__name__


def _find_refusal(error: BaseException | None) -> str | None:
    while error is not None and not (isinstance(error, OSError) and error.errno):
        error = error.__cause__ or error.__context__
    return os.strerror(error.errno) if isinstance(error, ConnectionError) and error.errno else None


class _LongBody:
    """The rest of a body of known length, read from its socket.

    The library would copy each byte thrice, 64 KB at a time.
    """

    def __init__(self, connection: socket.socket, total: int, received: int, timeout: float) -> None:
        self._socket = connection
        self._total = total
        self._received = received
        self._timeout = timeout

    @classmethod
    def of(cls, response: httpx2.Response, received: int, timeout: float) -> Self | None:
        """Take over a body after all that the library had; None if the socket may give others."""
        length = _SIZE.fullmatch(response.headers.get("content-length", ""))
        stream = response.extensions.get("network_stream")
        plain = response.http_version == "HTTP/1.1" and "transfer-encoding" not in response.headers
        if not (plain and length and stream) or int(length[0]) - received < _LONG:
            return None
        connection, tls = stream.get_extra_info("socket"), stream.get_extra_info("ssl_object")
        # With TLS inside TLS (to a proxy that itself speaks TLS), the socket gives bytes that are still encrypted.
        if not isinstance(connection, socket.socket) or isinstance(tls, ssl.SSLObject):
            return None
        return cls(connection, int(length[0]), received, timeout)

    def read(self) -> bytes | Lost:
        left = self._total - self._received
        if not left:
            return b""
        try:
            self._socket.settimeout(self._timeout)
            data = self._socket.recv(min(_AT_ONCE, left))
        except TimeoutError:
            return Lost("the service fell silent")
        except OSError as error:
            return Lost((error.strerror or type(error).__name__).strip(". "))
        self._received += len(data)
        return data or Lost(
            "peer closed connection without sending complete message body "
            f"(received {self._received} bytes, expected {self._total})"
        )


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
def _without_signatures() -> Iterator[None]:
    """Keep signatures of links out of the library's log of the block's requests."""
    before = _OURS.set(True)
    try:
        yield
    finally:
        _OURS.reset(before)


def _cut_to_host(argument: object) -> object:
    """Cut an address to its host: vendors sign links in the path or in the query string."""
    return f"{argument.scheme}://{argument.netloc.decode()}/…" if isinstance(argument, httpx2.URL) else argument


class _SlowHead(httpx2.ReadTimeout):
    """The head of an answer came in pieces for longer than the request allows."""


class _Head:
    """The seconds that heads of a request's answers may take after their first bytes."""

    def __init__(self, request: Request) -> None:
        self._left = request.pace
        self._silence = request.timeout
        self._begun = False

    def expect_answer(self) -> None:
        self._begun = False

    @contextmanager
    def count(self) -> Iterator[None]:
        """Count the seconds of a wait for bytes; _SlowHead where none is left.

        At most the silence after which the library gives up counts: beyond that the process, or its event loop, stood
        still.
        """
        if self._left <= 0:
            raise _SlowHead("the head of the answer only trickles")
        began = time.monotonic()
        yield
        if self._begun:
            self._left -= min(time.monotonic() - began, self._silence)
        self._begun = True


# Set while a request is sent and its head is read; what reads a body counts for itself.
_HEAD: ContextVar[_Head | None] = ContextVar("reelport_head", default=None)


@contextmanager
def _bounded_head(request: Request) -> Iterator[None]:
    """Raise _SlowHead for slow heads of the block's request, which needs the extension `trace`."""
    before = _HEAD.set(_Head(request))
    try:
        yield
    finally:
        _HEAD.reset(before)


def _trace(event: str, info: dict[str, Any]) -> None:
    if _is_opened(event):
        stream = info["return_value"]
        read = stream.read

        def read_counted(max_bytes: int, timeout: float | None = None) -> bytes:
            with _count_wait():
                data: bytes = read(max_bytes, timeout)
                return data

        stream.read = read_counted
    _note_answer(event)


async def _trace_async(event: str, info: dict[str, Any]) -> None:
    if _is_opened(event):
        stream = info["return_value"]
        read = stream.read

        async def read_counted(max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's
            with _count_wait():
                data: bytes = await read(max_bytes, timeout)
                return data

        stream.read = read_counted
    _note_answer(event)


def _is_opened(event: str) -> bool:
    return event.endswith((".connect_tcp.complete", ".start_tls.complete"))


def _note_answer(event: str) -> None:
    if event.endswith(".receive_response_headers.started") and (head := _HEAD.get()) is not None:
        head.expect_answer()


def _count_wait() -> AbstractContextManager[None]:
    head = _HEAD.get()
    return nullcontext() if head is None else head.count()
