"""Minimal HTTP by hand: read requests from a socket, format answers as bytes."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names are in lower case."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def form(self) -> dict[str, str]:
        """Parse the body as a form."""
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}

    def json(self) -> dict[str, Any]:
        """Parse the body as a JSON object; an empty dict where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def bearer(self) -> str:
        """The request's bearer token, or an empty text."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


def read_request(connection: socket.socket) -> Request | None:
    """Read a request from a connection; None when that ends before it is complete."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more or len(data) > _LARGEST:
            return None
        data += more
    start, _, body = data.partition(b"\r\n\r\n")
    first, *lines = start.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    method, target, _ = first.split(" ", 2)
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    address = urlsplit(target)
    parameters = {name: values[-1] for name, values in parse_qs(address.query).items()}
    return Request(method, address.path, parameters, headers, body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Format the status line and headers of an answer. Each connection carries one answer."""
    lines = [f"{name}: {value}" for name, value in {"connection": "close", **headers}.items()]
    return "\r\n".join([f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *lines, "", ""]).encode("latin-1")


def reply(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Format an answer with a Content-Length."""
    return head(status, {**headers, "content-length": str(len(body))}) + body


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Format an answer with a JSON body."""
    return reply(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


def refuse(message: str, kind: str, path: tuple[str, ...] = (), data: object = None) -> dict[str, Any]:
    """Build a GraphQL answer with one error, in the vendor's minimal form."""
    return {"data": data, "errors": [{"message": message, "type": kind, "path": list(path)}]}
