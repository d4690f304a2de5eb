"""The fake vendor: a socket, a thread a connection, keys and tokens, a record of requests."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

from reelport.testing.vendor.behaviour import Behaviour, Body
from reelport.testing.vendor.files import PREFIX, Files
from reelport.testing.vendor.messages import Request, json_reply, read_request, refuse
from reelport.testing.vendor.reports import Reports
from reelport.wire import GRAPHQL_PATH, TOKEN_PATH

_PUBLIC_TOKEN_PATH, _PUBLIC_GRAPHQL_PATH = "/oauth/token", "/"
_PATIENCE = 30.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REELPORT = b"\r\nReelport-Version: 0\r\n"


@dataclass(kw_only=True, eq=False, repr=False)
class Vendor(Behaviour):
    """A fake Reporting API. It answers while the block runs, as its settings say.

    It serves private keys (`/oauth/v1/token`, `/graphql`) and public keys (`/oauth/token`, `/`). It reads an ask's
    input and a status query's token from the variables of the request, and understands no other GraphQL.
    """

    port: int = 0
    """The port to listen on; 0 takes a free one."""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self.key, self.secret = "key-of-the-vendor", f"secret-{secrets.token_hex(16)}"
        self.username, self.password = "owner@example.org", f"password-{secrets.token_hex(8)}"
        self.bearer = f"bearer-{secrets.token_hex(16)}"
        self._grants: list[str] = []
        self._tokens: dict[str, float] = {}
        self._refreshers: set[str] = set()
        self._files = Files(self)
        self._reports = Reports(self, lambda token: self._files.links(self.url, token))
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """The vendor's address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def asks(self) -> list[dict[str, Any]]:
        """The inputs of all accepted asks, including those whose answer was lost."""
        with self._lock:
            return list(self._reports.asks)

    @property
    def tokens(self) -> list[str]:
        """The tokens of the reports, the oldest first."""
        with self._lock:
            return list(self._reports.known)

    @property
    def grants(self) -> list[str]:
        """The grant type of each request for a token."""
        with self._lock:
            return list(self._grants)

    @property
    def asked_ranges(self) -> list[str]:
        """The `Range` of each download that had one."""
        with self._lock:
            return list(self._files.ranges)

    def revoke_tokens(self, *, refresh: bool = False) -> None:
        """Revoke every token except `bearer`; with `refresh` refresh tokens too."""
        with self._lock:
            self._tokens.clear()
            if refresh:
                self._refreshers.clear()

    def expire_links(self) -> None:
        """Expire every link; the next status query gives new ones."""
        with self._lock:
            self._files.given.clear()

    def start(self) -> None:
        """Listen, on the same port as before a `stop`."""
        self._stopping.clear()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), name="vendor", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Close all connections and stop listening; reports and tokens stay."""
        if self._listener is None or self._acceptor is None:
            return
        self._stopping.set()
        with contextlib.suppress(OSError):  # some systems refuse this of a socket that only listens
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        for thread in (self._acceptor, *self._threads):
            thread.join(_PATIENCE)
        self._threads.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._serve, args=(connection,), name="vendor", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # OSError: the client has closed the connection.
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_PATIENCE)
            try:
                request = read_request(connection)
            except ValueError:
                return  # That was no HTTP.
            body = self._answer(request) if request else None
            if body is None:
                return
            if body.delay:
                self._stopping.wait(body.delay)
            connection.sendall(body.raw.replace(b"\r\n", _REELPORT, 1) if self.says_reelport else body.raw)
            if body.stall:
                self._stopping.wait()
            if body.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def _answer(self, request: Request) -> Body | None:
        with self._lock:
            match request.method, request.path:
                case "POST", str(path) if path in {TOKEN_PATH, _PUBLIC_TOKEN_PATH}:
                    return Body(self._grant(request, public=path == _PUBLIC_TOKEN_PATH))
                case "POST", str(path) if path in {GRAPHQL_PATH, _PUBLIC_GRAPHQL_PATH}:
                    before = len(self._reports.asks)
                    answer = self._graphql(request)
                    delay = self.answers_asks_in if len(self._reports.asks) > before else 0.0
                    return None if answer is None else Body(answer, delay=delay)
                case "GET", str(path) if path.startswith(PREFIX):
                    link = self._files.link_of(request)
                    return self._files.answer(request, link, self._reports.known[link.token].wire if link else {})
                case _:
                    return Body(json_reply({"error": "not_found"}, 404))

    def _graphql(self, request: Request) -> bytes | None:
        if self.unavailable > 0:
            self.unavailable -= 1
            return json_reply({"error": "unavailable"}, 503, self._reports.retry_header())
        known = request.bearer == self.bearer or time.monotonic() < self._tokens.get(request.bearer, 0.0)
        if not known:
            sentence = "The token is unknown or has expired."
            if self.token_refusal == "errors":  # noqa: S105 - a word, no secret
                return json_reply(refuse(sentence, "invalid_token"))
            return json_reply({"error": "invalid_token", "error_description": sentence}, 401)
        return self._reports.answer(request.json())

    def _grant(self, request: Request, *, public: bool) -> bytes:
        form = request.form()
        kind = form.get("grant_type", "")
        self._grants.append(kind)
        if (form.get("client_id"), form.get("client_secret")) != (self.key, self.secret):
            return json_reply({"error": "invalid_client", "error_description": "Unknown key."}, 400)
        match kind, public:
            case "client_credentials", False:
                missing = self.lacks & set(form.get("scope", "").split())
                return (
                    json_reply({"error": "invalid_scope"}, 400) if missing else self._new_token(form.get("scope", ""))
                )
            case "password", True if (form.get("username"), form.get("password")) == (self.username, self.password):
                return self._new_token("", refresh=True)
            case "refresh_token", True if form.get("refresh_token", "") in self._refreshers:
                return self._new_token("", refresh=True)
            case (("password" | "refresh_token"), True):
                return json_reply({"error": "invalid_grant", "error_description": "Wrong, used up or expired."}, 400)
            case _:
                return json_reply({"error": "unsupported_grant_type"}, 400)

    def _new_token(self, scope: str, *, refresh: bool = False) -> bytes:
        token = f"token-{secrets.token_hex(16)}"
        life = self.token_life
        self._tokens[token] = time.monotonic() + life
        answer = {"access_token": token, "expires_in": life, "scope": scope, "token_type": "Bearer"}
        if refresh:
            answer["refresh_token"] = f"refresh-{secrets.token_hex(16)}"
            self._refreshers.add(str(answer["refresh_token"]))
        return json_reply(answer)
