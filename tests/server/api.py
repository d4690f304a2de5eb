"""The API in this process, over a state of its own: for the form of what it says, without workers."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from sqlalchemy import Engine
from starlette.testclient import TestClient
from tests.migrated import begin_state

from reelport.engine.report_format import Written
from reelport.server import logs
from reelport.server.access import keys, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.access.keys import NewKey
from reelport.server.app import create_app
from reelport.server.files import report_files
from reelport.server.files.report_files import FileRecord
from reelport.server.http.service import Service
from reelport.server.queue import jobs
from reelport.server.queue.form_maker import make_next_form
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected
from reelport.wire import GRAPHQL_PATH, LOOK, TOKEN_PATH

ASK = """
mutation Ask($input: AskPartnerReportFileInput!) {
  askPartnerReportFile(input: $input) { status clientMutationId reportFile { id reportToken status } }
}
"""
INPUT: dict[str, Any] = {
    "metrics": ["VIEWS"],
    "dimensions": ["DAY"],
    "startDate": "2026-01-01",
    "endDate": "2026-01-02",
}

_YEAR_SECONDS = 365 * 24 * 3600.0


@dataclass
class Api:
    """A running app and one key of the organization `demo`."""

    client: TestClient
    service: Service
    key: NewKey
    token: str = ""
    asked: int = 0

    @staticmethod
    def service_now() -> datetime:
        """The moment, as the service takes it."""
        return datetime.now(UTC)

    def grant(self, **form: str) -> httpx2.Response:
        """Ask for a token."""
        fields = {"grant_type": "client_credentials", "client_id": self.key.id, "client_secret": self.key.secret}
        return self.client.post(TOKEN_PATH, data={**fields, **form})

    def post(self, body: bytes, **headers: str) -> httpx2.Response:
        """Post a body as it is, with the token unless a header says otherwise."""
        return self.client.post(
            GRAPHQL_PATH, content=body, headers={"Authorization": f"Bearer {self.token}", **headers}
        )

    def graphql(self, query: str, variables: object = None, **more: object) -> dict[str, Any]:
        """The answer to a document; HTTP 200 whatever it is."""
        reply = self.post(json.dumps({"query": query, "variables": variables, **more}).encode())
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"].startswith("application/json")
        answer: dict[str, Any] = reply.json()
        return answer

    def ask(self, **changed: object) -> dict[str, Any]:
        """The answer to one ask by a variable."""
        return self.graphql(ASK, {"input": {**INPUT, **changed}})

    def new(self) -> dict[str, str]:
        """Dates that no report of this API was asked for: the same ask again would be the same report."""
        self.asked += 1
        start = date(2025, 1, 1) + timedelta(days=self.asked)
        return {"startDate": start.isoformat(), "endDate": start.isoformat()}

    def finished(self, body: bytes = b"day,views\n2026-01-01,3\n", complete: date | None = None) -> str:
        """Ask for a new report and be its worker: the report token of a finished one."""
        answer = self.ask(**self.new())
        token: str = answer["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
        self.finish(body, complete)
        return token

    def finish(self, body: bytes, complete: date | None = None) -> FileRecord:
        """Do every job that waits, the oldest first: the file of each is `body`. Gives the last one's.

        With a day they are pinned, at versions of no tables whose last complete day that is.
        """
        return list(finish_reports(self.service.settings, self.service.db, body, complete))[-1]

    def make_form(self) -> bool:
        """Be the form maker, once; False when no form is due."""
        settings = self.service.settings
        return make_next_form(self.service.db, settings, "maker", settings.spill_root / "maker")

    @contextmanager
    def making_forms(self) -> Iterator[None]:
        """Be the form maker during the block."""
        ended = threading.Event()

        def work() -> None:
            while not ended.is_set():
                if not self.make_form():
                    ended.wait(0.01)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def link(self, token: str) -> str:
        """A fresh link of a finished report."""
        answer = self.graphql(LOOK, {"reportToken": token})
        link: str = answer["data"]["partner"]["reportFile"]["downloadLinks"]["edges"][0]["node"]["link"]
        return link


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One app for the tests of a module; its key holds every scope but that of earnings."""
    with open_api(read_settings(data=tmp_path_factory.mktemp("data"), workers=0)) as api:
        yield api


@contextmanager
def open_api(settings: Settings) -> Iterator[Api]:
    """Run an app of these settings, with such a key. It does not sweep: a test that needs a sweep calls it."""
    begin_state(settings)
    settings = replace(settings, sweep_seconds=_YEAR_SECONDS)
    with connected(settings) as db:
        jobs.claim_chore(db, "sweep", settings.sweep_seconds)
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.event_hooks = {"response": [require_length]}
        service: Service = app.state.service
        now = datetime.now(UTC)
        demo = organizations.add_organization(service.db, "demo", now)
        organizations.allow_channels(service.db, demo.id, ["c-demo"])
        held = [scope for scope in REPORT_SCOPES if scope != "access_revenue"]
        key = keys.create_key(service.db, service.service_secret, "demo", held, now)
        api = Api(client, service, key)
        api.token = api.grant().json()["access_token"]
        yield api


def require_length(answer: httpx2.Response) -> None:
    """Every answer has its length: else a client of HTTP/1.0, which knows no chunks, takes a part for the whole."""
    assert "content-length" in answer.headers or answer.status_code in {204, 304}, answer.request.url


def file_of(api: Api, record: FileRecord) -> Path:
    """Where a finished file lies."""
    return api.service.settings.files_root / record.name


@pytest.fixture
def log(api: Api) -> Iterator[io.StringIO]:
    """What this process logs while a test runs, as the service would."""
    written = io.StringIO()
    logs.configure(api.service.settings, written)
    yield written
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


def finish_reports(settings: Settings, db: Engine, body: bytes, complete: date | None = None) -> Iterator[FileRecord]:
    """Do every job that waits, the oldest first, as `Api.finish`."""
    while (claim := jobs.claim(db, "test-worker", running=99, lease_seconds=60)) is not None:
        assert complete is None or jobs.pin_versions(db, claim, {}, complete)
        draft = report_files.prepare_draft(settings, claim.report_id, claim.attempt)
        draft.write_bytes(body)
        record = report_files.publish_draft(settings, draft, _written(body))
        assert jobs.finish(db, claim, record, datetime.now(UTC))
        yield record


def _written(body: bytes) -> Written:
    return Written(body.count(b"\n") - 1, len(body), hashlib.sha256(body).hexdigest())
