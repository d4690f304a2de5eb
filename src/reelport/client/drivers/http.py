"""The default transports: HTTP through httpx2. Loaded with a client's first request."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version

import httpx2

from reelport.client.steps import AsyncBody, Body, Lost, Reply, Request
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
            made = _build_request(self._client, request)
            with _without_signatures():
                response = self._client.send(made, stream=True, auth=None, follow_redirects=request.method == "GET")
                return _Body(response)
        except (httpx2.RequestError, *_NO_ADDRESS) as error:
            return _describe_loss(error)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class _Body:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._chunks: Iterator[bytes] = response.iter_raw()
        self.head = _read_head(response)

    def read(self) -> bytes | Lost:
        try:
            return next(self._chunks, b"")
        except httpx2.RequestError as error:
            return _describe_loss(error)

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
            made = _build_request(self._client, request)
            follow = request.method == "GET"
            with _without_signatures():
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


def _build_request(client: httpx2.Client | httpx2.AsyncClient, request: Request) -> httpx2.Request:
    timeout = httpx2.Timeout(request.timeout, connect=min(request.timeout, _CONNECT_SECONDS))
    return client.build_request(
        request.method, request.url, headers=request.headers, content=request.body, timeout=timeout
    )


def _read_head(response: httpx2.Response) -> Reply:
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def _describe_loss(error: httpx2.RequestError | httpx2.InvalidURL | UnicodeError) -> Lost:
    """Describe a failed request. Leaves its address out: that may be a signed URL."""
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
            return "the link is neither http:// nor https://"
        case httpx2.TooManyRedirects():
            return "it redirects again and again"
        case httpx2.ConnectError() if refused := _find_refusal(error):
            return refused
        case _:
            return _ERRNO.sub("", str(error)).strip(". ") or type(error).__name__


def _find_refusal(error: BaseException | None) -> str | None:
    while error is not None and not (isinstance(error, OSError) and error.errno):
        error = error.__cause__ or error.__context__
    return os.strerror(error.errno) if isinstance(error, ConnectionError) and error.errno else None


class _RedactingFilter(logging.Filter):
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
