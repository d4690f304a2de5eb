"""Styles and script of the pages: files of the package, served with a hash in the address.

They are compressed. Pages are not: their length would tell of secrets in them, beside what somebody else put into their
address.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from starlette.responses import Response

from reelport.charts import write_page_stylesheet
from reelport.server.http.request_log import STUDIO_PATH
from reelport.server.studio.visit import Visit, not_found

PATH = f"{STUDIO_PATH}/static"
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q\s*=\s*1(?:\.0*)?\s*)?(?:,|$)", re.IGNORECASE)
"""Finds gzip in an Accept-Encoding that likes nothing better."""


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    compressed: bytes
    media_type: str
    version: str


def address_of(name: str) -> str:
    """Return the address of a file; another content has another one, so browsers may keep it."""
    return f"{PATH}/{name}?v={_load_assets()[name].version}"


async def answer_asset(visit: Visit) -> Response:
    """Answer with a style sheet, script or image."""
    asset = _load_assets().get(visit.request.path_params["name"])
    if asset is None:
        raise not_found()
    is_current = visit.request.query_params.get("v") == asset.version
    headers = {
        "Cache-Control": _FOR_EVER if is_current else "no-cache",
        "Content-Type": asset.media_type,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if _GZIP.search(visit.request.headers.get("accept-encoding", "")):
        return Response(asset.compressed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.content, headers=headers)


@cache
def _load_assets() -> dict[str, _Asset]:
    folder = resources.files("reelport.server.studio").joinpath("static")
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if _suffix(file.name) in _TYPES}
    contents["charts.css"] = write_page_stylesheet().encode()
    return {
        name: _Asset(
            content, gzip.compress(content, mtime=0), _TYPES[_suffix(name)], hashlib.sha256(content).hexdigest()[:12]
        )
        for name, content in contents.items()
    }


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]
