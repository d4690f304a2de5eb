"""The fake vendor's keys and tokens: both kinds of key; tokens that can end."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from reelport.testing.vendor.behaviour import Behaviour
from reelport.testing.vendor.messages import Request, json_reply


@dataclass
class Access:
    """A key, a user, and an endless bearer token. Callers must hold the vendor's lock."""

    behaviour: Behaviour
    key: str = "key-of-the-vendor"
    secret: str = field(default_factory=lambda: f"secret-{secrets.token_hex(16)}", repr=False)
    username: str = "owner@example.org"
    password: str = field(default_factory=lambda: f"password-{secrets.token_hex(8)}", repr=False)
    bearer: str = field(default_factory=lambda: f"bearer-{secrets.token_hex(16)}", repr=False)
    grants: list[str] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict, repr=False)
    refreshers: set[str] = field(default_factory=set, repr=False)

    def allows(self, token: str) -> bool:
        """Whether a bearer token is valid now."""
        return token == self.bearer or time.monotonic() < self.tokens.get(token, 0.0)

    def grant(self, request: Request, *, public: bool) -> bytes:
        """Answer a request for a token."""
        form = request.form()
        kind = form.get("grant_type", "")
        self.grants.append(kind)
        if (form.get("client_id"), form.get("client_secret")) != (self.key, self.secret):
            return json_reply({"error": "invalid_client", "error_description": "Unknown key."}, 400)
        match kind, public:
            case "client_credentials", False:
                missing = self.behaviour.lacks & set(form.get("scope", "").split())
                return (
                    json_reply({"error": "invalid_scope"}, 400) if missing else self._new_token(form.get("scope", ""))
                )
            case "password", True if (form.get("username"), form.get("password")) == (self.username, self.password):
                return self._new_token("", refresh=True)
            case "refresh_token", True if form.get("refresh_token", "") in self.refreshers:
                return self._new_token("", refresh=True)
            case (("password" | "refresh_token"), True):
                return json_reply({"error": "invalid_grant", "error_description": "Wrong, used up or expired."}, 400)
            case _:
                return json_reply({"error": "unsupported_grant_type"}, 400)

    def _new_token(self, scope: str, *, refresh: bool = False) -> bytes:
        token = f"token-{secrets.token_hex(16)}"
        life = self.behaviour.token_life
        self.tokens[token] = time.monotonic() + life
        answer = {"access_token": token, "expires_in": life, "scope": scope, "token_type": "Bearer"}
        if refresh:
            answer["refresh_token"] = f"refresh-{secrets.token_hex(16)}"
            self.refreshers.add(str(answer["refresh_token"]))
        return json_reply(answer)
