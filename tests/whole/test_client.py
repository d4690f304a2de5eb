"""The client against a real service: library, asyncio twin and command line end with the same file."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from tests import forked
from tests.patience import PATIENCE, until
from tests.warm_service import Service

from reelport import (
    AccessError,
    AsyncClient,
    Client,
    Dimension,
    Event,
    Looked,
    Metric,
    Proof,
    QueryRefused,
    ReelportError,
    ReportQuery,
    Retrying,
    SlotsFull,
)
from reelport.testing import Key

from .partner import Partner

START, END = date(2026, 1, 1), date(2026, 1, 7)
QUERY = ReportQuery.of([Metric.VIEWS, Metric.VIEW_THROUGH_RATE], [Dimension.DAY, Dimension.VIDEO_TITLE], START, END)
EARNINGS = ReportQuery.of([Metric.VIEWS, Metric.ESTIMATED_EARNINGS_EUR], [Dimension.DAY], START, END)

Run = Callable[[Service, Key, ReportQuery, Path], None]


class Refused(Exception):
    """A command that ended with another status than 0."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        self.said = said
        super().__init__(said)


def run_sync(service: Service, key: Key, query: ReportQuery, to: Path) -> None:
    with Client(service.url, key.id, key.secret) as client:
        assert client.reports.run(query, to, deadline=300).proof is Proof.CHECKSUM


def run_async(service: Service, key: Key, query: ReportQuery, to: Path) -> None:
    async def go() -> None:
        async with AsyncClient(service.url, key.id, key.secret) as client:
            assert (await client.reports.run(query, to, deadline=300)).proof is Proof.CHECKSUM

    asyncio.run(go())


def run_command(service: Service, key: Key, query: ReportQuery, to: Path) -> None:
    command(service, key, "run", *options(query), "-o", str(to))


def options(query: ReportQuery) -> list[str]:
    """A query as options: metrics with commas, dimensions by repeating."""
    dimensions = [word for name in query.dimensions for word in ("--dimensions", name)]
    return ["--metrics", ",".join(query.metrics), *dimensions, "--start", str(query.start), "--end", str(query.end)]


def environment(service: Service, key: Key) -> dict[str, str]:
    ours = {"REELPORT_URL": service.url, "REELPORT_API_KEY": key.id, "REELPORT_API_SECRET": key.secret}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    return kept | ours | {"REELPORT_HOME": os.environ["REELPORT_HOME"]}


def command(service: Service, key: Key, *words: str) -> str:
    """What `reelport report …` prints on stdout. Refused when it ends with another status than 0."""
    done = forked.run(["-m", "reelport", "report", *words], env=environment(service, key))
    assert "Traceback" not in done.stderr
    assert key.secret not in done.stdout + done.stderr
    if done.returncode:
        raise Refused(done.returncode, done.stderr)
    return str(done.stdout)


@pytest.fixture(scope="module")
def service(sampled: Service) -> Service:
    """A service with sample facts of more than the week that is asked for."""
    return sampled


@pytest.fixture(scope="module")
def key(service: Service) -> Key:
    """A key of demo that may do everything."""
    return service.key("demo")


@pytest.fixture(scope="module")
def idle() -> Iterator[Service]:
    """A service without facts that takes reports and makes none until it is set to work."""
    with Service(workers=0) as service:
        service.organization("demo")
        yield service


@pytest.fixture
def set_to_work(idle: Service) -> Iterator[Callable[[], None]]:
    """Gives the idle service a worker, until the test ends."""
    words = [sys.executable, "-m", "reelport", "worker"]
    with ExitStack() as stack:

        def begin() -> None:
            environment = {**os.environ, **idle.settings.environment()}
            worker = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(worker.wait, PATIENCE)
            stack.callback(worker.terminate)

        yield begin


@pytest.mark.parametrize("run", [run_sync, run_async, run_command])
def test_three_ways_to_the_same_file(service: Service, key: Key, run: Run, tmp_path: Path) -> None:
    """Library, asyncio twin and command bring the bytes that a plain program gets by hand."""
    run(service, key, QUERY, tmp_path / "views.csv")
    by_hand = Partner(service, key)
    token = by_hand.ask(**QUERY.to_wire())
    assert (tmp_path / "views.csv").read_bytes() == by_hand.fetch(token)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["views.csv", "views.csv.json"]


@pytest.mark.parametrize("run", [run_sync, run_async, run_command])
def test_a_scope_that_the_key_lacks_is_an_access_error(service: Service, run: Run, tmp_path: Path) -> None:
    """The service names the metric and the scope; the command leaves with status 4."""
    narrow = service.key("demo", ["create_reports"])
    with pytest.raises((AccessError, Refused), match=r"ESTIMATED_EARNINGS_EUR.*access_revenue") as caught:
        run(service, narrow, EARNINGS, tmp_path / "views.csv")
    assert getattr(caught.value, "status", 4) == 4
    assert list(tmp_path.iterdir()) == []


def test_the_three_steps_as_commands(service: Service, key: Key, tmp_path: Path) -> None:
    """A token printed by one command is waited for and downloaded by others; without -o the CSV is on stdout."""
    token = command(service, key, "submit", *options(QUERY)).strip()
    assert command(service, key, "wait", token) == "FINISHED\n"
    command(service, key, "download", token, "-o", str(tmp_path / "views.csv"))
    assert command(service, key, "download", token) == (tmp_path / "views.csv").read_text(encoding="utf-8")


def test_a_report_is_taken_up_from_its_token(service: Service, key: Key, tmp_path: Path) -> None:
    """Another client of the same key downloads what was asked for elsewhere, and can look first."""
    with Client(service.url, key.id, key.secret) as client:
        token = client.reports.submit(QUERY).wait().token
    with Client(service.url, key.id, key.secret) as other:
        report = other.reports.attach(token, QUERY).refresh()
        assert report.status == "FINISHED"
        assert report.download(tmp_path / "views.csv").rows > 0


def test_a_wrong_secret_is_an_access_error_and_never_printed(service: Service, key: Key) -> None:
    """The command leaves with status 4 and the secret is nowhere in what it says."""
    wrong = Key(**{**vars_of(key), "secret": "wr0ng-secret-of-the-test"})
    with pytest.raises(Refused) as caught:
        command(service, wrong, "run", *options(QUERY))
    assert caught.value.status == 4


def vars_of(key: Key) -> dict[str, str]:
    return {name: getattr(key, name) for name in type(key).__dataclass_fields__}


def test_a_service_that_is_full_refuses() -> None:
    """Under the policy refuse a third report is waited for, by a client without a file and by a command: status 6."""
    with Service(workers=0, waiting_limit=0) as service:
        service.organization("demo")
        key = service.key("demo")
        with Client(service.url, key.id, key.secret, ledger=False) as client:
            for last in (2, 3):
                client.reports.submit(QUERY.within(START, date(2026, 1, last)))
            with pytest.raises(SlotsFull, match="Waiting for a slot"):
                client.reports.submit(QUERY, deadline=0.5)
        with pytest.raises(Refused, match="takes no further report now") as caught:
            command(service, key, "submit", *options(QUERY), "--deadline", "0.5")
    assert caught.value.status == 6


@pytest.mark.long
def test_a_service_that_dies_in_mid_wait_is_waited_for(
    idle: Service, set_to_work: Callable[[], None], tmp_path: Path
) -> None:
    """Kill -9 of the service and its return cost a waiting client nothing but time."""
    key = idle.key("demo")
    ended: list[ReelportError] = []
    told: list[Event] = []

    def go() -> None:
        with Client(idle.url, key.id, key.secret) as client:
            try:
                client.reports.run(QUERY, tmp_path / "views.csv", deadline=300, progress=told.append)
            except ReelportError as error:
                ended.append(error)

    def is_told(kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for event in told) or not waiting.is_alive()

    waiting = threading.Thread(target=go)
    waiting.start()
    assert until(lambda: is_told(Looked))
    idle.kill()
    assert until(lambda: is_told(Retrying))
    assert waiting.is_alive()
    idle.start()
    set_to_work()
    waiting.join(300)
    assert ended == []
    assert (tmp_path / "views.csv").exists()


@pytest.mark.long
def test_a_wait_takes_few_looks_however_long_it_is(idle: Service, set_to_work: Callable[[], None]) -> None:
    """A Reelport service holds all but the first, at most for 2, 4 and 8 seconds and then for its own longest time."""
    key = idle.key("demo")
    looks: list[Event] = []
    with Client(idle.url, key.id, key.secret) as client:
        report = client.reports.submit(QUERY)
        set_to_work()
        report.wait(deadline=300, progress=looks.append)
        looked = [event for event in looks if isinstance(event, Looked)]
        assert looked[-1].status == "FINISHED"
        assert len(looked) <= 4 + looked[-1].elapsed / idle.settings.look_seconds
        with pytest.raises(QueryRefused, match="Did you mean VIEWS"):
            client.reports.submit(replace(QUERY, metrics=("VIEW",)))
