"""One real service for all tests of the wire, with sample facts and a key that may do everything."""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest
from tests import warm_service
from tests.patience import PATIENCE

from reelport.engine.report_format import Written
from reelport.server.files import report_files
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.state.database import connect
from reelport.testing import Key, Service

TOKEN = "/oauth/v1/token"  # noqa: S105 - a path
GRAPHQL = "/graphql"
INPUT = {"metrics": ["VIEWS"], "dimensions": ["DAY"], "startDate": "2026-01-01", "endDate": "2026-01-02"}
PAYLOAD = "{ reportFile { reportToken } }"
ASK = f"mutation ($input: AskPartnerReportFileInput!) {{ askPartnerReportFile(input: $input) {PAYLOAD} }}"


@dataclass(frozen=True)
class Reply:
    """What came back over the socket."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body, which must be labelled as JSON."""
        assert self.headers["content-type"].startswith("application/json")
        return json.loads(self.body)


@dataclass
class Wire:
    """A service and one key, spoken to by the standard library alone."""

    service: Service
    key: Key
    token: str = ""
    spent: list[str] = field(default_factory=list)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own."""
        place = urllib.parse.urlsplit(self.service.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            got = connection.getresponse()
            return Reply(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def form(self, **changed: str) -> dict[str, str]:
        """The fields that ask for a token."""
        return {
            "grant_type": "client_credentials",
            "client_id": self.key.id,
            "client_secret": self.key.secret,
            "scope": "create_reports",
            **changed,
        }

    def grant(self, **changed: str) -> Reply:
        """Ask for a token by a plain form."""
        body = urllib.parse.urlencode(self.form(**changed)).encode()
        return self.send("POST", TOKEN, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def fresh(self, scope: str = "create_reports manage_reports") -> str:
        """A new token."""
        token: str = self.grant(scope=scope).json["access_token"]
        self.spent.append(token)
        return token

    def post(self, body: object, **headers: str) -> Reply:
        """Post a body, JSON unless it is bytes already, with a token."""
        self.token = self.token or self.fresh()
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        every = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        return self.send("POST", GRAPHQL, sent, every)

    def graphql(self, query: str, variables: object = None, **more: object) -> Any:  # noqa: ANN401 - JSON
        """The answer to a document, which is always 200."""
        reply = self.post({"query": query, "variables": variables, **more})
        assert reply.status == 200, reply.body
        return reply.json


def token_of(answer: Any, alias: str = "askPartnerReportFile") -> str:  # noqa: ANN401 - JSON
    """The report token in the answer to an ask."""
    assert "errors" not in answer, answer
    token: str = answer["data"][alias]["reportFile"]["reportToken"]
    return token


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """A service with a week of sample facts."""
    with warm_service.Service() as running:
        running.sample(date(2026, 1, 1), date(2026, 1, 7), rows=3000)
        yield running


@pytest.fixture(scope="session")
def idle() -> Iterator[Wire]:
    """A service without workers, which holds looks for a minute; what is asked of it waits for the test."""
    with warm_service.Service(workers=0, look_seconds=60) as running:
        running.organization("demo")
        yield Wire(running, running.key("demo"))


def finish(service: Service, body: bytes) -> FileRecord:
    """Be the worker of every report that waits: `body` is the file of each. Gives the last one's."""
    db = connect(service.settings)
    done = []
    while (claim := jobs.claim(db, "test", running=9, lease_seconds=60)) is not None:
        draft = report_files.prepare_draft(service.settings, claim.report_id, claim.attempt)
        draft.write_bytes(body)
        done.append(report_files.publish_draft(service.settings, draft, _written(body)))
        assert jobs.finish(db, claim, done[-1], datetime.now(UTC))
    db.dispose()
    return done[-1]


@pytest.fixture(scope="session")
def wire(service: Service) -> Wire:
    """Speaks as the organization `demo`."""
    return Wire(service, service.key("demo"))


def _written(body: bytes) -> Written:
    return Written(body.count(b"\n") - 1, len(body), hashlib.sha256(body).hexdigest())
