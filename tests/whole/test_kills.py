"""Nothing is lost: processes are killed for real, at every step of a report's life."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from sqlalchemy import update
from tests.cases import thin_out
from tests.fact_rows import make_plays
from tests.patience import PATIENCE, until
from tests.warm_service import Service

from reelport import killpoints
from reelport.server.state.database import connect, writing
from reelport.server.state.tables import REPORTS
from reelport.testing import Channel

from .partner import Partner

pytestmark = pytest.mark.long

STEPS = ("claim", "write", "fsync", "rename", "publish")
DEATHS = ("write", "write-2", "write-3")
"""Files at each of which a worker dies when it writes: all of them armed before, no worker lives until the next is."""
EXPECTED = b"day,views\n2026-01-01,5\n2026-01-02,7\n"


def rows() -> pa.Table:
    """Three plays, two of one day."""
    return make_plays([(datetime(2026, 1, day, 5, tzinfo=UTC), views) for day, views in ((1, 2), (1, 3), (2, 7))])


@dataclass(frozen=True)
class Rehearsal:
    """A service whose worker dies at a step while the file of that step's name exists in `folder`."""

    service: Service
    folder: Path

    def partner(self) -> Partner:
        """A partner with a key of its own, so that no earlier report answers its ask."""
        return Partner(self.service, self.service.key("demo"))

    def files(self) -> set[str]:
        """The names of the files at rest."""
        return {path.name for path in self.service.settings.files_root.glob("*")}

    def arm(self, step: str) -> None:
        """Let the worker die when it is next at this step."""
        (self.folder / step).touch()

    def died(self, step: str) -> bool:
        """Whether it died there."""
        return until(lambda: not (self.folder / step).exists())


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A running service with three plays, ready to be killed."""
    folder = tmp_path_factory.mktemp("steps")
    rehearsed = ",".join(f"{name.partition('-')[0]}:{folder / name}" for name in {*STEPS, *DEATHS, "delete"})
    with Service(environment={killpoints.VARIABLE: rehearsed}, sweep_seconds=0.2) as service:
        service.organization("demo", [Channel("c1", "demo-news")])
        service.load("plays", rows())
        yield Rehearsal(service, folder)


@pytest.mark.parametrize("step", thin_out(STEPS, 5))
def test_worker_killed_at_a_step_leaves_one_whole_result(rehearsal: Rehearsal, step: str) -> None:
    """Killed at this step the report is made again by itself, and one file of the right bytes is there."""
    asker, before = rehearsal.partner(), rehearsal.files()
    rehearsal.arm(step)
    token = asker.ask()
    assert rehearsal.died(step), rehearsal.service.log
    assert asker.fetch(token) == EXPECTED
    assert asker.ask() == token
    # What the killed attempt left goes with the next worker's start.
    assert until(lambda: len(rehearsal.files() - before) == 1)


def test_killed_worker_is_replaced_by_itself(rehearsal: Rehearsal) -> None:
    """After kill -9 another worker is there, and makes what is asked."""
    assert until(lambda: len(rehearsal.service.worker_pids) == 1)
    killed = rehearsal.service.kill_workers()
    assert rehearsal.partner().fetch(rehearsal.partner().ask()) == EXPECTED
    assert not set(killed) & set(rehearsal.service.worker_pids)


def test_killed_service_is_ready_again_and_answers_all_that_was_asked(rehearsal: Rehearsal) -> None:
    """After kill -9 its workers end by themselves; started again it is ready and every report is made."""
    service, askers = rehearsal.service, [rehearsal.partner() for _ in range(4)]
    finished = askers[0].ask()
    assert askers[0].fetch(finished) == EXPECTED
    rehearsal.arm("claim")
    asked = [(asker, asker.ask(dimensions=["DAY", "VIDEO_ID"])) for asker in askers]
    workers = psutil.Process(service.pid).children(recursive=True)  # one may be dying just now
    service.kill()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert alive == []
    service.start()
    for asker, token in asked:
        assert asker.fetch(token) == b"day,video_id,views\n2026-01-01,v1,5\n2026-01-02,v1,7\n"
    assert askers[0].fetch(finished) == EXPECTED


def test_stopped_service_leaves_no_process_and_loses_no_report(rehearsal: Rehearsal) -> None:
    """After SIGTERM every process is gone and every place cleared; started again it goes on."""
    service, asker = rehearsal.service, rehearsal.partner()
    token = asker.ask()
    assert until(lambda: len(service.worker_pids) == 1)
    workers = [psutil.Process(pid) for pid in service.worker_pids]
    service.stop()
    assert not any(worker.is_running() for worker in workers)
    assert list(service.settings.workers_root.iterdir()) == []
    assert list(service.settings.spill_root.iterdir()) == []
    service.start()
    assert asker.fetch(token) == EXPECTED


def test_report_that_kills_every_worker_fails_with_its_reason(rehearsal: Rehearsal) -> None:
    """Three deaths of a worker that makes nothing else end a report as FAILED, and the queue tells why."""
    service, asker = rehearsal.service, rehearsal.partner()
    for name in DEATHS:
        rehearsal.arm(name)
    token = asker.ask()
    assert asker.wait(token)["status"] == "FAILED", service.log
    shown = subprocess.run(
        [sys.executable, "-m", "reelport", "queue", "show", token, "--json", "--data", service.data],
        check=True,
        capture_output=True,
    )
    found = json.loads(shown.stdout)
    assert (found["state"], found["attempts"], found["deaths"]) == ("failed", 3, 3)
    assert "killed by SIGKILL" in found["reason"]
    assert "death 3 of 3" in found["reason"]
    assert until(lambda: list(service.settings.files_root.glob("*.part")) == [])


def test_worker_killed_while_deleting_ends_the_report_all_the_same(rehearsal: Rehearsal) -> None:
    """Killed between the removal of a file and its record, the sweep is done again and the report is EXPIRED."""
    service, before = rehearsal.service, rehearsal.files()
    asker = rehearsal.partner()
    token = asker.ask()
    assert asker.wait(token)["status"] == "FINISHED"
    rehearsal.arm("delete")
    db = connect(service.settings)
    with writing(db) as connection:
        connection.execute(update(REPORTS).where(REPORTS.c.token == token).values(expires_at=datetime.now(UTC)))
    db.dispose()
    assert rehearsal.died("delete"), service.log
    # Either process sweeps: whichever it was, start all anew.
    service.kill()
    service.start()
    found = asker.look(token)
    assert found["status"] == "EXPIRED"
    assert found["downloadLinks"]["edges"] == []
    assert until(lambda: rehearsal.files() <= before)
    assert until(lambda: '"report expired"' in service.log)
