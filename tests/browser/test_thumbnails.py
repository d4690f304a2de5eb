"""Pictures of videos in a real browser: loaded from the allowed host by TLS, and from no other.

The test has a browser of its own, which can't run beside that of another file's tests.
"""

from __future__ import annotations

import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import expect
from tests import quick_users
from tests.browser.conftest import FIRST_DAY, LAST_DAY, launch_browser
from tests.browser.studio import MEMBER, PASSWORD, WIDE, Studio
from tests.deploy.programs import make_certificate
from tests.sandboxes import sample_channels
from tests.warm_service import Service

from reelport.facts.loading.load import load_arrow
from reelport.server.state.database import connected

pytestmark = pytest.mark.long

ALLOWED, OTHER = "pictures.example", "elsewhere.example"
_PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


class Pictures(ThreadingHTTPServer):
    """Serves one picture for every path of both hosts, and keeps who was asked for what."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Picture)
        self.asked: list[str] = []


class _Picture(BaseHTTPRequestHandler):
    server: Pictures

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.headers['Host']}{self.path}")
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(_PNG)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_pictures(folder: Path) -> Iterator[Pictures]:
    """Serve both hosts by TLS at a port of this machine."""
    chain = make_certificate(folder, ALLOWED, f"DNS:{OTHER}")
    with Pictures() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, folder / "privkey.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_picture_comes_from_the_allowed_host_and_from_no_other(tmp_path: Path) -> None:
    """The browser draws the one; it never asks the other host, not even for a script that would put it in."""
    with (
        Service(tmp_path / "data", workers=0, thumbnail_hosts=ALLOWED) as service,
        serve_pictures(tmp_path) as server,
        launch_browser(f"--host-resolver-rules=MAP *.example 127.0.0.1:{server.server_port}") as browser,
    ):
        service.sample(FIRST_DAY, LAST_DAY, rows=4_000)
        with connected(service.settings) as db:
            quick_users.add_user(db, "demo", MEMBER, "analyst", PASSWORD, datetime.now(UTC))
        page = browser.new_context(ignore_https_errors=True, viewport=WIDE).new_page()
        page.goto(f"{service.url}/studio/overview")
        Studio(service, browser, tmp_path).sign_in(page, MEMBER)
        rows = page.locator(".videos tbody tr")
        videos = [each.inner_text() for each in rows.locator("small").all()[:2]]
        owner = sample_channels()["demo"][0]
        addresses = [f"https://{host}/{video}.png" for host, video in zip((ALLOWED, OTHER), videos, strict=True)]
        table = [
            {"id": video, "owner_channel_id": owner, "title": f"Video {video}", "thumbnail_url": address}
            for video, address in zip(videos, addresses, strict=True)
        ]
        load_arrow(service.settings.facts_root, "videos", pa.Table.from_pylist(table), "pictures")
        page.reload()
        expect(rows.nth(0).locator("img")).to_have_js_property("naturalWidth", 1)
        assert rows.nth(0).locator("img").get_attribute("src") == addresses[0]
        assert rows.nth(1).locator("img").count() == 0
        loaded = """address => new Promise((done) => {
            const image = new Image(); image.onload = () => done(true); image.onerror = () => done(false);
            image.src = address;
        })"""
        assert page.evaluate(loaded, f"{addresses[0]}?again")
        assert not page.evaluate(loaded, addresses[1])
        assert {each.partition("/")[0] for each in server.asked} == {ALLOWED}
