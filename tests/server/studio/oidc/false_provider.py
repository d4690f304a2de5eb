"""A provider of OpenID Connect that tests make lie: it is right until a test replaces an answer or a claim."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwk, jws, jwt

CLIENT, SECRET = "reelport", "the secret of this client, as long as one"
_REGISTRY = jws.JWSRegistry(algorithms=["HS256", "RS256"])


@dataclass
class FalseProvider:
    """Answers on a port of its own. `answers` replaces what a path answers: status and body."""

    url: str = ""
    key: jwk.RSAKey = field(default_factory=lambda: jwk.RSAKey.generate_key(2048, {"kid": "first"}))
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    described: dict[str, object] = field(default_factory=dict)
    """What its description says otherwise."""
    endless: set[str] = field(default_factory=set)
    """Paths at which it announces an answer again and again, until the caller has enough."""
    people: dict[str, dict[str, object]] = field(default_factory=dict)
    """What it tells at `/me`, by subject."""
    lies: dict[str, object] = field(default_factory=dict)
    """Claims of identities that are replaced; those of None are left out."""
    header: dict[str, str] = field(default_factory=dict)
    checks_verifier: bool = True
    is_signing: bool = True
    token: str | None = None
    """An identity that is given instead of a signed one."""
    signer: jwk.RSAKey | jwk.OctKey | None = None
    _codes: dict[str, tuple[str, dict[str, list[str]]]] = field(default_factory=dict)

    def authorize(self, location: str, subject: str) -> str:
        """Sign somebody in for the request that a browser was sent with: the code for its answer."""
        code = secrets.token_urlsafe(8)
        self._codes[code] = subject, parse_qs(urlsplit(location).query)
        return code

    def honest(self) -> None:
        """Tell the truth again."""
        for replaced in (self.answers, self.described, self.endless, self.lies, self.header):
            replaced.clear()
        self.checks_verifier, self.is_signing, self.token, self.signer = True, True, None, None

    def answer(self, path: str, form: Mapping[str, list[str]], authorization: str) -> tuple[int, bytes]:
        """The answer to a request."""
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps(self._describe()).encode()
            case "/jwks":
                return 200, json.dumps({"keys": [{**self.key.as_dict(private=False), "use": "sig"}]}).encode()
            case "/token":
                return self._grant(form, authorization)
            case "/me":
                return 200, json.dumps(self.people[authorization.removeprefix("Bearer ")]).encode()
        return 404, b"{}"

    def _describe(self) -> dict[str, object]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/me",
            "jwks_uri": f"{self.url}/jwks",
            "scopes_supported": ["openid", "email", "groups"],
            "authorization_response_iss_parameter_supported": True,
            **self.described,
        }

    def _grant(self, form: Mapping[str, list[str]], authorization: str) -> tuple[int, bytes]:
        basic = base64.b64encode(f"{CLIENT}:{SECRET.replace(' ', '+').replace(',', '%2C')}".encode()).decode()
        subject, asked = self._codes.pop(form["code"][0], ("", {}))
        challenge = _encode(hashlib.sha256(form["code_verifier"][0].encode()).digest())
        is_verified = asked.get("code_challenge") == [challenge] or not self.checks_verifier
        if not subject or not is_verified or authorization != f"Basic {basic}":
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        true = {"iss": self.url, "sub": subject, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": asked["nonce"][0]}
        claims = {name: value for name, value in {**true, **self.lies}.items() if value is not None}
        token = self.sign(claims) if self.token is None else self.token
        return 200, json.dumps({"access_token": subject, "token_type": "Bearer", "id_token": token}).encode()

    def sign(self, claims: dict[str, Any]) -> str:
        """Sign claims, by the provider's key unless a test has another."""
        header = {"alg": "RS256", "kid": "first", **self.header}
        if not self.is_signing:
            return ".".join([*(_encode(json.dumps(part).encode()) for part in (header, claims)), ""])
        return jwt.encode(header, claims, self.signer or self.key, registry=_REGISTRY)


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def serve_provider() -> Iterator[FalseProvider]:
    """Serve one during the block."""
    provider = FalseProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("content-length", 0))
            form = parse_qs(self.rfile.read(size).decode())
            while self.path in provider.endless:
                try:
                    self.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                except ConnectionError:
                    return
                time.sleep(0.05)
            status, body = provider.answer(self.path, form, self.headers.get("authorization", ""))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the same

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield provider
        server.shutdown()
        thread.join()
