"""Cookies of Studio, and the tokens that tie a form to its browser (CSRF)."""

from __future__ import annotations

import hmac
import secrets

from starlette.requests import Request
from starlette.responses import Response

from reelport.server.credentials import ServiceSecret
from reelport.server.settings import Settings

_SESSION, _FORM = "reelport-session", "reelport-form"
_HOST_PREFIX = "__Host-"
"""Browsers take a cookie of such a name over TLS alone, for the whole host and no other."""
_PURPOSE = "form"


def is_secure(request: Request, settings: Settings) -> bool:
    """Whether the browser came by TLS, to a proxy or to us."""
    return request.url.scheme == "https" or settings.public_url.startswith("https:")


def read_session_token(request: Request, settings: Settings) -> str:
    """Read the session's token from its cookie; empty without one."""
    return request.cookies.get(_name(_SESSION, request, settings), "")


def set_session_token(response: Response, request: Request, settings: Settings, token: str, seconds: float) -> None:
    """Give the browser a session's token for so long."""
    _set(response, request, settings, _SESSION, token, int(seconds))


def delete_session_token(response: Response, request: Request, settings: Settings) -> None:
    """Make the browser forget its session."""
    _set(response, request, settings, _SESSION, "", 0)


def read_form_token(request: Request, settings: Settings) -> str:
    """Read the form token of a browser without a session; empty without one."""
    return request.cookies.get(_name(_FORM, request, settings), "")


def set_form_token(response: Response, request: Request, settings: Settings, token: str) -> None:
    """Give a browser without a session a token for its forms."""
    _set(response, request, settings, _FORM, token, None)


def make_form_token() -> str:
    """Make a token for the forms of a browser without a session."""
    return secrets.token_urlsafe(24)


def make_csrf_token(service_secret: ServiceSecret, token: str) -> str:
    """Make what each form sends back, bound to the token in the cookie."""
    return service_secret.hash(_PURPOSE, token)


def is_csrf_token(service_secret: ServiceSecret, token: str, given: str) -> bool:
    """Whether a form was shown in the browser that has this token in its cookie."""
    expected = make_csrf_token(service_secret, token)
    return bool(token) and hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _set(response: Response, request: Request, settings: Settings, name: str, value: str, seconds: int | None) -> None:
    response.set_cookie(
        _name(name, request, settings),
        value,
        max_age=seconds,
        path="/",
        secure=is_secure(request, settings),
        httponly=True,
        samesite="lax",
    )


def _name(name: str, request: Request, settings: Settings) -> str:
    return f"{_HOST_PREFIX}{name}" if is_secure(request, settings) else name
