"""What programs read first: descriptions of the API, and where tokens are to be had.

Nobody has to authenticate for it: it says nothing that isn't public with the package.
"""

from __future__ import annotations

import json
from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.graphql.resolvers import build_sdl
from reelport.server.http.openapi import build_openapi
from reelport.server.http.service import Service
from reelport.wire import TOKEN_PATH

_HEADERS = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}


async def answer_openapi(_: Request) -> Response:
    """Answer with the description of the API (OpenAPI 3.1)."""
    return Response(_write_openapi(), 200, _HEADERS, media_type="application/json")


async def answer_sdl(_: Request) -> Response:
    """Answer with the schema of GraphQL as SDL."""
    return Response(build_sdl(), 200, _HEADERS, media_type="text/plain")


async def answer_oauth_server(request: Request) -> Response:
    """Answer with the metadata (RFC 8414) of how private keys get tokens."""
    service: Service = request.app.state.service
    issuer = service.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    metadata = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}{TOKEN_PATH}",
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": list(REPORT_SCOPES),
    }
    return Response(json.dumps(metadata), 200, _HEADERS, media_type="application/json")


@cache
def _write_openapi() -> bytes:
    return json.dumps(build_openapi(), separators=(",", ":")).encode()
