"""A hundred partners at once: each looks every second and asks now and then, beside three long reports.

    .venv/bin/python benchmarks/crowd.py
    .venv/bin/python benchmarks/crowd.py --seconds 120 --set slots=6 database_url=postgresql://…

The partners are coroutines of this process, each with a connection of its own that stays open. A request's time goes
from its first byte to the last of its answer; a small report's from its ask to the look that says FINISHED, so there
is up to a second of its partner's own pause in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.facts import BIG_CHANNEL, CHANNELS, DAYS, START, Facts
from benchmarks.machine import load
from benchmarks.measure import percentile
from reelport.query import ReportQuery
from reelport.server.access import organizations
from reelport.server.state.database import connect
from reelport.testing import Key, Service
from reelport.wire import ASK, GRAPHQL_PATH, LOOK, TOKEN_PATH

LOOK_SECONDS, ASK_SECONDS, TOKEN_SECONDS = 1.0, 20.0, 30.0
LONG = ("DAY", "VIDEO_ID", "VIDEO_TITLE", "MEDIA_TYPE", "ACTION", "VISITOR_COUNTRY", "VISITOR_DEVICE_TYPE")
GOALS = {"look": ("p95", 0.95, 0.1), "ask": ("p99", 0.99, 1.0), "small report": ("p95", 0.95, 3.0)}
_WAITING = 10_000


@dataclass(slots=True)
class Times:
    """Seconds of every request, by its kind."""

    of: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, began: float) -> None:
        """A request of that kind has its whole answer."""
        self.of[kind].append(time.perf_counter() - began)


class Wire:
    """One connection to the service, and the token that it speaks with."""

    def __init__(self, service: Service, key: Key, times: Times) -> None:
        self._address = (service.settings.host, service.settings.port)
        self._key = key
        self._times = times
        self._token = ""

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def reconnect(self) -> None:
        """Connect anew, with the same token, after a pause in which the service may have hung up."""
        self._writer.close()
        await self._connect()

    async def grant(self) -> None:
        """Take a new token."""
        form = {"grant_type": "client_credentials", "client_id": self._key.id, "client_secret": self._key.secret}
        answer = await self._post("token", TOKEN_PATH, urlencode(form), "application/x-www-form-urlencoded")
        self._token = answer["access_token"]

    async def ask(self, query: ReportQuery, kind: str = "ask") -> str:
        """Ask for a report; its token."""
        answer = await self._graphql(kind, ASK, {"input": query.to_wire()})
        return str(answer["askPartnerReportFile"]["reportFile"]["reportToken"])

    async def look(self, token: str) -> str:
        """A report's status."""
        answer = await self._graphql("look", LOOK, {"reportToken": token})
        return str(answer["partner"]["reportFile"]["status"])

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    async def _graphql(self, kind: str, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": document, "variables": variables})
        answer = await self._post(kind, GRAPHQL_PATH, body, "application/json")
        if "errors" in answer:
            raise RuntimeError(f"the service refused: {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    async def _post(self, kind: str, path: str, body: str, content: str) -> dict[str, Any]:
        head = f"POST {path} HTTP/1.1\r\nHost: crowd\r\nContent-Type: {content}\r\nContent-Length: {len(body)}\r\n"
        bearer = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        began = time.perf_counter()
        self._writer.write(f"{head}{bearer}\r\n{body}".encode())
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        answer: dict[str, Any] = json.loads(await self._reader.readexactly(length))
        self._times.note(kind, began)
        if " 200 " not in lines[0]:
            self._times.refused[lines[0]] += 1
        return answer


def questions(dimensions: tuple[str, ...], days: int) -> Iterator[ReportQuery]:
    """Questions about so many days and ever fewer, each another one."""
    for length in range(days, 0, -1):
        for passed in range(DAYS - length + 1):
            start = START + timedelta(days=passed)
            end = start + timedelta(days=length - 1)
            yield ReportQuery.of(("VIEWS", "TIME_WATCHED_SECONDS"), dimensions, start, end)


async def poll(service: Service, key: Key, times: Times, late: float, until: float) -> None:
    """One partner: a look a second, a small report every so often, a new token now and then."""
    fresh = questions(("DAY", "VIDEO_TITLE"), 4)
    await asyncio.sleep(late * LOOK_SECONDS)
    async with Wire(service, key, times) as wire:
        await wire.grant()
        next_token = time.monotonic() + late * TOKEN_SECONDS
        next_ask = time.monotonic() + late * ASK_SECONDS
        token, asked = await wire.ask(next(fresh)), time.perf_counter()
        while (now := time.monotonic()) < until:
            if now >= next_token:
                next_token += TOKEN_SECONDS
                await wire.grant()
            if now >= next_ask and not asked:
                next_ask += ASK_SECONDS
                asked = time.perf_counter()
                token = await wire.ask(next(fresh))
            status = await wire.look(token)
            if asked and status != "IN_PROGRESS":
                times.note("small report" if status == "FINISHED" else status, asked)
                asked = 0.0
            await asyncio.sleep(max(0.0, now + LOOK_SECONDS - time.monotonic()))
        if asked:
            times.note("small report", asked)  # at least so long


async def keep_busy(service: Service, key: Key, times: Times, fresh: Iterator[ReportQuery], until: float) -> None:
    """One long report after the other."""
    async with Wire(service, key, times) as wire:
        await wire.grant()
        while time.monotonic() < until:
            began = time.perf_counter()
            token = await wire.ask(next(fresh), "ask, long")
            while await wire.look(token) == "IN_PROGRESS" and time.monotonic() < until:  # noqa: ASYNC110 - it polls
                await asyncio.sleep(LOOK_SECONDS / 2)
            times.note("long report", began)


async def run(service: Service, crowd: list[Key], long: list[Key], seconds: float) -> Times:
    """All of them for so many seconds."""
    times, until = Times(), time.monotonic() + seconds
    fresh = questions(LONG, 180)
    async with asyncio.TaskGroup() as tasks:
        for key in long:
            tasks.create_task(keep_busy(service, key, times, fresh, until))
        for number, key in enumerate(crowd):
            tasks.create_task(poll(service, key, times, number / len(crowd), until))
    return times


def keys(service: Service, number: int) -> tuple[list[Key], list[Key]]:
    """So many partners, each with a channel of its own; and two for the three long reports."""
    db, names = connect(service.settings), count()
    try:

        def partner(channel: str) -> Key:
            name = f"partner-{next(names)}"
            added = organizations.add_organization(db, name, datetime.now(UTC))
            organizations.allow_channels(db, added.id, [channel])
            return service.key(name)

        crowd = [partner(f"c{1 + each % (CHANNELS - 1):05d}") for each in range(number)]
        one, two = partner(BIG_CHANNEL), partner(BIG_CHANNEL)
    finally:
        db.dispose()
    return crowd, [one, one, two]


def api_pids(service: Service) -> list[int]:
    """The processes that answer: the service's own, and those that it has started for it."""
    started = [
        int(pid) for task in Path(f"/proc/{service.pid}/task").glob("*/children") for pid in task.read_text().split()
    ]
    return [service.pid, *(pid for pid in started if b"api_process" in Path(f"/proc/{pid}/cmdline").read_bytes())]


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that these processes have used."""
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / 100


def tell(times: Times, took: float, served: float, made: float) -> None:
    """Print what was measured."""
    print("| seconds | p50 | p95 | p99 | most | times |\n|---|---|---|---|---|---|")
    for kind, found in sorted(times.of.items()):
        spread = " | ".join(f"{percentile(found, share):.3f}" for share in (0.5, 0.95, 0.99, 1.0))
        print(f"| {kind} | {spread} | {len(found)} |")
    requests = sum(len(found) for kind, found in times.of.items() if "report" not in kind)
    print(f"\n{requests / took:.0f} requests a second; {served / requests * 1000:.2f} ms of the API's CPU a request,")
    print(f"{served / took:.2f} cores for the API, {made / took:.2f} for the workers; load averages {load()}")
    for kind, (name, share, limit) in GOALS.items():
        if found := times.of[kind]:
            met = "yes" if percentile(found, share) <= limit else "NO"
            print(f"{kind} {name}: {percentile(found, share):.3f} s, at most {limit}: {met}")
    if times.refused:
        print(f"refused: {dict(times.refused)}")


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partners", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of plays")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the service")
    given = parser.parse_args()
    facts = Facts(given.rows)
    facts.ready()
    facts.forget_state()
    settings: dict[str, Any] = dict(each.split("=", 1) for each in given.set)
    with Service(facts.data, log_level="info", **{"waiting_limit": _WAITING, **settings}) as service:
        crowd, long = keys(service, given.partners)
        api, workers = api_pids(service), list(service.worker_pids)
        began, served, made = time.monotonic(), cpu(api), cpu(workers)
        times = asyncio.run(run(service, crowd, long, given.seconds))
        tell(times, time.monotonic() - began, cpu(api) - served, cpu(workers) - made)


if __name__ == "__main__":
    main()
