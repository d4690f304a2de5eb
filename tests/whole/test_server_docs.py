"""The operator's pages on PostgreSQL and object stores: their commands as written, over servers that the test starts.

Two machines are two data directories here, and every server is on loopback.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pytest
from tests.forked import command_folder
from tests.operate_pages import read_marked
from tests.patience import PATIENCE, free_port, until
from tests.postgresql import PostgresServer, find_program
from tests.storage.object_server import CREDENTIALS, serve_objects

pytestmark = pytest.mark.long

PLACE = "servers"
DAY = "2026-09-01"
ASK = f"reelport report run --metrics VIEWS --dimensions DAY --start {DAY} --end {DAY}"

BUCKETS = {"REELPORT_FACTS_URL": "s3://tables/eu", "REELPORT_FILES_URL": "s3://reports/eu"}


@dataclass(frozen=True)
class Place:
    """A folder of an operator's, beside a PostgreSQL and an object store with two empty buckets."""

    folder: Path
    postgresql: PostgresServer
    objects: str

    def commands(self, page: str, **databases: str) -> list[str]:
        """The commands of a page that are marked for it, with these servers; hosts stand for hosts and databases."""
        lines = read_marked(PLACE, page)
        here = f"127.0.0.1:{self.postgresql.port}"
        for host, database in {"db": "reelport", **databases}.items():
            lines = [line.replace(f"{host}.internal/reelport", f"{here}/{database}") for line in lines]
        lines = [line.replace("db1.internal,", f"127.0.0.1:{free_port()},") for line in lines]
        return [line.replace("db2.internal:5433", here).replace("db.internal", here) for line in lines]

    def address(self, database: str) -> str:
        """The address of a database, for the user of the page."""
        return f"postgresql://reelport@127.0.0.1:{self.postgresql.port}/{database}"

    def create_database(self, name: str) -> None:
        """Make an empty database as the page does."""
        (line,) = [line for line in self.commands("several-machines") if line.startswith("createdb ")]
        self.run(re.sub("reelport$", name, line))

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The shell's: PostgreSQL's programs ask this server, those of AWS this store."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("REELPORT_", "AWS_"))}
        own["REELPORT_HOME"] = os.environ["REELPORT_HOME"]
        programs = find_program("createdb")
        assert programs is not None
        path = (command_folder(), Path(sys.executable).parent, programs.parent, os.environ["PATH"])
        server = {"PGHOST": "127.0.0.1", "PGPORT": str(self.postgresql.port), "PGUSER": "postgres"}
        store = {**CREDENTIALS, "AWS_DEFAULT_REGION": CREDENTIALS["AWS_REGION"], "AWS_ENDPOINT_URL": self.objects}
        return own | server | store | {"PATH": os.pathsep.join(map(str, path))} | dict(more)

    def run(self, *lines: str, **more: str) -> str:
        """Run lines in one shell; give what they printed."""
        words = ["/bin/bash", "-eu", "-o", "pipefail", "-c", "\n".join(lines)]
        done = subprocess.run(
            words, env=self.environment(more), cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
        return done.stdout or done.stderr

    def answer(self, line: str, *answers: str) -> None:
        """Run a line on a terminal, and type an answer at each of its prompts."""
        ours, theirs = pty.openpty()
        words = ["/usr/bin/env", "setsid", "--ctty", "--wait", "/bin/sh", "-c", line]
        process = subprocess.Popen(words, env=self.environment({}), stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        for each in answers:
            asked = b""
            while not asked.endswith(b": "):
                asked += os.read(ours, 1)
            os.write(ours, f"{each}\n".encode())
        assert process.wait(PATIENCE) == 0
        os.close(ours)

    @contextmanager
    def running(self, line: str, **more: str) -> Iterator[None]:
        """Run a line that goes on until it is stopped, for the block; it ends well."""
        log = self.folder / f"{line.split()[1]}.log"
        # The program itself takes the signal.
        words = ["/bin/sh", "-c", f"exec {sys.executable} -m {line}"]
        with log.open("ab") as said:
            process = subprocess.Popen(words, env=self.environment(more), cwd=self.folder, stdout=said, stderr=said)
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Both servers, and the user and the database of the page, made by its commands."""
    server = PostgresServer()
    try:
        server.create()
        server.start()
        with serve_objects() as objects:
            for bucket in ("tables", "reports"):
                urllib.request.urlopen(urllib.request.Request(f"{objects}/{bucket}", method="PUT"), timeout=PATIENCE)
            place = Place(tmp_path_factory.mktemp("place"), server, objects)
            create, *_ = place.commands("several-machines")
            place.answer(create, "a long password", "a long password")
            yield place
    finally:
        server.remove()


def is_well(url: str) -> bool:
    """Whether a service says that all of it is there."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=PATIENCE) as reply:
            return bool(reply.status == 200)
    except (OSError, HTTPError):
        return False


def test_a_state_is_brought_into_a_new_database(place: Place) -> None:
    """The user has its password; the database is UTF8, and holds what the old one did."""
    _, create, dump, *_ = place.commands("several-machines")
    place.create_database("old")
    place.run("reelport org add acme", REELPORT_DATA="before", REELPORT_DATABASE_URL=place.address("old"))
    place.run(create, dump)
    named = place.run("reelport org list", REELPORT_DATA="before", REELPORT_DATABASE_URL=place.address("reelport"))
    assert "acme" in named
    kept = "SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'reelport'"
    assert place.postgresql.execute(kept) == [(True,)]
    encoding = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'reelport'"
    assert place.postgresql.execute(encoding) == [("UTF8",)]
    place.run("dropdb old", "dropdb reelport")


@pytest.fixture(scope="module")
def moved(place: Place) -> dict[str, str]:
    """The settings of a service whose state was copied to PostgreSQL; it has sample facts in one of the buckets."""
    *_, copy, _, _, _, _ = place.commands("several-machines")
    place.create_database("reelport")
    add = "reelport org add acme && reelport key create --org acme --permissions create_reports"
    place.run(add, copy, REELPORT_DATA="reelport-data")
    secret = (place.folder / "reelport-data" / "secret.key").read_text().strip()
    shared = {"REELPORT_DATABASE_URL": place.address("reelport"), "REELPORT_SECRET": secret, **BUCKETS}
    first = {**shared, "REELPORT_DATA": "reelport-data", "REELPORT_PORT": str(free_port())}
    place.run(f"reelport sample --start {DAY} --end {DAY} --rows 100", **first)
    return first


@pytest.fixture(scope="module")
def partner(place: Place, moved: dict[str, str]) -> dict[str, str]:
    """The settings of a partner's client."""
    make = "reelport key create --org demo --permissions create_reports,read_reports --json"
    key = json.loads(place.run(make, **moved))
    url = f"http://127.0.0.1:{moved['REELPORT_PORT']}"
    return {"REELPORT_URL": url, "REELPORT_API_KEY": key["id"], "REELPORT_API_SECRET": key["secret"]}


def test_api_and_worker_run_on_machines_of_their_own(
    place: Place, moved: dict[str, str], partner: dict[str, str]
) -> None:
    """The worker's had no data directory before; the database is found behind a host that refuses."""
    *_, serve, work, look, failover = place.commands("several-machines")
    second = {**moved, "REELPORT_DATA": str(place.folder / "second")}
    with place.running(serve, **moved):
        assert until(lambda: "listening" in (place.folder / "serve.log").read_text())
        said = place.run(f"until {look}; do sleep 1; done", **second)
        assert "is new, and all that others need lies elsewhere" in said
        with place.running(work, **second):
            assert until(lambda: is_well(partner["REELPORT_URL"]))
            place.run(f"{ASK} -o before.csv", **partner)
    assert "acme" in place.run(failover, "reelport org list", **moved)


def test_a_lost_state_comes_back_beside_its_buckets(
    place: Place, moved: dict[str, str], partner: dict[str, str]
) -> None:
    """By a restore into a scratch directory, and by `pg_restore`; then the prefix is taken over."""
    place.run("reelport backup backups", "cp reelport-data/secret.key kept-apart.key", **moved)
    (name,) = [file.stem for file in (place.folder / "backups" / "backups").glob("*.json")]
    for database in ("second", "third"):
        place.create_database(database)
    make, restore, remove, *_ = place.commands("backup", db2="second")
    place.run(make, restore, remove)
    assert not (place.folder / "scratch").exists()
    *_, find, check, load = place.commands("backup", db2="third")
    digest, file = place.run(find.replace("ID", name), check, load).split()[:2]
    assert Path(file).name == digest
    for database in ("second", "third"):
        assert "demo" in place.run("reelport org list", **without_state(moved, place, database))
    found = without_state(moved, place, "second") | {"REELPORT_DATA": "third-machine"}
    with pytest.raises(AssertionError, match="its state was copied, moved or restored"):
        place.run("reelport serve", **found)
    if shutil.which("aws") is None:
        pytest.skip("aws is not installed: the prefix is taken over by its command")
    (take_over, _) = place.commands("object-store")
    place.run(take_over)
    with place.running("reelport serve", **found):
        assert until(lambda: is_well(partner["REELPORT_URL"]))
        place.run(f"{ASK} -o after.csv", **partner)
    assert (place.folder / "after.csv").read_bytes() == (place.folder / "before.csv").read_bytes()


def without_state(moved: Mapping[str, str], place: Place, database: str) -> dict[str, str]:
    """The same service's settings with another database."""
    return {**moved, "REELPORT_DATABASE_URL": place.address(database)}


def test_a_backup_is_restored_straight_into_buckets(place: Place) -> None:
    """Into prefixes that are empty: its tables are whole there."""
    (_, line) = place.commands("object-store")
    place.create_database("fourth")
    (place.folder / "restored").mkdir(mode=0o700)
    shutil.copy(place.folder / "kept-apart.key", place.folder / "restored" / "secret.key")
    database = place.address("fourth")
    place.run(line.replace("/eu", "/again"), REELPORT_DATABASE_URL=database)
    again = {name: url.replace("/eu", "/again") for name, url in BUCKETS.items()}
    place.run("reelport verify --data restored", REELPORT_DATABASE_URL=database, **again)
    assert "acme" in place.run("reelport org list --data restored", REELPORT_DATABASE_URL=database, **again)
