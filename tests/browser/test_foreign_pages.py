"""What a page of another site can make a visitor's browser do to Studio: nothing that counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from playwright.sync_api import expect
from tests.browser.studio import OWNER, PASSWORD, Studio
from tests.patience import PATIENCE

from reelport.server.access import keys
from reelport.server.credentials import load_service_secret
from reelport.server.state.database import connected
from reelport.wire import PUBLIC_TOKEN_PATH

pytestmark = pytest.mark.long

VIEW = "/studio/explore?metric=VIEWS&by=VIDEO_ID&by=VISITOR_COUNTRY&from=2026-07-01&to=2026-07-28"
_PAGE = """<!DOCTYPE html><title>Kittens</title>
<script>
const service = "{service}";
const login = new URLSearchParams({{ grant_type: "password", username: "ann@demo.example", password: "guessed",
                                     ...{key} }});
function load(path) {{
  return new Promise(done => {{ const image = new Image(); image.onload = image.onerror = done;
                               image.src = service + path; }});
}}
function frame(path) {{
  return new Promise(done => {{ const frame = document.createElement("iframe"); frame.onload = done;
                               frame.src = service + path; document.documentElement.append(frame); }});
}}
const tries = [...Array(30).keys()].flatMap(number => [
  load(`/studio/shared/rpv_${{number}}`),
  load(`/studio/password/rpl_${{number}}`),
  frame(`/studio/embed/rpv_${{number}}`),
  fetch(service + "{tokens}", {{ method: "POST", mode: "no-cors", body: login }}),
]);
Promise.allSettled(tries).then(ended => document.title = `${{ended.length}} tried`);
</script>"""


@contextmanager
def serve_page(page: str) -> Iterator[str]:
    """Serve a page at `localhost`, which is another site than 127.0.0.1; gives its address."""

    class Kittens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Kittens) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_foreign_page_locks_nobody_out(studio: Studio) -> None:
    """It has its visitor's browser try links and passwords: afterwards that address may try as much as before."""
    url = studio.service.url
    assert "127.0.0.1" in url
    with connected(studio.service.settings) as db:
        secret, now = load_service_secret(studio.service.settings), datetime.now(UTC)
        made = keys.create_key(db, secret, "demo", ["create_reports"], now, kind="public")
    key = {"client_id": made.id, "client_secret": made.secret}
    shown = studio.open("/studio/sign-in")
    with serve_page(_PAGE.format(service=url, tokens=PUBLIC_TOKEN_PATH, key=json.dumps(key))) as kittens:
        shown.goto(kittens)
        shown.wait_for_function("document.title == '120 tried'")
    for path in ("/studio/shared/rpv_x", "/studio/password/rpl_x"):
        assert httpx2.get(url + path, timeout=PATIENCE).status_code == 404
    login = {"grant_type": "password", "username": OWNER, "password": PASSWORD}
    assert httpx2.post(url + PUBLIC_TOKEN_PATH, data=login | key, timeout=PATIENCE).status_code == 200
    shown.set_content(f'<a href="{url}/studio/sign-in">Sign in</a>')
    studio.follow(shown.get_by_role("link", name="Sign in"))
    assert shown.get_by_role("button", name="Sign in").is_visible()


def test_a_page_of_a_named_host_holds_an_embed_and_no_other_does(studio: Studio) -> None:
    """There it is as on Studio's page, light and dark, on a telephone too, with no barrier and no way out."""
    maker = studio.open(VIEW, OWNER)
    maker.locator("#keep > summary").click()
    with serve_page("FRAME") as named, serve_page("FRAME") as other:
        maker.get_by_label("Embed it, called").fill("Our views")
        maker.get_by_label("in pages of").fill(named.removeprefix("http://"))
        studio.follow(maker.get_by_role("button", name="Make the embed"))
        frame = maker.locator("#once").inner_text()
        shown = studio.open("/studio/sign-in")
        shown.context.clear_cookies()
        shown.goto(other)
        with shown.expect_console_message(lambda message: "frame-ancestors" in message.text):
            shown.evaluate("frame => { document.body.innerHTML = frame; }", frame)
        assert shown.frame_locator("iframe").get_by_role("heading", level=1).count() == 0
        studio.complaints.clear()
        shown.goto(named)
        shown.evaluate("frame => { document.body.innerHTML = frame; }", frame)
        inside = shown.frame_locator("iframe")
        expect(inside.get_by_role("heading", level=1)).to_have_text("Our views")
        assert inside.locator(".boards tbody tr").count() > 3
        assert inside.locator("a, button, form, script").count() == 0
        for scheme, width in (("light", 1000), ("dark", 390)):
            shown.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            shown.set_viewport_size({"width": width, "height": 800})
            body = inside.locator("body")
            assert body.evaluate("body => body.scrollWidth <= innerWidth")
            dark = body.evaluate("body => getComputedStyle(body).backgroundColor") != "rgb(255, 255, 255)"
            assert dark == (scheme == "dark")
        assert not studio.complaints
        assert not [each for each in shown.context.cookies() if each["domain"] == "127.0.0.1"]
