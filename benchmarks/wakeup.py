"""From an ask to FINISHED on an idle service: its state in SQLite and in PostgreSQL, asked in turn.

    .venv/bin/python benchmarks/wakeup.py --times 200

Both services run side by side and hold no facts: what is measured is the way of an ask to a worker, and of its end to
the status query that waits (`Prefer: wait`), with the commits on it. PostgreSQL syncs its commits, as SQLite does. Each
round asks all in a random order. SQLite runs a second time, which tells how much of a difference is noise.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.postgresql import PostgresServer

from reelport.query import ReportQuery
from reelport.testing import Channel, Service
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH, ReportStatus

FIRST, DAYS = date(2025, 1, 1), 300
_WARM = 10


class Caller:
    """A partner that asks for one report after the other, and waits for each."""

    def __init__(self, service: Service) -> None:
        service.organization("demo", [Channel("c1", "demo")])
        key = service.key("demo")
        self._http = http.client.HTTPConnection(service.settings.host, service.settings.port, timeout=60)
        form = urlencode({"grant_type": "client_credentials", "client_id": key.id, "client_secret": key.secret})
        granted = self._send(TOKEN_PATH, form, {"Content-Type": "application/x-www-form-urlencoded"})
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {granted['access_token']}"}
        self._questions = make_questions()

    def time_report(self) -> float:
        """Ask for a report that nobody asked for before; the seconds until it is FINISHED."""
        query = next(self._questions).to_wire()
        began = time.perf_counter()
        token = self._operation(ASK, {"input": query})["askPartnerReportFile"]["reportFile"]["reportToken"]
        status = ReportStatus.IN_PROGRESS
        while status == ReportStatus.IN_PROGRESS:
            status = self._operation(LOOK, {"reportToken": token})["partner"]["reportFile"]["status"]
        seconds = time.perf_counter() - began
        if status != ReportStatus.FINISHED:
            raise RuntimeError(f"a report ended as {status}")
        return seconds

    def _operation(self, document: str, variables: dict[str, object]) -> dict[str, Any]:
        body = json.dumps({"query": document, "variables": variables})
        reply = self._send(GRAPHQL_PATH, body, {**self._headers, "Prefer": "wait=10"})
        if "errors" in reply:
            raise RuntimeError(f"the service refused: {reply['errors']}")
        data: dict[str, Any] = reply["data"]
        return data

    def _send(self, path: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
        self._http.request("POST", path, body, headers)
        reply: dict[str, Any] = json.loads(self._http.getresponse().read())
        return reply


def make_questions() -> Iterator[ReportQuery]:
    """Reports of one day and then of more, each another."""
    for days in range(DAYS):
        for first in range(DAYS - days):
            start = FIRST + timedelta(days=first)
            yield ReportQuery.of(["VIEWS"], ["DAY"], start, start + timedelta(days=days))


def measure(callers: dict[str, Caller], times: int) -> dict[str, list[float]]:
    """Ask all of them in turn, each round in another order; the seconds of each, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in callers}
    for number in range(_WARM + times):
        names = list(callers)
        random.shuffle(names)
        for name in names:
            took = callers[name].time_report()
            if number >= _WARM:
                seconds[name].append(took)
    return seconds


def summarize(seconds: dict[str, list[float]]) -> dict[str, object]:
    """Medians, and each compared with the first, round by round, in milliseconds."""
    first = next(iter(seconds.values()))
    return {
        name: {
            "median_ms": round(1000 * median(found), 1),
            "tenth_and_ninth_decile_ms": [round(1000 * quantiles(found, n=10)[place], 1) for place in (0, 8)],
            "slower_by_ms": round(1000 * median(own - other for own, other in zip(found, first, strict=True)), 1),
            "ratio": round(median(own / other for own, other in zip(found, first, strict=True)), 3),
        }
        for name, found in seconds.items()
    }


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=200)
    times = parser.parse_args().times
    server = PostgresServer()
    with ExitStack() as stack:
        stack.callback(server.remove)
        server.create()
        server.start(fsync="on")
        addresses = {"sqlite": "", "postgresql": f"{server.address}/postgres", "sqlite again": ""}
        services = {name: stack.enter_context(Service(database_url=url)) for name, url in addresses.items()}
        found = measure({name: Caller(service) for name, service in services.items()}, times)
    print(json.dumps({"at": datetime.now(UTC).isoformat(), "times": times, **summarize(found)}, indent=1))


if __name__ == "__main__":
    main()
