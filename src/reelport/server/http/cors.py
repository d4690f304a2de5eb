"""What pages of other origins may do with the API from a browser (CORS)."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from reelport.server.http.openapi import OAUTH_PATH, OPENAPI_PATH, SDL_PATH, list_answer_headers
from reelport.server.http.problems import is_below_v1
from reelport.wire import (
    FILES_PATH,
    GRAPHQL_PATH,
    PREFER_HEADER,
    PUBLIC_GRAPHQL_PATH,
    PUBLIC_TOKEN_PATH,
    TOKEN_PATH,
)

_PATHS = frozenset(
    {TOKEN_PATH, PUBLIC_TOKEN_PATH, GRAPHQL_PATH, PUBLIC_GRAPHQL_PATH, OPENAPI_PATH, SDL_PATH, OAUTH_PATH}
)
_HEADERS = ("Authorization", "Content-Type", PREFER_HEADER, "Range", "If-Range", "If-Match", "If-None-Match")
_PREFLIGHT_SECONDS = 600


class ApiCors:
    """Lets pages of named origins use the API from a browser (CORS), but never Studio."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app = app
        self._cors = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=_HEADERS,
            expose_headers=(*list_answer_headers(), "Content-Disposition", "Accept-Ranges"),
            max_age=_PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; what isn't of the API as it is."""
        path = scope["path"] if scope["type"] == "http" else ""
        is_api = path in _PATHS or path.startswith(f"{FILES_PATH}/") or is_below_v1(path)
        await (self._cors if is_api else self._app)(scope, receive, send)
