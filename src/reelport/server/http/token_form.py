"""Reads the form of a token request, and the credentials that came with it.

It takes the form in several encodings, since clients in the wild send several; it is strict about the content.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from reelport.server.access.grants import ClientCredentials

_FIELDS = 20


@dataclass(eq=False)  # not frozen: Python itself sets the traceback of an exception
class TokenRefused(Exception):
    """The request is refused: an error code of RFC 6749, and what to change."""

    code: str
    description: str
    status: int = 400
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class FoundCredentials:
    """The credentials of a request, and whether they came in its Authorization header (Basic)."""

    client: ClientCredentials
    basic: bool


async def read_form(request: Request, max_bytes: int) -> dict[str, str]:
    """Read a form's fields: URL-encoded, multipart, or a JSON object sent as either."""
    forms = request.app.state.service.forms
    with forms.hold(request.client.host if request.client else "") as pending:
        body = await pending.read(request, max_bytes)
    if pending.dropped:
        raise TokenRefused("temporarily_unavailable", "Too many requests are coming in at once: try again.", 503, 5)
    if body is None:
        raise TokenRefused("invalid_request", f"The body is longer than {max_bytes} bytes.", 413)
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
        raise TokenRefused("invalid_request", f"{_printable(repeated[0])} came more than once.")
    return dict(fields)


def read_credentials(request: Request, form: Mapping[str, str]) -> FoundCredentials:
    """Read a key's id and secret from header or form; TokenRefused if missing or double."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise TokenRefused("invalid_request", f"There are {len(headers)} Authorization headers: send one.")
    header = headers[0] if headers else ""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        missing = [name for name in ("client_id", "client_secret") if not form.get(name)]
        if missing:
            raise TokenRefused("invalid_request", f"{' and '.join(missing)} missing.")
        return FoundCredentials(ClientCredentials(form["client_id"], form["client_secret"]), basic=False)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise TokenRefused("invalid_request", "The Authorization header isn't Basic credentials.") from None
    id_, _, secret = text.partition(":")
    client = ClientCredentials(unquote_plus(id_), unquote_plus(secret))
    if "client_secret" in form or form.get("client_id", client.id) != client.id:
        raise TokenRefused("invalid_request", "Credentials came twice: in the header and in the body.")
    return FoundCredentials(client, basic=True)


def _parse_urlencoded(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except UnicodeDecodeError:
        raise TokenRefused("invalid_request", "The body isn't UTF-8.") from None
    except ValueError:
        raise TokenRefused("invalid_request", f"The form can't be read, or has more than {_FIELDS} fields.") from None


def _parse_json(body: bytes) -> list[tuple[str, str]]:
    try:
        # As pairs, so that a repeated name can be refused.
        given: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise TokenRefused("invalid_request", "The body begins like JSON but isn't.") from None
    wrong = [name for name, value in given if not isinstance(value, str)]
    if wrong:
        raise TokenRefused("invalid_request", f"{_printable(wrong[0])} isn't a text.")
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
        raise TokenRefused("invalid_request", "The form in parts can't be read.") from None
    return [(name, value) for name, value in fields.multi_items() if isinstance(value, str)]
