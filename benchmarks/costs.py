"""What one request costs the serving process: milliseconds of its CPU time, for each kind of request.

    .venv/bin/python benchmarks/costs.py

Requests come one after the other over one connection that stays open. The reports that are looked at are unfinished.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))

from reelport.query import ReportQuery
from reelport.testing import Key, Service
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH

FIRST, DAYS = date(2025, 1, 1), 300
KINDS = ("token", "look", "ask", "health")
_WARM = 50
_JSON = {"Content-Type": "application/json"}


class Caller:
    """One partner over one connection that stays open."""

    def __init__(self, service: Service, keys: Sequence[Key]) -> None:
        self._http = http.client.HTTPConnection(service.settings.host, service.settings.port, timeout=60)
        granted = (
            {"grant_type": "client_credentials", "client_id": key.id, "client_secret": key.secret} for key in keys
        )
        self._forms = cycle(list(map(urlencode, granted)))
        self._questions = questions()
        self._headers = _JSON
        self.token()
        self.report = self.ask()

    def token(self) -> None:
        """Take a new token."""
        taken = self._send("POST", TOKEN_PATH, next(self._forms), {"Content-Type": "application/x-www-form-urlencoded"})
        self._headers = {**_JSON, "Authorization": f"Bearer {taken['access_token']}"}

    def ask(self) -> str:
        """Ask for a report that nobody asked for before; its token."""
        data = self._operation(ASK, {"input": next(self._questions).to_wire()})
        return str(data["askPartnerReportFile"]["reportFile"]["reportToken"])

    def look(self) -> str:
        """Look at the first report; its status."""
        return str(self._operation(LOOK, {"reportToken": self.report})["partner"]["reportFile"]["status"])

    def health(self) -> None:
        """Ask whether the service is well."""
        self._send("GET", "/health/live", "", {})

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _operation(self, document: str, variables: dict[str, object]) -> dict[str, Any]:
        body = json.dumps({"query": document, "variables": variables})
        found = self._send("POST", GRAPHQL_PATH, body, self._headers)
        if "errors" in found:
            raise RuntimeError(f"the service refused: {found['errors']}")
        data: dict[str, Any] = found["data"]
        return data

    def _send(self, method: str, path: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
        self._http.request(method, path, body, headers)
        found: dict[str, Any] = json.loads(self._http.getresponse().read())
        return found


def questions() -> Iterator[ReportQuery]:
    """Small questions, each another one."""
    for days in range(DAYS):
        for passed in range(DAYS - days):
            start = FIRST + timedelta(days=passed)
            yield ReportQuery.of(("VIEWS",), ("DAY", "VIDEO_TITLE"), start, start + timedelta(days=days))


def cpu(pid: int) -> float:
    """Seconds of CPU that the process has used, in all of its threads that live."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def cost(pid: int, send: Callable[[], object], times: int) -> float:
    """Milliseconds of the process's CPU that one request takes."""
    for _ in range(_WARM):
        send()
    before = cpu(pid)
    for _ in range(times):
        send()
    return (cpu(pid) - before) / times * 1000


def measure(times: int, rounds: int) -> dict[str, float]:
    """The least of some rounds for each kind: what others do on the machine only ever adds to it."""
    with Service(workers=0, waiting_limit=1_000_000, log_level="info") as service:
        service.organization("one")
        keys = [service.key("one") for _ in range(times * rounds // 90 + 1)]  # one key is granted 100 tokens at once
        with closing(Caller(service, keys)) as caller:
            return {kind: min(cost(service.pid, getattr(caller, kind), times) for _ in range(rounds)) for kind in KINDS}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=300, help="requests a round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for kind, milliseconds in measure(given.times, given.rounds).items():
        print(f"{kind:8} {milliseconds:6.2f} ms")


if __name__ == "__main__":
    main()
