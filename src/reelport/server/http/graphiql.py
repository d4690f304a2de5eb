"""GraphiQL: a page for trying documents, for browsers at `GET /graphql`, if it is on.

Its files come from this service alone, and its policy lets it speak with no other. The user types a token.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from reelport.server.http.accept import is_named

GRAPHIQL_PATH = "/graphiql"
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "html": "text/html; charset=utf-8"}
_PAGE = "page.html"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def wants_page(request: Request) -> bool:
    """Whether a browser opens the address: programs don't accept HTML by name."""
    return request.method == "GET" and is_named(request.headers.get("accept", ""), "text/html")


def answer_page() -> Response:
    """Answer with the page."""
    return _answer(_PAGE, _load_files()[_PAGE], "no-store")


async def answer_asset(request: Request) -> Response:
    """Answer with a script or style sheet of the page."""
    name = request.path_params["name"]
    if name == _PAGE or name not in _load_files():
        return Response(status_code=404)
    return _answer(name, _load_files()[name], "no-cache")


def _answer(name: str, content: bytes, caching: str) -> Response:
    headers = {**_HEADERS, "Cache-Control": caching, "Content-Encoding": "gzip"}
    return Response(content, 200, {**headers, "Content-Type": _TYPES[name.rpartition(".")[2]]})


@cache
def _load_files() -> dict[str, bytes]:
    """Read the files, compressed: those of packages are kept so."""
    files = [file for file in resources.files("reelport.server").joinpath("graphiql").iterdir() if file.is_file()]
    found = {file.name: file.read_bytes() for file in files}
    compressed = {name.removesuffix(".gz"): content for name, content in found.items() if name.endswith(".gz")}
    own = {name: gzip.compress(content, mtime=0) for name, content in found.items() if name.startswith("page.")}
    return compressed | own
