"""Caddy, by the example, before a real service: what the service refuses reaches its partner."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import urllib.parse
from pathlib import Path

import pytest
from tests.deploy.programs import find_tool, make_certificate
from tests.patience import PATIENCE, free_port, until
from tests.warm_service import Service

from reelport.wire import GRAPHQL_PATH, TOKEN_PATH

pytestmark = pytest.mark.long

_EXAMPLE = Path(__file__).parents[2] / "deploy" / "caddy" / "Caddyfile"


def test_a_body_that_is_too_large_is_refused_in_the_apis_form(tmp_path: Path) -> None:
    """And not by an error of the proxy, which a client would try again."""
    caddy, certificate, port = find_tool("caddy", "caddy"), make_certificate(tmp_path, "localhost"), free_port()
    with Service(workers=0) as service:
        service.organization("demo")
        key = service.key("demo")
        form = {"grant_type": "client_credentials", "client_id": key.id, "client_secret": key.secret}
        own = f"localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {tmp_path}/privkey.pem"
        text = _EXAMPLE.read_text("utf-8").replace("reports.example.com {", own)
        text = text.replace("127.0.0.1:8642", f"127.0.0.1:{service.settings.port}")
        options = f"{{\n\tadmin off\n\thttp_port {free_port()}\n\tauto_https disable_redirects\n}}\n"
        (tmp_path / "Caddyfile").write_text(options + text)
        words = [caddy, "run", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
        environment = os.environ | {"HOME": str(tmp_path)}
        with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                trusted = ssl.create_default_context(cafile=str(certificate))
                assert until(lambda: _ask(port, trusted, "GET", "/health/live") or process.poll() is not None)
                granted = _ask(port, trusted, "POST", TOKEN_PATH, urllib.parse.urlencode(form).encode())
                assert granted is not None
                bearer = {"Authorization": f"Bearer {json.loads(granted[1])['access_token']}"}
                for size in (1_500_000, 3_000_000):
                    found = _ask(port, trusted, "POST", GRAPHQL_PATH, b"x" * size, **bearer)
                    assert found is not None
                    assert (found[0], b"The body is longer than" in found[1]) == (413, True)
            finally:
                process.terminate()


def _ask(
    port: int, trusted: ssl.SSLContext, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes] | None:
    """Send a request through the proxy; None while it doesn't answer."""
    connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=trusted)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return None
    finally:
        connection.close()
