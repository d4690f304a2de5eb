"""Renders pages, with their security headers; serves styles and script.

Files have a hash in their address, and are compressed. Pages are not: their length would tell of secrets in them,
beside what somebody else put into their address.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import Any

import anyio.to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from reelport.catalog.labels import label_names
from reelport.charts import write_page_stylesheet
from reelport.server.http.request_log import STUDIO_PATH
from reelport.server.http.service import run_while_connected
from reelport.server.studio.rights import Right
from reelport.server.studio.visit import Visit, not_found
from reelport.wording import format_size

ROOT = STUDIO_PATH
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
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
    NavigationEntry(f"{ROOT}/explore", "Explore", Right.READ_NUMBERS),
    NavigationEntry(f"{ROOT}/reports", "Reports", Right.READ_NUMBERS),
    NavigationEntry(f"{ROOT}/saved", "Saved", Right.READ_NUMBERS),
    NavigationEntry(f"{ROOT}/shared", "Shared", Right.SHARE_VIEWS),
    NavigationEntry(f"{ROOT}/keys", "Keys", Right.MANAGE_KEYS),
    NavigationEntry(f"{ROOT}/operator", "Platform", Right.OPERATE),
    NavigationEntry(f"{ROOT}/people", "People", Right.MANAGE_PEOPLE),
    NavigationEntry(f"{ROOT}/audit", "Audit log", Right.READ_AUDIT_LOG),
    NavigationEntry(f"{ROOT}/account", "Account", Right.STAY),
)


def render(visit: Visit, template: str, status: int = 200, **values: object) -> Response:
    """Render a template as the answer to a visit."""
    menu = [entry for entry in NAVIGATION if visit.may(entry.right)]
    known = {"visit": visit, "session": visit.session, "csrf": visit.csrf, "menu": menu, "path": visit.request.url.path}
    text = _load_templates().get_template(template).render(**known, **values)
    return HTMLResponse(text, status, HEADERS)


async def write_page(visit: Visit, organization_id: Hashable, write: Callable[[], Response]) -> Response:
    """Call `write` in a thread at this organization's turn, while the browser waits.

    Few large pages are written at a time: all share one core with the event loop, which answers others meanwhile.
    """
    service = visit.service

    async def write_in_turn() -> Response:
        async with service.page_turns.turn(organization_id):
            return await anyio.to_thread.run_sync(write, limiter=service.page_writers)

    return await run_while_connected(visit.request, write_in_turn)


def redirect(path: str) -> Response:
    """Send the browser to another page of ours, by GET."""
    return RedirectResponse(path, 303, HEADERS)


def find_first_page(visit: Visit) -> str:
    """Return the path of the first page that the visitor may open."""
    return next((entry.path for entry in NAVIGATION if visit.may(entry.right)), f"{ROOT}/account")


@cache
def _load_templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("reelport.server.studio"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    environment.globals |= {"asset": address_of, "root": ROOT, "Right": Right}
    return environment


def format_whole(value: float) -> str:
    """Write a whole number with thin spaces between thousands: 12 345."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def format_day(day: date) -> str:
    """Write a day: 4 July 2026."""
    return f"{day.day} {day:%B %Y}"


def format_moment(moment: datetime) -> str:
    """Write a time to the minute, in UTC: 4 July 2026, 12:30 UTC."""
    return f"{format_day(moment)}, {moment:%H:%M} UTC"


def format_second(moment: datetime) -> str:
    """Write a time to the second, for logs; UTC: 2026-07-04 12:30:05."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


# What stands in a browser's text, and its name: the first that is found counts, as most name others too.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_LONGEST_BROWSER = 60


def describe_browser(agent: str) -> str:
    """Name browser and system, as `Firefox on Linux`; else what it calls itself, cut short."""
    name = next((name for sign, name in _BROWSERS if sign in agent), None)
    system = next((name for sign, name in _SYSTEMS if sign in agent), None)
    if name is None:
        return agent[:_LONGEST_BROWSER] or "unknown"
    return f"{name} on {system}" if system else name


_FILTERS: Mapping[str, Any] = {
    "whole": format_whole,
    "day": format_day,
    "moment": format_moment,
    "second": format_second,
    "browser": describe_browser,
    "bytes": format_size,
    "labelled": label_names,
}


_STATIC = f"{STUDIO_PATH}/static"
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
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
