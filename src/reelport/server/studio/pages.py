"""Renders pages, with their security headers; serves styles and script.

Files have a hash in their address, and are compressed. Pages are not: their length would tell of secrets in them,
beside what somebody else put into their address.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import TypeVar

import anyio.to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from reelport.charts.svg import write_page_stylesheet
from reelport.language import N_, _, current_language
from reelport.server.http.request_log import STUDIO_PATH
from reelport.server.studio.formats import FILTERS, format_whole
from reelport.server.studio.rights import Right
from reelport.server.studio.visit import Visit, not_found

ROOT = STUDIO_PATH
Written = TypeVar("Written")


def write_policy(hosts: Sequence[str] = ()) -> str:
    """Write the content security policy of a page that may load pictures from these hosts."""
    images = " ".join(["'self'", *(f"https://{host}" for host in hosts)])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


HEADERS = {
    "Content-Security-Policy": write_policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send `Origin: null` with the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """An entry of the menu: where it leads, its words, and the right that the page needs."""

    path: str
    label: str
    right: Right


# The menu, in its order; the first that a role may open is its first page after signing in.
NAVIGATION: tuple[NavigationEntry, ...] = (
    NavigationEntry(f"{ROOT}/overview", N_("Overview"), Right.READ_NUMBERS),
    NavigationEntry(f"{ROOT}/explore", N_("Explore"), Right.READ_NUMBERS),
    NavigationEntry(f"{ROOT}/reports", N_("Reports"), Right.READ_NUMBERS),
    NavigationEntry(f"{ROOT}/saved", N_("Saved"), Right.READ_NUMBERS),
    NavigationEntry(f"{ROOT}/shared", N_("Shared"), Right.SHARE_VIEWS),
    NavigationEntry(f"{ROOT}/keys", N_("Keys"), Right.MANAGE_KEYS),
    NavigationEntry(f"{ROOT}/operator", N_("Platform"), Right.OPERATE),
    NavigationEntry(f"{ROOT}/people", N_("People"), Right.MANAGE_PEOPLE),
    NavigationEntry(f"{ROOT}/audit", N_("Audit log"), Right.READ_AUDIT_LOG),
    NavigationEntry(f"{ROOT}/account", N_("Account"), Right.STAY),
)


def render(visit: Visit, template: str, status: int = 200, **values: object) -> Response:
    """Render a template as the answer to a visit."""
    menu = [entry for entry in NAVIGATION if visit.may(entry.right)]
    known = {
        "visit": visit,
        "language": current_language().code,
        "session": visit.session,
        "csrf": visit.csrf,
        "menu": menu,
        "path": visit.request.url.path,
    }
    text = load_templates().get_template(template).render(**known, **values)
    # Pages of anybody who has a link show no pictures.
    hosts = visit.service.settings.picture_hosts if visit.session else ()
    return HTMLResponse(text, status, {**HEADERS, "Content-Security-Policy": write_policy(hosts)})


# As it is written: a browser finds no other host, no port and no user in it, whatever it mends in addresses.
_PICTURE = re.compile(r"https://([a-z0-9.-]+)/[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{0,2000}")


def find_picture(address: str | None, hosts: Sequence[str]) -> str | None:
    """Return the address of a picture that pages may load from these hosts; None for any other."""
    found = _PICTURE.fullmatch(address or "")
    return found[0] if found and found[1] in hosts else None


async def write_page(visit: Visit, organization_id: Hashable, write: Callable[[], Written]) -> Written:
    """Call `write` in a thread at this organization's turn.

    Few large pages are written at a time: all share one core with the event loop, which answers others meanwhile.
    """
    async with visit.service.page_turns.turn(organization_id):
        return await anyio.to_thread.run_sync(write, limiter=visit.service.page_writers)


def redirect(path: str) -> Response:
    """Send the browser to another page of ours, by GET."""
    return RedirectResponse(path, 303, HEADERS)


def find_first_page(visit: Visit) -> str:
    """Return the path of the first page that the visitor may open."""
    return next((entry.path for entry in NAVIGATION if visit.may(entry.right)), f"{ROOT}/account")


@cache
def load_templates() -> Environment:
    """Load the templates, with their filters and what they may call."""
    environment = Environment(
        loader=PackageLoader("reelport.server.studio"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {"_": _translate, "ngettext": _count, "asset": address_of, "root": ROOT, "Right": Right}
    environment.globals["find_picture"] = find_picture
    return environment


def _translate(text: str, **values: object) -> str:
    """Translate a template's own text, whose tags are markup; values are escaped."""
    return Markup(_(text)) % values if values else Markup(_(text))  # noqa: S704 - a template's literal


def _count(one: str, many: str, n: int, **values: object) -> str:
    return Markup(current_language().texts.ngettext(one, many, n)) % {"n": format_whole(n), **values}  # noqa: S704


_STATIC = f"{STUDIO_PATH}/static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"
# Finds gzip in an Accept-Encoding that likes nothing better.
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q\s*=\s*1(?:\.0*)?\s*)?(?:,|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    compressed: bytes
    media_type: str
    version: str


def address_of(name: str) -> str:
    """Return the address of a file; another content has another one, so browsers may keep it."""
    return f"{_STATIC}/{name}?v={_load_assets()[name].version}"


async def answer_asset(visit: Visit) -> Response:
    """Answer with a style sheet, script or image."""
    asset = _load_assets().get(visit.named("name"))
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
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if PurePath(file.name).suffix in _TYPES}
    contents["charts.css"] = write_page_stylesheet().encode()
    assets = {}
    for name, content in contents.items():
        kind, version = _TYPES[PurePath(name).suffix], hashlib.sha256(content).hexdigest()[:12]
        assets[name] = _Asset(content, gzip.compress(content, mtime=0), kind, version)
    return assets
