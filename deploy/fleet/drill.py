"""The drill: partners fetch reports through the fleet while one of each of its parts is killed and started again."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Protocol, Self

from reelport.client.client import Client
from reelport.query import ReportQuery
from reelport.server.access.keys import NewKey
from reelport.server.state.database import StateUnavailable

START, DAYS, ROWS = date(2026, 7, 1), 31, 300_000
PARTNERS = ("demo", "rival")
_DIMENSIONS = ("DAY", "VIDEO_ID", "VIDEO_TITLE", "VISITOR_COUNTRY", "VISITOR_DEVICE_TYPE")
_DEADLINE = 300.0
_DOWN_SECONDS, _PAUSE_SECONDS, _RETRY_SECONDS = 2.0, 3.0, 0.2
COUNT = "SELECT count(*) FILTER (WHERE status = 'FINISHED'), count(*), (SELECT count(*) FROM jobs) FROM reports"
"""SQL that counts the reports that are finished, all of them, and the jobs."""


@dataclass
class Findings:
    """What came of it: files by question and partner, before and during the kills, and what went wrong."""

    undisturbed: dict[tuple[str, int], str] = field(default_factory=dict)
    fetched: list[tuple[str, int, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    asked: int = 0
    finished: int = 0
    reports: int = 0
    jobs: int = 0

    @property
    def different(self) -> int:
        """Files whose bytes are not those of the same question before the kills."""
        return sum(self.undisturbed[partner, question] != sha256 for partner, question, sha256 in self.fetched)

    @property
    def problems(self) -> list[str]:
        """What is not as it must be; nothing if all is well."""
        found = list(self.failed)
        if self.different:
            found.append(f"{self.different} files differ from those made before the kills")
        if len(self.fetched) + len(self.failed) != self.asked:
            found.append(f"{self.asked} reports were asked for, {len(self.fetched)} fetched")
        if self.reports != self.asked + len(self.undisturbed):
            found.append(f"the state has {self.reports} reports, not {self.asked + len(self.undisturbed)}")
        if self.jobs:
            found.append(f"{self.jobs} jobs are left in the queue")
        return found

    def tell(self, tell: Callable[[str], None]) -> None:
        """Tell what was killed, what was fetched meanwhile, and what is wrong."""
        tell(f"killed: {', '.join(self.killed)}")
        tell(f"meanwhile {self.asked} reports were asked for and {len(self.fetched)} fetched")
        tell(f"{len(self.fetched) - self.different} of them have the bytes that the same question had before")
        for problem in self.problems:
            tell(f"WRONG: {problem}")


class Victim(Protocol):
    """What can be killed and started again."""

    @property
    def name(self) -> str:
        """What it is called."""

    def kill(self) -> None:
        """Kill it."""

    def start(self) -> None:
        """Start it."""


class Drilled(Protocol):
    """A running fleet that a drill can fetch from, and hurt."""

    @property
    def folder(self) -> Path:
        """Where partners keep their files."""

    @property
    def url(self) -> str:
        """The service's address."""

    @property
    def victims(self) -> Sequence[Victim]:
        """One of each part, in the order in which they are killed."""

    def make_key(self, organization: str) -> NewKey:
        """Make a key of an organization; StateUnavailable while the state can't be reached."""

    def count_reports(self) -> tuple[int, int, int]:
        """Count the reports that are finished, all of them, and the jobs."""


def run_drill(fleet: Drilled, rounds: int, tell: Callable[[str], None]) -> Findings:
    """Fetch each question once undisturbed, then again and again while parts are killed."""
    findings = Findings()
    _, earlier, _ = fleet.count_reports()
    keys = {partner: fleet.make_key(partner) for partner in PARTNERS}
    for partner, key in keys.items():
        with _Fetcher(fleet, partner, key, "before") as fetcher:
            for question in range(4):
                findings.undisturbed[partner, question] = fetcher.fetch(question)
    tell(f"{len(findings.undisturbed)} reports fetched through {fleet.url}, nothing disturbed")
    stop = threading.Event()
    with ThreadPoolExecutor(len(PARTNERS) * rounds) as pool:
        loads = [
            pool.submit(_fetch_on, fleet, partner, f"during-{number}", stop, findings)
            for partner in PARTNERS
            for number in range(rounds)
        ]
        try:
            _kill_one_of_each(fleet, findings, loads, tell)
        finally:
            stop.set()
    for load in loads:
        load.result()
    findings.finished, reports, findings.jobs = fleet.count_reports()
    findings.reports = reports - earlier
    return findings


def _kill_one_of_each(
    fleet: Drilled, findings: Findings, loads: Sequence[Future[None]], tell: Callable[[str], None]
) -> None:
    for part in fleet.victims:
        time.sleep(_PAUSE_SECONDS)
        before = len(findings.fetched)
        part.kill()
        tell(f"killed {part.name}; {before} reports fetched so far")
        time.sleep(_DOWN_SECONDS)
        meanwhile = len(findings.fetched) - before
        part.start()
        tell(f"started {part.name} again; {meanwhile} reports fetched while it was away")
        findings.killed.append(part.name)
        for load in loads:
            if load.done():
                load.result()
    time.sleep(_PAUSE_SECONDS)


def _fetch_on(fleet: Drilled, partner: str, name: str, stop: threading.Event, findings: Findings) -> None:
    """Fetch one report after the other, each with a key of its own: the same ask of one key is one report."""
    while not stop.is_set():
        key = _make_key(fleet, partner)
        with _Fetcher(fleet, partner, key, name) as fetcher:
            for question in range(4):
                findings.asked += 1
                try:
                    findings.fetched.append((partner, question, fetcher.fetch(question)))
                except Exception as error:  # noqa: BLE001 - whatever a partner would meet
                    findings.failed.append(f"{partner}: {type(error).__name__}: {error}")


def _make_key(fleet: Drilled, partner: str) -> NewKey:
    """Make a key once PostgreSQL is there: an operator's command is refused while it is away."""
    until = time.monotonic() + _DEADLINE
    while True:
        try:
            return fleet.make_key(partner)
        except StateUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


class _Fetcher:
    """A partner's client, with a ledger of its own."""

    def __init__(self, fleet: Drilled, partner: str, key: NewKey, name: str) -> None:
        self._folder: Path = fleet.folder / "partners" / partner / name / key.id
        self._folder.mkdir(parents=True)
        self._client = Client(fleet.url, key.id, key.secret, ledger=self._folder / "ledger.db")

    def fetch(self, question: int) -> str:
        """Fetch a report; the hash of its bytes."""
        end = START + timedelta(days=DAYS - 1 - question)
        query = ReportQuery.of(("VIEWS", "TIME_WATCHED_SECONDS"), _DIMENSIONS, START, end)
        to = self._folder / f"{question}.csv"
        self._client.reports.run(query, to, deadline=_DEADLINE)
        return hashlib.sha256(to.read_bytes()).hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
