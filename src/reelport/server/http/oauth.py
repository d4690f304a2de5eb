"""The token endpoints: a key, or a key and a login, for an access token (RFC 6749).

They take the form in several encodings, since clients in the wild send several; they are strict about the content.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import anyio
import anyio.to_thread
import structlog
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse

from reelport.catalog import Limit
from reelport.errors import StorageError
from reelport.server.access.grants import (
    ClientCredentials,
    Grant,
    Password,
    Refusal,
    Terms,
    grant_anonymous_token,
    grant_by_password,
    grant_by_refresh_token,
    grant_token,
)
from reelport.server.access.key_expiry import NOTICE
from reelport.server.addresses import find_site
from reelport.server.http.service import Service
from reelport.server.limits.body_budget import TOKEN_BODY_BYTES
from reelport.server.limits.quotas import format_headers
from reelport.server.limits.rate_limits import TokenBuckets, hash_owner
from reelport.wire import KEY_EXPIRES_HEADER, PUBLIC_TOKEN_PATH, TOKEN_PATH, format_utc

_LOG = structlog.get_logger(__name__)
_NO_STORE = {"Cache-Control": "no-store"}
_BASIC = {"WWW-Authenticate": 'Basic realm="reelport", charset="UTF-8"'}
_SENTENCES = {
    Refusal.INVALID_CLIENT: "There is no such key, it has expired or was revoked, or the secret is wrong.",
    Refusal.INVALID_SCOPE: (
        "The key, or the login at a refresh, holds none of the scopes that were asked for; blanks separate them."
    ),
}

_Form = Mapping[str, str]
_Outcome = Grant | Refusal
_GrantType = Callable[[Request, ClientCredentials, _Form], Awaitable[_Outcome]]


async def answer_token(request: Request) -> JSONResponse:
    """Answer a private key's token request: always five keys, or an RFC 6749 error as JSON."""
    return await _answer(request, _PRIVATE_GRANTS)


async def answer_public_token(request: Request) -> JSONResponse:
    """Answer a public key's token request, with the user's `uid` beside the five keys."""
    return await _answer(request, _PUBLIC_GRANTS)


async def _answer(request: Request, grant_types: Mapping[str, _GrantType]) -> JSONResponse:
    counted: list[_Count] = []
    answer = await _answer_form(request, grant_types, counted)
    answer.headers.update(format_headers(each.buckets.measure(each.policy, each.owner) for each in counted))
    return answer


async def _answer_form(request: Request, grant_types: Mapping[str, _GrantType], counted: list[_Count]) -> JSONResponse:
    """Answer a form; `counted` gets the limits that the request counted against."""
    service: Service = request.app.state.service
    is_public = grant_types is _PUBLIC_GRANTS
    try:
        _check_origin(request)
        form = await _read_form(request)
        grant_type = _find_grant_type(form, grant_types)
        client, is_basic = _read_credentials(request, form)
        counted += _find_counts(request, client, is_public=is_public)
        _count(service, counted)
        async with service.concurrency.turn(counted[-1].owner):
            found = await grant_type(request, client, form)
    except _TokenRefused as refused:
        return _answer_refused(refused)
    except StorageError as error:
        _LOG.error("the state can't be used", reason=str(error))
        return _answer_refused(
            _TokenRefused("temporarily_unavailable", "The service can't answer now: try again.", 503, 5)
        )
    service.metrics.token_requests.labels("granted" if isinstance(found, Grant) else found.value).inc()
    if isinstance(found, Grant):
        service.key_uses.note(client.id, datetime.now(UTC))
        return _answer_granted(found, form)
    sentence = _SENTENCES.get(found) or _describe_refusal(found, form, is_public=is_public)
    if found is Refusal.INVALID_CLIENT and is_basic:
        return _answer_refused(_TokenRefused(found.value, sentence, 401), _BASIC)
    return _answer_refused(_TokenRefused(found.value, sentence))


def _check_origin(request: Request) -> None:
    """Refuse what another site's page sends from a browser, before it counts for its address.

    Such a page can't read the answer: it could only use up what that address may try. One of an allowed origin can.
    """
    service: Service = request.app.state.service
    is_allowed = request.headers.get("origin") in service.settings.allowed_origins
    if request.headers.get("sec-fetch-site") == "cross-site" and not is_allowed:
        raise _TokenRefused("invalid_request", "A page of another site can't ask for tokens: ask from a program.", 403)


def _tell_expiry(grant: Grant) -> dict[str, str]:
    expires_at = grant.key_expires_at
    if expires_at is None or expires_at > datetime.now(UTC) + NOTICE:
        return {}
    return {KEY_EXPIRES_HEADER: format_utc(expires_at)}


@dataclass(frozen=True, slots=True)
class _Count:
    policy: str
    buckets: TokenBuckets
    owner: bytes
    sentence: str


def _find_counts(request: Request, client: ClientCredentials, *, is_public: bool) -> list[_Count]:
    """Find what a request counts against; for a public key first its limit at the address.

    A public key's secret is in every copy of its program: use of it at one address keeps nobody from the key at
    another address, or at the path of private keys.
    """
    service: Service = request.app.state.service
    key = client.id, client.secret
    often = "This key asks for tokens too often: use each token until it expires, or try again later."
    if not is_public:
        return [_Count("tokens", service.grants, hash_owner(*key), often)]
    here = "Tokens are asked for with this key too often from this address: try again later."
    return [
        _Count("tokens-at-address", service.site_grants, hash_owner(*key, find_site(_find_address(request))), here),
        _Count("tokens", service.grants, hash_owner(*key, PUBLIC_TOKEN_PATH), often),
    ]


def _count(service: Service, counts: list[_Count]) -> None:
    """Count a request; _TokenRefused beyond the first limit that is reached."""
    for each in counts:
        if pause := each.buckets.take(each.owner):
            raise _refuse_too_many(service, pause, each.sentence)


def _refuse_too_many(service: Service, pause: float, sentence: str) -> _TokenRefused:
    service.metrics.token_requests.labels("too_many_requests").inc()
    return _TokenRefused("too_many_requests", sentence, 429, math.ceil(pause))


def _find_address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _grant_by_secret(request: Request, client: ClientCredentials, form: _Form) -> _Outcome:
    service: Service = request.app.state.service
    read = partial(grant_token, seconds=service.settings.token_seconds or Limit.TOKEN_SECONDS.default)
    return await service.read(read, service.service_secret, client, _read_scopes(form), datetime.now(UTC))


async def _grant_anonymously(request: Request, client: ClientCredentials, _form: _Form) -> _Outcome:
    service: Service = request.app.state.service
    read = partial(grant_anonymous_token, seconds=_find_public_life(service))
    return await service.read(read, service.service_secret, client, datetime.now(UTC))


async def _grant_by_password(request: Request, client: ClientCredentials, form: _Form) -> _Outcome:
    service: Service = request.app.state.service
    password = Password(_require(form, "username"), _require(form, "password"))
    address = _find_address(request)
    counted = address, password.stored_email
    if pause := await anyio.to_thread.run_sync(service.login_attempts.begin, *counted):
        raise _refuse_too_many(service, pause, "Too many wrong passwords came from this address: try again later.")
    given = client, password, _read_scopes(form), datetime.now(UTC), _make_terms(service)
    work = partial(grant_by_password, service.db, service.service_secret, *given)
    found: _Outcome = await anyio.to_thread.run_sync(work, limiter=service.password_checks)
    if found is not Refusal.INVALID_GRANT:
        await anyio.to_thread.run_sync(service.login_attempts.forgive, *counted)
    return found


async def _grant_by_refresh_token(request: Request, client: ClientCredentials, form: _Form) -> _Outcome:
    service: Service = request.app.state.service
    given = client, _require(form, "refresh_token"), _read_scopes(form), datetime.now(UTC), _make_terms(service)
    return await anyio.to_thread.run_sync(grant_by_refresh_token, service.db, service.service_secret, *given)


_PRIVATE_GRANTS: dict[str, _GrantType] = {"client_credentials": _grant_by_secret}
_PUBLIC_GRANTS: dict[str, _GrantType] = {
    "password": _grant_by_password,
    "refresh_token": _grant_by_refresh_token,
    "client_credentials": _grant_anonymously,
}


def _find_grant_type(form: _Form, grant_types: Mapping[str, _GrantType]) -> _GrantType:
    name = form.get("grant_type")
    if not name:
        raise _TokenRefused("invalid_request", f"grant_type is missing: send {next(iter(grant_types))}.")
    if name in grant_types:
        return grant_types[name]
    if name == "refresh_token" and _require(form, "refresh_token"):
        sentence = "The refresh token is unknown: a private key gets none. Ask for a new token with client_credentials."
        raise _TokenRefused("invalid_grant", sentence)
    if name in _PUBLIC_GRANTS:
        sentence = f"This path takes private keys: public keys get tokens by {name} at {PUBLIC_TOKEN_PATH}."
        raise _TokenRefused("unsupported_grant_type", sentence)
    raise _TokenRefused("unsupported_grant_type", f"What is known here is {', '.join(grant_types)}.")


def _require(form: _Form, name: str) -> str:
    if not form.get(name):
        raise _TokenRefused("invalid_request", f"{name} is missing.")
    return form[name]


def _read_scopes(form: _Form) -> list[str]:
    return form.get("scope", "").split()


def _make_terms(service: Service) -> Terms:
    refresh_life = timedelta(days=Limit.REFRESH_DAYS.default)
    return Terms(_find_public_life(service), refresh_life, service.settings.second_factor)


def _find_public_life(service: Service) -> int:
    return service.settings.token_seconds or Limit.PUBLIC_TOKEN_SECONDS.default


def _describe_refusal(refusal: Refusal, form: _Form, *, is_public: bool) -> str:
    if not is_public:
        return f"This is a public key: it gets tokens with a user's password, at {PUBLIC_TOKEN_PATH}."
    if refusal is Refusal.UNAUTHORIZED_CLIENT:
        return f"This is a private key: it gets tokens with client_credentials, at {TOKEN_PATH}."
    if form["grant_type"] == "password":
        return (
            "There is no such user in the key's organization, the password is wrong, or the user has or needs a "
            "second factor: then use a private key."
        )
    return "The refresh token is unknown, used before or expired, or its login has ended: ask with the password."


def _answer_granted(grant: Grant, form: _Form) -> JSONResponse:
    body = {
        "access_token": grant.token,
        "refresh_token": grant.refresh_token,
        "expires_in": grant.seconds,
        # A public host names no scopes to a client that asked for none; RFC 6749 (5.1) requires them for one that did.
        "scope": "" if grant.user_id and not _read_scopes(form) else " ".join(grant.scopes),
        "token_type": "Bearer",
    }
    user = {} if grant.user_id is None else {"uid": grant.user_id}
    return JSONResponse(body | user, headers={**_NO_STORE, **_tell_expiry(grant)})


def _answer_refused(refused: _TokenRefused, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"error": refused.code, "error_description": refused.description}
    pause = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return JSONResponse(body, refused.status, headers={**_NO_STORE, **pause, **(headers or {})})


_FIELDS = 20


@dataclass(eq=False)  # not frozen: Python itself sets the traceback of an exception
class _TokenRefused(Exception):
    """The request is refused: an error code of RFC 6749, and what to change."""

    code: str
    description: str
    status: int = 400
    retry_after: int | None = None


async def _read_form(request: Request) -> dict[str, str]:
    forms = request.app.state.service.forms
    with forms.hold(_find_address(request)) as pending:
        body = await pending.read(request, TOKEN_BODY_BYTES)
    if pending.dropped:
        raise _TokenRefused("temporarily_unavailable", "Too many requests are coming in at once: try again.", 503, 5)
    if body is None:
        raise _TokenRefused("invalid_request", f"The body is longer than {TOKEN_BODY_BYTES} bytes.", 413)
    body = body.removeprefix(codecs.BOM_UTF8)  # Windows' shell writes one before JSON and forms
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        fields = await _parse_multipart(request, body)
    elif body.lstrip()[:1] == b"{":
        fields = _parse_json(body)
    else:
        fields = _parse_urlencoded(body)
    repeated = [name for name, count in Counter(name for name, _ in fields).items() if count > 1]
    if repeated:
        raise _TokenRefused("invalid_request", f"{_printable(repeated[0])} came more than once.")
    return dict(fields)


def _read_credentials(request: Request, form: Mapping[str, str]) -> tuple[ClientCredentials, bool]:
    """Read the key's id and secret, and whether they came as Basic credentials."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise _TokenRefused("invalid_request", f"There are {len(headers)} Authorization headers: send one.")
    header = headers[0] if headers else ""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        missing = [name for name in ("client_id", "client_secret") if not form.get(name)]
        if missing:
            raise _TokenRefused("invalid_request", f"{' and '.join(missing)} missing.")
        return ClientCredentials(form["client_id"], form["client_secret"]), False
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _TokenRefused("invalid_request", "The Authorization header isn't Basic credentials.") from None
    id_, _, secret = text.partition(":")
    client = ClientCredentials(unquote_plus(id_), unquote_plus(secret))
    if "client_secret" in form or form.get("client_id", client.id) != client.id:
        raise _TokenRefused("invalid_request", "Credentials came twice: in the header and in the body.")
    return client, True


def _parse_urlencoded(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except UnicodeDecodeError:
        raise _TokenRefused("invalid_request", "The body isn't UTF-8.") from None
    except ValueError:
        raise _TokenRefused("invalid_request", f"The form can't be read, or has more than {_FIELDS} fields.") from None


def _parse_json(body: bytes) -> list[tuple[str, str]]:
    try:
        # As pairs, so that a repeated name can be refused.
        given: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise _TokenRefused("invalid_request", "The body begins like JSON but isn't.") from None
    wrong = [name for name, value in given if not isinstance(value, str)]
    if wrong:
        raise _TokenRefused("invalid_request", f"{_printable(wrong[0])} isn't a text.")
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
    except (MultiPartException, UnicodeError, LookupError):  # the client names the encoding
        raise _TokenRefused("invalid_request", "The form in parts can't be read.") from None
    return [(name, value) for name, value in fields.multi_items() if isinstance(value, str)]
