"""Commands of the operators' pages that need podman: run as they are written, in a store of images of the test's own.

`make containers` runs them: they take minutes, root, and the ports of the pages. An image that no registry gives is
replaced by its stand-in, under its name.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import HTTPError

import pytest
from deploy.containers.fleet import NGINX_USER, provide_images, read_ports, read_services
from deploy.containers.images import PYTHON, provide, read_base
from deploy.containers.machine import LOCK, PATH, MachineUnfit, find_missing, hold_lock, require_ports, require_root
from deploy.containers.project import HealthChecks, Project
from deploy.fleet.drill import START
from tests.deploy.image_store import ImageStore, make_image_store, remove_leftovers
from tests.deploy.programs import is_alive, make_certificate
from tests.operate_pages import read_marked
from tests.patience import PATIENCE, child, until

from reelport.client.client import Client
from reelport.query import ReportQuery

pytestmark = pytest.mark.containers

ROOT = Path(__file__).parents[2]
SENT = ("deploy", "src", "supply_chain", "pyproject.toml", "uv.lock", "README.md", "LICENSE")
"""What the pages' commands need of a checkout."""
PORT = 8642
OUTSIDE = ("192.0.2.1", 9)
"""An address that is nobody's: nothing is sent to it."""
KILLED = """
import signal
import sys

sys.path.insert(0, sys.argv[1])
from tests.deploy.image_store import make_image_store

with make_image_store() as store:
    store.bring({"localhost/kept": sys.argv[2]})
    store.podman("run", "--detach", "--name", "kept", "localhost/kept", "sleep", "inf")
    print("ready", flush=True)
    print(store.folder, store.podman("inspect", "kept", "--format", "{{.State.Pid}}"), flush=True)
    signal.pause()
"""
MAKES_A_REPORT = "DuckDB makes a report"


def commands(page: str) -> list[str]:
    """The commands of a page's fences for podman, in their order."""
    return read_marked("podman", page)


@pytest.fixture(scope="module")
def store() -> Iterator[ImageStore]:
    """A store with the images that the files of `deploy/container` name, while nobody else has the ports."""
    if missing := find_missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:{PATH}")
        patch.delenv("SSL_CERT_FILE", raising=False)  # for the tests it names one authority, and a registry has another
        try:
            require_root()
            with hold_lock(LOCK) as lock:
                remove_leftovers()
                require_ports([PORT, *read_ports()])
                images = provide_images()
                with make_image_store(lock) as store:
                    store.bring(images)
                    yield store
        except MachineUnfit as error:
            pytest.skip(str(error))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout to write into."""
    for name in SENT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def call(store: ImageStore, tree: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run lines in one shell, which works in the store."""
    words = ["/bin/bash", "-eu", "-o", "pipefail", "-c", "\n".join(lines)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    environment |= store.environment
    quiet = subprocess.DEVNULL
    return subprocess.run(
        words, env=environment, cwd=tree, stdin=quiet, capture_output=True, text=True, timeout=1200, check=False
    )


def run(store: ImageStore, tree: Path, *lines: str) -> str:
    """Run lines that go well; give what they printed."""
    done = call(store, tree, *lines)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_until_well(store: ImageStore, tree: Path, *lines: str) -> str:
    """Run lines until they go well: while others keep the disk busy, the doctor finds a fault."""
    tried: list[subprocess.CompletedProcess[str]] = []

    def goes_well() -> bool:
        tried.append(call(store, tree, *lines))
        return tried[-1].returncode == 0

    assert until(goes_well), tried[-1].stdout + tried[-1].stderr
    return tried[-1].stdout


@contextmanager
def looked_after(store: ImageStore) -> Iterator[None]:
    """Check the containers' health for the block, as podman has a timer of systemd do."""
    checks = HealthChecks(store.list_containers, store.environment)
    checks.start()
    try:
        yield
    finally:
        checks.end()


def test_a_container_gets_well(store: ImageStore, tree: Path) -> None:
    """Built, started and looked at as the page on installing says; its port is open to this machine alone."""
    build, start, look = commands("install")
    run(store, tree, build, start)

    def health() -> str:
        return store.podman("inspect", "reelport", "--format", "{{.State.Health.Status}}")

    with looked_after(store):
        assert until(lambda: health() == "healthy"), store.podman("logs", "reelport")
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=PATIENCE) as reply:
        assert json.load(reply)["status"] == "ok"
    assert not is_open(find_address(), PORT)
    said = run_until_well(store, tree, look)
    assert MAKES_A_REPORT in said
    store.podman("rm", "--force", "--time=0", "reelport")


def test_the_fleet_in_containers_makes_a_report(store: ImageStore, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificate, image and `.env` as the page says: every service runs, and nginx answers by TLS."""
    *prepare, start, look = commands("several-machines")
    (to_folder,) = [line for line in prepare if line.startswith("cd ")]
    run(store, tree, *prepare)
    address = find_address()
    certificate = fill_in(tree, f"https://{address}", f"IP:{address}")
    project = Project("reelport-fleet", store.environment)
    with looked_after(store):
        run(store, tree, to_folder, start)
        project.wait_until_well()
        services = read_services()
        running = {name: len(project.list_service_containers(name)) for name in services}
        assert running == {name: each.get("deploy", {}).get("replicas", 1) for name, each in services.items()}
        assert MAKES_A_REPORT in run_until_well(store, tree, to_folder, look)
        assert ask("https://localhost/", certificate) == (404, "not_found")
        project.fill(START, START, 600)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        key = project.make_key("demo")
        with closing(Client(f"https://{address}", key.id, key.secret, ledger=tree / "ledger.db")) as client:
            query = ReportQuery.of(("VIEWS",), ("DAY",), START, START)
            client.reports.run(query, tree / "report.csv", deadline=PATIENCE)
    heads, *rows = (tree / "report.csv").read_text("utf-8").splitlines()
    assert ("DAY" in heads.upper(), len(rows)) == (True, 1)


def test_nothing_outlives_tests_that_were_killed(store: ImageStore) -> None:
    """A container would run for ever, and its image would take the disk: a process of its own removes both."""
    image = provide(PYTHON, read_base())
    assert store.folder.exists()
    with child(KILLED, str(ROOT), image) as tests:
        assert tests.stdout is not None
        folder, pid = tests.stdout.readline().split()
        assert is_alive(int(pid))
        tests.kill()
        assert until(lambda: not Path(folder).exists())
    assert not is_alive(int(pid))


def fill_in(tree: Path, url: str, *names: str) -> Path:
    """Fill in what the page leaves to its reader, beside the object store's certificate that it makes."""
    folder = tree / "certificates"
    folder.mkdir()
    for name in ("objects.pem", "objects.key"):
        (tree / name).rename(folder / name)
    certificate = make_certificate(folder, "localhost", *names)
    os.chown(folder / "privkey.pem", NGINX_USER, -1)
    variables = tree / "deploy" / "container" / ".env"
    given = {name: secrets.token_hex(32) for name in ("POSTGRES_PASSWORD", "REELPORT_SECRET", "OBJECTS_SECRET")}
    given |= {"REELPORT_PUBLIC_URL": url, "CERTIFICATES": str(folder)}
    text = variables.read_text("utf-8")
    for name, value in given.items():
        text, changed = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert changed == 1, name
    variables.write_text(text, "utf-8")
    return certificate


def find_address() -> str:
    """The address by which others reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(OUTSIDE)
        except OSError as error:
            pytest.skip(f"this machine has no address for others: {error}")
        return str(probe.getsockname()[0])


def is_open(address: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((address, port), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def ask(url: str, certificate: Path) -> tuple[int, str]:
    """Ask for a page that isn't there; the status, and which error the service told."""
    try:
        urllib.request.urlopen(url, timeout=PATIENCE, context=ssl.create_default_context(cafile=str(certificate)))
    except HTTPError as refused:
        with refused:
            return refused.code, str(json.load(refused)["error"])
    raise AssertionError(url)
