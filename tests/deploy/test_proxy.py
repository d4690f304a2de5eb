"""nginx, by the example, before a real service: TLS outside, links that lead through it, files whole."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.programs import make_certificate, write_configuration
from tests.patience import PATIENCE, free_port, until
from tests.warm_service import Service

from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH


@dataclass(frozen=True)
class Proxy:
    """Where nginx listens, and what a caller trusts."""

    port: int
    trusted: ssl.SSLContext

    def call(self, path: str, body: bytes | None = None, **headers: str) -> Any:  # noqa: ANN401 - a response
        """Call a path, or an address that begins with one of it."""
        url = path if path.startswith("https://") else f"https://localhost:{self.port}{path}"
        request = urllib.request.Request(url, body, headers)
        return urllib.request.urlopen(request, timeout=PATIENCE, context=self.trusted)


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Service, Proxy]]:
    """A service with sample facts behind nginx, whose links lead to nginx."""
    certificate = make_certificate(tmp_path, "localhost")
    proxy = Proxy(free_port(), ssl.create_default_context(cafile=str(certificate)))
    with Service(public_url=f"https://localhost:{proxy.port}") as service:
        service.sample(date(2026, 9, 1), date(2026, 9, 3), rows=600)
        with running(tmp_path, service.settings.port, proxy):
            yield service, proxy


@contextmanager
def running(folder: Path, upstream: int, proxy: Proxy) -> Iterator[None]:
    """Run nginx with the example, for this machine's name and these ports."""
    ports = {"443 ssl": f"{proxy.port} ssl", "80;": f"{free_port()};"}
    listens = {f"listen {old}": f"listen 127.0.0.1:{new}" for old, new in ports.items()}
    listens |= {f"    listen [::]:{old}": "" for old in ("443 ssl;", "80;")}
    words = write_configuration(folder, "localhost", {**listens, "127.0.0.1:8642": f"127.0.0.1:{upstream}"})
    with subprocess.Popen(words) as process:
        try:
            assert until(lambda: answers(proxy) or process.poll() is not None)
            assert process.poll() is None, (folder / "nginx.log").read_text()
            yield
        finally:
            process.terminate()


def answers(proxy: Proxy) -> bool:
    try:
        return bool(proxy.call("/health/live").status == 200)
    except OSError:
        return False


@pytest.mark.long
def test_a_partner_is_served_through_the_proxy(proxied: tuple[Service, Proxy]) -> None:
    """Token, ask, a status query that waits, and the file by a link that begins with the proxy's address."""
    service, proxy = proxied
    key = service.key("demo")
    form = {"grant_type": "client_credentials", "client_id": key.id, "client_secret": key.secret}
    token = json.load(proxy.call(TOKEN_PATH, urllib.parse.urlencode(form).encode()))["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Prefer": "wait=10"}

    def send(document: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": document, "variables": variables}).encode()
        found: dict[str, Any] = json.load(proxy.call(GRAPHQL_PATH, body, **headers))["data"]
        return found

    query = {"metrics": ["VIEWS"], "dimensions": ["DAY"], "startDate": "2026-09-01", "endDate": "2026-09-02"}
    asked = send(ASK, input=query)["askPartnerReportFile"]["reportFile"]["reportToken"]
    found: dict[str, Any] = {}

    def is_finished() -> bool:
        found.update(send(LOOK, reportToken=asked)["partner"]["reportFile"])
        return bool(found["status"] == "FINISHED")

    assert until(is_finished)
    (edge,) = found["downloadLinks"]["edges"]
    link = edge["node"]["link"]
    assert link.startswith(f"https://localhost:{proxy.port}/files/")
    reply = proxy.call(link)
    body = reply.read()
    assert body.startswith(b"day,views\n2026-09-01,")
    assert (int(reply.headers["Content-Length"]), reply.headers["Reelport-Rows"]) == (len(body), "2")
    assert reply.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert b"reelport_workers 1.0" in proxy.call("/metrics").read()  # from this machine; from others it is refused
