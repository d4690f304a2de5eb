"""The token endpoint: exchanges an API key for an access token (OAuth 2.0, RFC 6749).

It takes the form in several encodings, since clients in the wild send several; it is strict about the content.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import structlog
from sqlalchemy import Engine
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse

from reelport.errors import StorageError
from reelport.server.access import callers
from reelport.server.access.callers import Grant, Refusal
from reelport.server.http.service import Service
from reelport.server.limits.grant_rate import hash_caller
from reelport.server.limits.request_size import TOKEN_BODY_BYTES

_LOG = structlog.get_logger(__name__)
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_BASIC = {"WWW-Authenticate": 'Basic realm="reelport", charset="UTF-8"'}
_FIELDS = 20


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    """The request is refused: an error code of RFC 6749, and what to change."""

    code: str
    description: str
    status: int = 400
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class _Credentials:
    id: str
    secret: str
    basic: bool


async def answer_token(request: Request) -> JSONResponse:
    """Answer a token request: always the same five keys, or an RFC 6749 error as JSON."""
    service: Service = request.app.state.service
    try:
        form = await _read_form(request, min(service.settings.body_bytes, TOKEN_BODY_BYTES))
        _check_grant_type(form)
        credentials = _read_credentials(request, form)
        caller = _take_grant(service, credentials)
    except _Refused as refused:
        return _answer_refused(refused)
    scopes = form.get("scope", "").split()
    try:
        async with service.concurrency.limiter_of(caller):
            found = await service.reads.run(_grant_token, service, credentials, scopes)
    except StorageError as error:
        _LOG.error("the state can't be used", reason=str(error))
        return _answer_refused(_Refused("temporarily_unavailable", "The service can't answer now: try again.", 503, 5))
    service.metrics.token_requests.labels("granted" if isinstance(found, Grant) else found.value).inc()
    match found:
        case Grant():
            return _answer_granted(found)
        case Refusal.INVALID_CLIENT if credentials.basic:
            return _answer_refused(_Refused(found.value, "There is no such key, or the secret is wrong.", 401), _BASIC)
        case Refusal.INVALID_CLIENT:
            return _answer_refused(_Refused(found.value, "There is no such key, or the secret is wrong."))
        case Refusal.INVALID_SCOPE:
            return _answer_refused(_Refused(found.value, "The key holds none of the scopes that were asked for."))


def _take_grant(service: Service, credentials: _Credentials) -> bytes:
    """Count a grant against the key's limit; return the hashed key. `_Refused` beyond it."""
    caller = hash_caller(credentials.id, credentials.secret)
    pause = service.grants.take(caller)
    if pause > 0:
        service.metrics.token_requests.labels("too_many_requests").inc()
        sentence = "This key asks for tokens too often: use each token until it expires, or try again later."
        raise _Refused("too_many_requests", sentence, 429, math.ceil(pause))
    return caller


def _grant_token(db: Engine, service: Service, credentials: _Credentials, scopes: list[str]) -> Grant | Refusal:
    return callers.grant_token(
        db,
        service.service_secret,
        credentials.id,
        credentials.secret,
        scopes,
        datetime.now(UTC),
        seconds=service.settings.token_seconds,
    )


def _answer_granted(grant: Grant) -> JSONResponse:
    body = {
        "access_token": grant.token,
        "refresh_token": None,
        "expires_in": grant.seconds,
        "scope": " ".join(grant.scopes),
        "token_type": "Bearer",
    }
    return JSONResponse(body, headers=_NO_STORE)


def _answer_refused(refused: _Refused, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"error": refused.code, "error_description": refused.description}
    pause = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return JSONResponse(body, refused.status, headers={**_NO_STORE, **pause, **(headers or {})})


def _check_grant_type(form: Mapping[str, str]) -> None:
    match form.get("grant_type"):
        case "client_credentials":
            pass
        case "refresh_token" if form.get("refresh_token"):
            raise _Refused(
                "invalid_grant",
                "The refresh token is unknown: a private key gets none. Ask for a new token with client_credentials.",
            )
        case "refresh_token":
            raise _Refused("invalid_request", "refresh_token is missing.")
        case None | "":
            raise _Refused("invalid_request", "grant_type is missing: send client_credentials.")
        case _:
            raise _Refused("unsupported_grant_type", "Only client_credentials is known here.")


def _read_credentials(request: Request, form: Mapping[str, str]) -> _Credentials:
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise _Refused("invalid_request", f"There are {len(headers)} Authorization headers: send one.")
    header = headers[0] if headers else ""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        missing = [name for name in ("client_id", "client_secret") if not form.get(name)]
        if missing:
            raise _Refused("invalid_request", f"{' and '.join(missing)} missing.")
        return _Credentials(form["client_id"], form["client_secret"], basic=False)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _Refused("invalid_request", "The Authorization header isn't Basic credentials.") from None
    id_, _, secret = text.partition(":")
    credentials = _Credentials(unquote_plus(id_), unquote_plus(secret), basic=True)
    if "client_secret" in form or form.get("client_id", credentials.id) != credentials.id:
        raise _Refused("invalid_request", "Credentials came twice: in the header and in the body.")
    return credentials


async def _read_form(request: Request, max_bytes: int) -> dict[str, str]:
    """Read a form's fields: URL-encoded, multipart, or a JSON object sent as either."""
    forms = request.app.state.service.forms
    with forms.hold(request.client.host if request.client else "") as pending:
        body = await pending.read(request, max_bytes)
    if pending.dropped:
        raise _Refused("temporarily_unavailable", "Too many requests are coming in at once: try again.", 503, 5)
    if body is None:
        raise _Refused("invalid_request", f"The body is longer than {max_bytes} bytes.", 413)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        fields = await _parse_multipart(request, body)
    elif body.lstrip()[:1] == b"{":
        fields = _parse_json(body)
    else:
        fields = _parse_urlencoded(body)
    repeated = [name for name, count in Counter(name for name, _ in fields).items() if count > 1]
    if repeated:
        raise _Refused("invalid_request", f"{_printable(repeated[0])} came more than once.")
    return dict(fields)


def _parse_urlencoded(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except UnicodeDecodeError:
        raise _Refused("invalid_request", "The body isn't UTF-8.") from None
    except ValueError:
        raise _Refused("invalid_request", f"The form can't be read, or has more than {_FIELDS} fields.") from None


def _parse_json(body: bytes) -> list[tuple[str, str]]:
    try:
        # As pairs, so that a repeated name can be refused.
        given: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise _Refused("invalid_request", "The body begins like JSON but isn't.") from None
    wrong = [name for name, value in given if not isinstance(value, str)]
    if wrong:
        raise _Refused("invalid_request", f"{_printable(wrong[0])} isn't a text.")
    return given


def _printable(name: str) -> str:
    """Shorten a received name and replace lone surrogates, which no answer can carry."""
    return name[:80].encode("utf-8", "replace").decode()


async def _parse_multipart(request: Request, body: bytes) -> list[tuple[str, str]]:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    try:
        parser = MultiPartParser(request.headers, stream(), max_files=0, max_fields=_FIELDS)  # type: ignore[arg-type]
        fields = await parser.parse()
    except (MultiPartException, UnicodeDecodeError, LookupError):
        raise _Refused("invalid_request", "The form in parts can't be read.") from None
    return [(name, value) for name, value in fields.multi_items() if isinstance(value, str)]
