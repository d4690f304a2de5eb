"""What Google's Lighthouse says of each page of Studio, on a telephone and on a desk.

    .venv/bin/python -m benchmarks.lighthouse
    .venv/bin/python -m benchmarks.lighthouse /studio/explore /studio/keys

It needs Node.js, npm and a Chromium. Goals: performance 95, accessibility 100, best practices 95, and no request to
another host. Performance is of a simulated slow telephone, and of this machine: run it on an idle one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console

from reelport.cli.service_commands.sandbox import EMAIL, make_world
from reelport.server.access.operator_access import allow_platform
from reelport.server.access.roles import Role
from reelport.server.access.users import add_user
from reelport.server.state.database import connected
from reelport.server.studio.pages import NAVIGATION
from reelport.server.studio.rights import RIGHTS, Right
from reelport.server.studio.routes import ROUTES
from reelport.testing import Service

_PROGRAM = ("npx", "--yes", "lighthouse@12.8.2")
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
_GOALS = {"performance": 95, "accessibility": 100, "best-practices": 95}


def judge(url: str, cookie: str, folder: Path, *, is_desktop: bool) -> dict[str, Any]:
    """Return Lighthouse's report on a page that whoever has this cookie sees."""
    (folder / "headers.json").write_text(json.dumps({"Cookie": cookie}))
    command = [
        *_PROGRAM,
        url,
        "--quiet",
        "--output=json",
        f"--only-categories={','.join(_GOALS)}",
        f"--extra-headers={folder / 'headers.json'}",
        f"--chrome-flags={_FLAGS}",
        *(["--preset=desktop"] if is_desktop else []),
    ]
    browser = next(filter(None, map(shutil.which, _BROWSERS)))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ, "CHROME_PATH": browser})
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def list_faults(report: dict[str, Any], host: str) -> Iterator[str]:
    """List what falls short of the goals, with the audits that cost the points, and requests to other hosts."""
    for name, goal in _GOALS.items():
        category = report["categories"][name]
        if category["score"] is None or round(category["score"] * 100) < goal:
            audits = [(each["id"], report["audits"][each["id"]]) for each in category["auditRefs"] if each["weight"]]
            poor = [f"{key} {audit.get('displayValue', '')}".strip() for key, audit in audits if audit["score"] != 1]
            yield f"{name}: {', '.join(poor)}"
    asked = report["audits"]["network-requests"]["details"]["items"]
    yield from (f"foreign: {each['url']}" for each in asked if not each["url"].startswith((host, "data:")))


def sign_in(service: Service, email: str, password: str) -> httpx2.Client:
    """Sign in, and return whom the service knows then."""
    client = httpx2.Client(base_url=service.url, follow_redirects=True)
    token = re.findall(r'name="csrf" value="([^"]*)"', client.get("/studio/sign-in").text)[0]
    client.post("/studio/sign-in", data={"csrf": token, "email": email, "password": password})
    return client


def list_pages(role: Role) -> list[str]:
    """List the pages without a parameter that lead to others: those of the menu, and of an operator's own."""
    menu = [entry.path for entry in NAVIGATION if entry.right in RIGHTS[role]]
    rights = {Right.OPERATE, Right.READ_PLATFORM}
    own = [route.path for route in ROUTES if route.method == "GET" and route.right in rights]
    return [*menu, *(path for path in own if role is Role.OPERATOR and "{" not in path and path not in menu)]


def main() -> None:
    """Print a line for each page; exit with status 1 when one falls short."""
    short = False
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "service") as service:
        world = make_world(Console(stderr=True), service)
        owner = sign_in(service, EMAIL, world.password)
        with connected(service.settings) as db:
            add_user(db, None, "operator@example.com", Role.OPERATOR, world.password, datetime.now(UTC))
            allow_platform(db, "operator@example.com", Role.OWNER)
        operator = sign_in(service, "operator@example.com", world.password)
        things = dict(re.findall(r'href="(/studio/(videos|countries)/[^"]*)"', owner.get("/studio/overview").text))
        pages = [(owner, path) for path in sys.argv[1:]] or [
            *((owner, path) for path in list_pages(Role.OWNER)),
            *((owner, unescape(path)) for path in {kind: path for path, kind in things.items()}.values()),
            *((operator, path) for path in list_pages(Role.OPERATOR)),
        ]
        for client, path in pages:
            url = str(client.get(path).url)  # A redirect would lose the cookie.
            cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
            for is_desktop in (False, True):
                report = judge(url, cookie, Path(folder), is_desktop=is_desktop)
                if report["finalDisplayedUrl"] != url:
                    sys.exit(f"{url} led to {report['finalDisplayedUrl']}")
                scores = [round((report["categories"][name]["score"] or 0) * 100) for name in _GOALS]
                faults = list(list_faults(report, service.url))
                short |= bool(faults)
                told = f"{path.partition('?')[0]}, {'desk' if is_desktop else 'telephone'}"
                print(f"{told:45}", *(f"{score:4}" for score in scores), *faults, flush=True)
    sys.exit(short)


if __name__ == "__main__":
    main()
