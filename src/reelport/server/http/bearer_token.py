"""Bearer tokens of requests (RFC 6750): whose they are, and which are refused with 401."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import Request

from reelport.server.access import callers
from reelport.server.access.callers import Caller
from reelport.server.http.long_poll import parse_wait
from reelport.server.http.service import Result, Service, wait_for_reports
from reelport.wire import APPLIED_HEADER, PREFER_HEADER

_REALM = 'Bearer realm="reelport"'
_SCHEME = "bearer"


class BearerRefused(Exception):
    """A request has no caller: sentence, status, `WWW-Authenticate` (RFC 6750)."""

    def __init__(self, sentence: str, status: int, challenge: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {"WWW-Authenticate": challenge}


async def authenticate(service: Service, request: Request) -> Caller:
    """Find the caller and note the use of its key; BearerRefused without one.

    StorageError when the state can't be read.
    """
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        # A proxy in between may have checked the other one.
        sentence = f"There are {len(headers)} Authorization headers: send one."
        raise BearerRefused(sentence, 400, f'{_REALM}, error="invalid_request"')
    header = headers[0] if headers else ""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise BearerRefused("There is no bearer token: send `Authorization: Bearer …`.", 401, _REALM)
    now = datetime.now(UTC)
    # Limited for each token: else thousands of requests with one token would be looked up before anybody else's.
    async with service.concurrency.turn(token):
        caller = await service.read(callers.identify_caller, service.service_secret, token.strip(), now)
    if caller is None:
        challenge = f'{_REALM}, error="invalid_token", error_description="unknown, expired or revoked"'
        raise BearerRefused("The token is unknown, expired or revoked: ask for a new one.", 401, challenge)
    service.key_uses.note(caller.key_id, now)
    return caller


async def answer_or_wait(
    request: Request,
    caller: Caller,
    answer: Callable[[Caller], Awaitable[Result]],
    find_unfinished: Callable[[Result], frozenset[str]],
) -> tuple[Result, dict[str, str]]:
    """Answer now; with `Prefer: wait` again, once a report that was unfinished has ended.

    The headers say that it waited. BearerRefused if the token is not valid any more by then.
    """
    service: Service = request.app.state.service
    answered = await answer(caller)
    seconds = parse_wait(request.headers.getlist(PREFER_HEADER), service.settings.look_seconds)
    seen = find_unfinished(answered) if seconds else frozenset[str]()
    if not seen:
        return answered, {}
    if not (await wait_for_reports(service, request, caller.organization_id, seen, seconds)).needs_new_answer:
        return answered, {}
    # Authenticate again: the key may have been revoked, or may have lost a channel, during the long poll.
    return await answer(await authenticate(service, request)), {APPLIED_HEADER: f"wait={seconds}"}
