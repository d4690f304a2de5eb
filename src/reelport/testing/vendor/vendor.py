"""The fake vendor: a socket, a thread for each connection, keys, tokens, and its reports.

Its reports are asked for and looked at, or lost, refused and failed on purpose.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from reelport.errors import QueryRefused
from reelport.query import ReportQuery
from reelport.report_details import EXTENSION, ReportDetails, State
from reelport.testing.vendor.behaviour import Behaviour, Body, Wire
from reelport.testing.vendor.files import PREFIX, Files
from reelport.testing.vendor.messages import Request, json_reply, read_request, refuse, reply
from reelport.wire import GRAPHQL_PATH, TOKEN_PATH

_PUBLIC_TOKEN_PATH, _PUBLIC_GRAPHQL_PATH = "/oauth/token", "/"
_PATIENCE = 30.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REELPORT = b"\r\nReelport-Version: 0\r\n"

_UNFINISHED, _FINISHED, _FAILED, _EXPIRED = "unfinished", "FINISHED", "FAILED", "EXPIRED"
_ASK, _LOOK = "askPartnerReportFile", "reportFile"
_ODD = "That is no AskPartnerReportFileInput: metrics, dimensions, startDate and endDate are needed."
_PAGE = b"<!DOCTYPE html><title>Be right back</title>"
_INLINE = re.compile(r'reportToken\s*:\s*"([^"]+)"')

_NUMBERS = re.compile(r"downloadLinks\s*\(([^)]*)\)")


@dataclass
class Report:
    """One accepted report."""

    token: str
    wire: Wire
    fails: bool
    asked: float = field(default_factory=time.monotonic)
    looks: int = 0
    state: str = _UNFINISHED


def _find_page(document: str, variables: Mapping[str, Any], size: int | None) -> tuple[int, int | None]:
    """Find the page asked for, from 1, and its size, inline or in variables."""
    written = _NUMBERS.search(document)
    inline = dict(re.findall(r"(first|page)\s*:\s*(\d+)", written[1] if written else ""))
    first, number = (variables.get(name) or inline.get(name) for name in ("first", "page"))
    return max(1, int(number or 1)), int(first) if first else size


def _make_connection(links: Sequence[str], number: int, size: int | None, lost: int) -> dict[str, Any]:
    """Make the GraphQL connection of a page of links; `totalCount` is too high by `lost`."""
    size = size or max(1, len(links))
    begin = (number - 1) * size
    more = begin + size < len(links)
    return {
        "edges": [{"node": {"link": link}} for link in links[begin : begin + size]],
        "pageInfo": {"hasNextPage": more, "hasPreviousPage": number > 1, "nextPage": number + 1 if more else None},
        "totalCount": len(links) + lost if links else 0,
    }


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
        self._tokens: dict[str, float] = {}
        self._refreshers: set[str] = set()
        self._files = Files(self)
        self._reports: dict[str, Report] = {}
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """The vendor's address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tokens(self) -> list[str]:
        """The tokens of the reports, the oldest first."""
        with self._lock:
            return list(self._reports)

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
                    before = len(self.asks)
                    answer = self._graphql(request)
                    delay = self.answers_asks_in if len(self.asks) > before else 0.0
                    return None if answer is None else Body(answer, delay=delay)
                case "GET", str(path) if path.startswith(PREFIX):
                    link = self._files.link_of(request)
                    return self._files.answer(request, link, self._reports[link.token].wire if link else {})
                case _:
                    return Body(json_reply({"error": "not_found"}, 404))

    def _graphql(self, request: Request) -> bytes | None:
        if self.unavailable > 0:
            self.unavailable -= 1
            return json_reply({"error": "unavailable"}, 503, self._retry_header())
        known = request.bearer == self.bearer or time.monotonic() < self._tokens.get(request.bearer, 0.0)
        if not known:
            sentence = "The token is unknown or has expired."
            if self.token_refusal == "errors":  # noqa: S105 - a word, no secret
                return json_reply(refuse(sentence, "invalid_token"))
            return json_reply({"error": "invalid_token", "error_description": sentence}, 401)
        return self._answer_document(request.json())

    def _grant(self, request: Request, *, public: bool) -> bytes:
        form = request.form()
        kind = form.get("grant_type", "")
        self.grants.append(kind)
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

    def _answer_document(self, body: dict[str, Any]) -> bytes | None:
        """Answer a GraphQL request; None closes the connection."""
        document, variables = str(body.get("query", "")), body.get("variables")
        variables = variables if isinstance(variables, dict) else {}
        if _ASK in document:
            wires = [value for value in variables.values() if isinstance(value, dict) and "metrics" in value]
            if not wires:
                return json_reply(refuse("Give the input as a variable.", "bad_request", (_ASK,)))
            try:
                ReportQuery.from_wire(wires[0])
            except (QueryRefused, KeyError, TypeError, AttributeError):
                return json_reply(refuse(_ODD, "bad_request", (_ASK,)))
            return self._ask(wires[0])
        if _LOOK in document:
            inline = _INLINE.search(document)
            tokens = [inline[1]] if inline else [value for value in variables.values() if isinstance(value, str)]
            token = tokens[0] if tokens else ""
            found = self._answer_look(token, *_find_page(document, variables, self.links_a_page))
            return json_reply({"data": {"partner": {_LOOK: found}}, **self._tell_failure(token, found)})
        return json_reply({"data": {"__typename": "Mutation" if "mutation" in document else "Query"}})

    def _count_unfinished(self) -> int:
        return sum(self._current_state(report) == _UNFINISHED for report in self._reports.values())

    def _ask(self, wire: dict[str, Any]) -> bytes | None:
        lost = self._lose_answer()
        if lost == "before":
            return self._no_answer()
        answer = self._refusal(wire) or self._take_ask(wire)
        return self._no_answer() if lost else answer

    def _no_answer(self) -> bytes | None:
        match self.lost_answer:
            case "500":
                return json_reply({"error": "internal"}, 500)
            case "html":
                return reply(200, _PAGE, {"content-type": "text/html"})
            case "empty":
                return reply(200, b"", {})
            case _:
                return None

    def _lose_answer(self) -> str | None:
        if self.loses_ask is None or self.loses_times <= 0:
            return None
        self.loses_times -= 1
        return self.loses_ask

    def _refusal(self, wire: dict[str, Any]) -> bytes | None:
        sentence = self.refuses(wire)
        if sentence is None and (days := ReportQuery.from_wire(wire).days) > self.longest:
            sentence = f"The period of {days} days is longer than {self.longest}."
        if sentence is not None:
            self.refused_queries += 1
            return json_reply(refuse(sentence, "bad_request", (_ASK,), {_ASK: None}))
        if not self._is_crowded(wire):
            return None
        self.refused += 1
        sentence = "Too many reports are being generated."
        if self.refusal == "429":
            return json_reply({"error": {"message": sentence}}, 429, self._retry_header())
        return json_reply(refuse(sentence, "bad_request", (_ASK,), {_ASK: None}))

    def _is_crowded(self, wire: dict[str, Any]) -> bool:
        every = self.refuses_every
        if every is not None and (len(self.asks) + self.refused + 1) % every == 0:
            return True
        crowded = self._count_unfinished() + self.outside >= self.running
        return crowded and self._find_same(wire) is None

    def _retry_header(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}

    def _take_ask(self, wire: dict[str, Any]) -> bytes:
        self.asks.append(wire)
        report = self._find_same(wire)
        if report is None:
            report = Report(f"report-{secrets.token_hex(8)}", wire, self._is_failing(wire))
            self._reports[report.token] = report
            self.peak = max(self.peak, self._count_unfinished())
        found = {_LOOK: {"reportToken": report.token, "status": self.status_words[0]}}
        return json_reply({"data": {_ASK: found}})

    def _find_same(self, wire: dict[str, Any]) -> Report | None:
        living = (
            one
            for one in self._reports.values()
            if one.wire == wire and self._current_state(one) in {_UNFINISHED, _FINISHED}
        )
        return next(living, None) if self.dedups else None

    def _is_failing(self, wire: dict[str, Any]) -> bool:
        match self.fails:
            case int(left):
                self.fails = max(0, left - 1)
                return left > 0
            case which:
                return which(wire)

    def _answer_look(self, token: str, page: int, size: int | None) -> dict[str, Any] | None:
        self.looks += 1
        report = self._reports.get(token)
        if report is None:
            return None
        state = self._current_state(report)
        report.looks += 1
        if state == _EXPIRED and self.forgets:
            return None
        if state == _UNFINISHED:
            words = self.status_words
            state = words[min(report.looks, len(words)) - 1]
        links = self._files.links(self.url, token) if state == _FINISHED else []
        connection = _make_connection(links, page, size, self.links_lost)
        return {"status": state, "downloadLinks": connection if links or not self.null_links else None}

    def _tell_failure(self, token: str, found: Mapping[str, Any] | None) -> dict[str, Any]:
        if self.failure is None or found is None or found["status"] != _FAILED:
            return {}
        details = ReportDetails(token, State.FAILED, failure=self.failure)
        return {"extensions": {EXTENSION: {"reports": [details.to_json()]}}}

    def _current_state(self, report: Report) -> str:
        age = time.monotonic() - report.asked
        expires = self.expires_after
        made = age >= self.makes_in and report.looks >= self.makes_after_looks
        if report.state == _UNFINISHED and made:
            report.state = _FAILED if report.fails else _FINISHED
        if report.state == _FINISHED and expires is not None and age >= expires:
            report.state = _EXPIRED
        return report.state
