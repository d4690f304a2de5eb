"""A service of several processes over one PostgreSQL: two APIs with a worker each, and a worker apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
from tests.patience import PATIENCE
from tests.postgresql import PostgresServer
from tests.warm_service import Service

from reelport.server.settings import Settings
from reelport.testing import Key
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH

# What every claim of a job met, and every claim of a sweep: the database itself notes it, in their transactions.
RECORDS = """
CREATE TABLE claims (number serial, owner text, report text, organization integer, attempt integer, running bigint);
CREATE TABLE sweeps (number serial, due_at bigint);
CREATE FUNCTION record_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO claims (owner, report, organization, attempt, running)
    SELECT NEW.owner, NEW.report_id, NEW.organization_id, NEW.attempt, count(*)
    FROM jobs WHERE organization_id = NEW.organization_id AND leased_until > clock_ms();
    RETURN NULL;
END $$;
CREATE FUNCTION record_sweep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO sweeps (due_at) VALUES (NEW.due_at);
    RETURN NULL;
END $$;
CREATE TRIGGER claimed AFTER UPDATE ON jobs FOR EACH ROW
WHEN (OLD.owner IS NULL AND NEW.owner IS NOT NULL) EXECUTE FUNCTION record_claim();
CREATE TRIGGER swept AFTER INSERT OR UPDATE ON chores FOR EACH ROW
WHEN (NEW.name = 'sweep') EXECUTE FUNCTION record_sweep();
"""


class Cluster:
    """A primary and a replica that has whatever was answered; either may be the primary in the end."""

    def __init__(self) -> None:
        self.primary, self.replica = PostgresServer(), PostgresServer()
        self.primary.create()
        self.primary.start()
        self.primary.execute("CREATE DATABASE state")
        self.replica.copy_from(self.primary)
        self.replica.start(wal_retrieve_retry_interval="100ms")
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")

    @property
    def address(self) -> str:
        """The address of whichever takes writes; the replica comes first, and is passed over."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.replica, self.primary))
        return f"postgresql://postgres@{hosts}/state?target_session_attrs=read-write"

    def fail_over(self) -> None:
        """Let the replica take the place of a primary that is gone."""
        self.replica.promote()
        self.primary, self.replica = self.replica, self.primary

    def read(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        return self.primary.execute(statement, "state")

    def remove(self) -> None:
        """End both."""
        for server in (self.primary, self.replica):
            server.remove()


class Fleet:
    """The processes of one service; they share database, data directory and secret."""

    def __init__(self, folder: Path, database_url: str, **settings: object) -> None:
        shared = {"database_url": database_url, "secret": "s" * 32, **settings}
        self.services = [Service(folder / "data", environment=None, **shared) for _ in range(2)]
        self._log_file = folder / "worker.log"
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the first API."""
        return self.services[0].settings

    @property
    def log(self) -> str:
        """What all processes have logged."""
        return "".join(service.log for service in self.services) + self._log_file.read_text("utf-8", "replace")

    def start(self) -> None:
        """Start both services and the worker."""
        for service in self.services:
            service.start()
        with self._log_file.open("ab") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "reelport", "worker"],
                env={**os.environ, **self.settings.environment()},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def list_processes(self) -> frozenset[int]:
        """Every process of the fleet (ids): APIs, supervisors, workers."""
        assert self._worker is not None
        roots = [psutil.Process(pid) for pid in (*(service.pid for service in self.services), self._worker.pid)]
        return frozenset(process.pid for root in roots for process in (root, *root.children(recursive=True)))

    def stop(self) -> None:
        """End all of them."""
        with ExitStack() as services:
            for service in self.services:
                services.push(service.__exit__)
            if self._worker is not None:
                self._worker.terminate()
                assert self._worker.wait(PATIENCE) == 0


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int
    retry_after: str | None
    body: bytes


@dataclass
class Caller:
    """A partner's program that speaks to one API after the other, and keeps every answer."""

    fleet: Fleet
    key: Key
    token: str = ""
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._services = cycle(self.fleet.services)
        form = {"grant_type": "client_credentials", "client_id": self.key.id, "client_secret": self.key.secret}
        granted = self._send(TOKEN_PATH, urllib.parse.urlencode(form).encode(), {})
        self.token = json.loads(granted.body)["access_token"]

    @property
    def is_refused(self) -> bool:
        """Whether some answer was that the service is away."""
        return any(answer.status == 503 for answer in self.answers)

    def ask(self, **query: object) -> str | None:
        """Ask for a report: its token, None where the service is away."""
        asked = {"metrics": ["VIEWS"], "dimensions": ["DAY"], **query}
        data = self._graphql(ASK, input=asked)
        token: str | None = data["askPartnerReportFile"]["reportFile"]["reportToken"] if data else None
        return token

    def look(self, token: str) -> str | None:
        """The link of a report once it is finished; None until then, and where the service is away."""
        data = self._graphql(LOOK, reportToken=token)
        edges = data["partner"]["reportFile"]["downloadLinks"]["edges"] if data else []
        link: str | None = edges[0]["node"]["link"] if edges else None
        return link

    def get(self, link: str) -> Answer:
        """The answer to a link."""
        return self._call(urllib.request.Request(link))

    def _graphql(self, document: str, **variables: object) -> Any:  # noqa: ANN401 - JSON
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = json.dumps({"query": document, "variables": variables}).encode()
        answer = self._send(GRAPHQL_PATH, body, headers)
        found = json.loads(answer.body)
        if "errors" not in found:
            return found["data"]
        # An ask whose commit got no answer may have been taken: that isn't refused as one that did nothing.
        codes = {error["extensions"]["code"] for error in found["errors"]}
        assert answer.status == 503 or (codes == {"unavailable"} and document == ASK), found
        return None

    def _send(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return self._call(urllib.request.Request(next(self._services).url + path, body, dict(headers)))

    def _call(self, request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                answer = Answer(reply.status, None, reply.read())
        except HTTPError as error:
            answer = Answer(error.code, error.headers.get("Retry-After"), error.read())
        self.answers.append(answer)
        return answer
