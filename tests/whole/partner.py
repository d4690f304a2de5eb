"""A partner's program in its smallest form: it asks, looks and fetches over a real socket."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from tests.patience import PATIENCE

from reelport.testing import Key, Service
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH


class Refused(Exception):
    """The service answered with errors."""


@dataclass
class Partner:
    """One key and its token against one service."""

    service: Service
    key: Key
    token: str = ""
    renewed_at: float = 0.0

    def ask(self, **query: object) -> str:
        """Ask for a report; its token."""
        asked = {
            "metrics": ["VIEWS"],
            "dimensions": ["DAY"],
            "startDate": "2026-01-01",
            "endDate": "2026-01-02",
            **query,
        }
        data = self._graphql(ASK, input=asked)
        token: str = data["askPartnerReportFile"]["reportFile"]["reportToken"]
        return token

    def look(self, token: str) -> dict[str, Any]:
        """What the service says of a report."""
        found: dict[str, Any] = self._graphql(LOOK, reportToken=token)["partner"]["reportFile"]
        return found

    def wait(self, token: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """The same, once the report is at its end."""
        until = time.monotonic() + seconds
        while (found := self.look(token))["status"] == "IN_PROGRESS":
            assert time.monotonic() < until, self.service.log
            time.sleep(0.05)
        return found

    def fetch(self, token: str) -> bytes:
        """The bytes of a finished report."""
        found = self.wait(token)
        assert found["status"] == "FINISHED", self.service.log
        (edge,) = found["downloadLinks"]["edges"]
        with urllib.request.urlopen(edge["node"]["link"], timeout=PATIENCE) as reply:
            body: bytes = reply.read()
        return body

    def _graphql(self, document: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": document, "variables": variables}).encode()
        reply = None
        while reply is None:
            if time.monotonic() >= self.renewed_at:
                self.token = self._new_token()
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            try:
                reply = _post(self.service.url + GRAPHQL_PATH, body, headers)
            except HTTPError as error:
                # On a busy machine the token of a request may have ended on its way.
                if error.code != 401 or time.monotonic() < self.renewed_at:
                    raise
        if "errors" in reply:
            raise Refused(reply)
        data: dict[str, Any] = reply["data"]
        return data

    def _new_token(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.key.id,
            "client_secret": self.key.secret,
            "scope": "create_reports manage_reports",
        }
        began = time.monotonic()
        reply = _post(self.service.url + TOKEN_PATH, urllib.parse.urlencode(form).encode(), {})
        # Half of its life is left for a request on its way.
        self.renewed_at = began + reply["expires_in"] / 2
        token: str = reply["access_token"]
        return token


def _post(url: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=PATIENCE) as reply:
        found: dict[str, Any] = json.load(reply)
        return found
