"""The service that is measured: a real one over a real socket, with an organization for each kind of reader."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx2

from benchmarks.facts import BIG_CHANNEL, CHANNELS, SMALL_CHANNEL, Facts
from benchmarks.measure import Took, forget_peak, peak
from benchmarks.reports import Report
from reelport.client.client import Client
from reelport.query import ReportQuery
from reelport.report_details import REPORTS_PATH
from reelport.server.access import organizations
from reelport.server.state.database import connect
from reelport.testing import Key, Service
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, PREFER_HEADER, TOKEN_PATH

READERS: Mapping[str, tuple[str, ...]] = {
    "one": (SMALL_CHANNEL,),
    "big": (BIG_CHANNEL,),
    "platform": tuple(f"c{number:05d}" for number in range(CHANNELS)),
}
"""Who asks, and the channels that they may read."""


class Reelport:
    """A running service over the facts, with no reports from before. Stop it with `close`."""

    name = "reelport"

    def __init__(self, facts: Facts, memory: str, *, rollups: bool = True) -> None:
        facts.forget_state()
        self._ledger = facts.folder / "ledger.db"
        self._ledger.unlink(missing_ok=True)
        settings: dict[str, Any] = {
            "log_level": "warning",
            "worker_memory": memory,
            "rollups": "on" if rollups else "off",
        }
        self.service = Service(facts.data, **settings)
        self.service.__enter__()
        self.settings = self.service.settings
        self.keys = self._keys()

    def write(self, report: Report, shift: int, to: Path) -> Took:
        """Ask, wait and download with our client. The memory is that of the worker."""
        (worker,) = self.service.worker_pids
        forget_peak(worker)
        with self.client(report.organization) as client:
            started = time.perf_counter()
            client.reports.run(report.query(shift), to)
            seconds = time.perf_counter() - started
        return Took(seconds, 0.0, peak(worker))

    def client(self, organization: str) -> Client:
        """Our client, with the organization's key."""
        key = self.keys[organization]
        return Client(self.service.url, key.id, key.secret, ledger=self._ledger)

    def wire(self, organization: str) -> Wire:
        """The wire itself, with the organization's key."""
        return Wire(self.service.url, self.keys[organization])

    def forget_peak(self) -> None:
        """Let the worker's peak of memory begin anew."""
        for worker in self.service.worker_pids:
            forget_peak(worker)

    def peak(self) -> int:
        """The most memory that one worker held."""
        return max(map(peak, self.service.worker_pids))

    def close(self) -> None:
        """Stop it."""
        self.service.__exit__(None, None, None)

    def _keys(self) -> dict[str, Key]:
        db = connect(self.settings)
        try:
            for name, channels in READERS.items():
                found = organizations.add_organization(db, name, datetime.now(UTC))
                organizations.allow_channels(db, found.id, channels)
        finally:
            db.dispose()
        return {name: self.service.key(name) for name in READERS}


class Wire:
    """One caller's requests, each alone: what a program in another language would send."""

    def __init__(self, url: str, key: Key) -> None:
        self._key = key
        self._http = httpx2.Client(base_url=url, timeout=30)
        self._headers: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.grant()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def grant(self) -> None:
        """Take a new token."""
        form = {"grant_type": "client_credentials", "client_id": self._key.id, "client_secret": self._key.secret}
        reply = self._http.post(TOKEN_PATH, data=form).raise_for_status()
        self._headers = {"Authorization": f"Bearer {reply.json()['access_token']}"}

    def ask(self, query: ReportQuery) -> str:
        """Ask for a report; its token."""
        data = self._operation(ASK, {"input": query.to_wire()})
        return str(data["askPartnerReportFile"]["reportFile"]["reportToken"])

    def look(self, token: str, held: int = 0) -> str:
        """The report's status; the service may hold the look for so many seconds, until the report ends."""
        return str(self._report(token, held)["status"])

    def details(self, token: str) -> dict[str, Any]:
        """What the service tells of a report beyond the copied wire."""
        reply = self._http.get(f"{REPORTS_PATH}/{token}", headers=self._headers).raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    def link(self, token: str) -> str:
        """Where the file of a finished report lies."""
        return str(self._report(token)["downloadLinks"]["edges"][0]["node"]["link"])

    def _report(self, token: str, held: int = 0) -> dict[str, Any]:
        prefer = {PREFER_HEADER: f"wait={held}"} if held else {}
        report: dict[str, Any] = self._operation(LOOK, {"reportToken": token}, prefer)["partner"]["reportFile"]
        return report

    def _operation(
        self, document: str, variables: Mapping[str, object], more: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        body, headers = {"query": document, "variables": variables}, {**self._headers, **(more or {})}
        reply = self._http.post(GRAPHQL_PATH, json=body, headers=headers).raise_for_status().json()
        if "errors" in reply:
            raise RuntimeError(f"the service refused: {reply['errors']}")
        data: dict[str, Any] = reply["data"]
        return data
