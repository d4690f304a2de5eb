"""A device with one passkey, in software: it answers as a browser does, or wrongly in one way."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN = "http://127.0.0.1:8642"
_PRESENT, _VERIFIED, _HAS_KEY = 1, 4, 64


def encode(content: bytes) -> str:
    """Base64 for addresses, without padding."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def find_options(page: str, form: str) -> dict[str, Any]:
    """The options that a page's form of this id gives a browser."""
    found = re.search(rf'<form[^>]* id="{form}"[^>]* data-passkey="([^"]*)"', page)
    assert found, f"{form} is no form for a passkey"
    options: dict[str, Any] = json.loads(html.unescape(found[1]))
    return options


@dataclass
class Device:
    """A key pair and its counter; devices that copy passkeys among each other keep that at 0."""

    origin: str = ORIGIN
    host: str = "127.0.0.1"
    count: int = 0
    user: str = ""
    id: bytes = field(default_factory=lambda: os.urandom(32))
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: dict[str, Any], *, verified: bool = True) -> str:
        """Answer with a new passkey."""
        self.user = options["user"]["id"]
        numbers = self._key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32), numbers.y.to_bytes(32)
        key = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = bytes(16) + len(self.id).to_bytes(2) + self.id + key
        data = self._data(_HAS_KEY, verified=verified) + attested
        client = self._client("webauthn.create", options)
        made = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._write({"clientDataJSON": encode(client), "attestationObject": encode(made)})

    def answer(self, options: dict[str, Any], *, verified: bool = True, kind: str = "webauthn.get") -> str:
        """Answer a challenge."""
        client, data = self._client(kind, options), self._data(0, verified=verified)
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": client, "authenticatorData": data, "signature": signature}
        return self._write({name: encode(each) for name, each in response.items()} | {"userHandle": self.user})

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin}).encode()

    def _data(self, flags: int, *, verified: bool) -> bytes:
        flags |= _PRESENT | (_VERIFIED if verified else 0)
        return hashlib.sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def _write(self, response: dict[str, str]) -> str:
        own = encode(self.id)
        return json.dumps({"id": own, "rawId": own, "type": "public-key", "response": response})
