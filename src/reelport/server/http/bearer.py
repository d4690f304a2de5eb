"""Finds the caller of a request by its bearer token: one place for GraphQL and `/v1/`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from reelport.server.access import callers
from reelport.server.access.callers import Caller
from reelport.server.http.service import Service

_REALM = 'Bearer realm="reelport"'
_SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class BearerRefusal:
    """Why a request has no caller: sentence, status, `WWW-Authenticate` (RFC 6750)."""

    sentence: str
    status: int
    challenge: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the refusal."""
        return {"WWW-Authenticate": self.challenge}


async def authenticate(service: Service, request: Request) -> Caller | BearerRefusal:
    """Find the caller and note the use of its key. StorageError when the state can't be read."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        # A proxy in between may have checked the other one.
        sentence = f"There are {len(headers)} Authorization headers: send one."
        return BearerRefusal(sentence, 400, f'{_REALM}, error="invalid_request"')
    header = headers[0] if headers else ""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        return BearerRefusal("There is no bearer token: send `Authorization: Bearer …`.", 401, _REALM)
    now = datetime.now(UTC)
    # Limited for each token: else thousands of requests with one token would be looked up before anybody else's.
    async with service.concurrency.turn(token):
        caller = await service.reads.run(callers.identify_caller, service.service_secret, token.strip(), now)
    if caller is None:
        challenge = f'{_REALM}, error="invalid_token", error_description="unknown, expired or revoked"'
        return BearerRefusal("The token is unknown, expired or revoked: ask for a new one.", 401, challenge)
    service.key_uses.note(caller.key_id, now)
    return caller
