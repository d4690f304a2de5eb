"""The fleet of the compose file, run by podman: its parts can be killed, and each is started again by its policy."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import yaml
from deploy.containers.images import PYTHON, provide, read_base
from deploy.containers.machine import require_ports
from deploy.containers.podman import build_image, podman
from deploy.fleet.drill import COUNT
from deploy.fleet.part import READY_SECONDS, FleetError

from reelport.server.access.keys import NewKey
from reelport.server.state.database import StateUnavailable

TREE = Path(__file__).parents[2]
FOLDER = TREE / "deploy" / "container"
COMPOSE = FOLDER / "compose.fleet.yml"
_PROJECT, _IMAGE = "reelport-drill", "localhost/reelport:drill"
_ASKED_BY = "api-2"
"""The container in which commands run: a drill leaves it alone."""
_VICTIMS = ("worker", "api-1", "spark-worker", "nginx", "worker-spark", "spark-master", "postgresql")
"""Not the object store, whose stand-in keeps in memory what it holds."""
_CERTIFICATES = (("localhost", "fullchain.pem", "privkey.pem"), ("objects", "objects.pem", "objects.key"))
_NGINX_USER = 101
_SYSTEMD = Path("/run/systemd/system")
_POLL_SECONDS, _HEALTH_SECONDS = 0.5, 2.0


@dataclass
class Container:
    """A container, as a drill's victim."""

    name: str
    id: str
    _killed: int = 0

    def kill(self) -> None:
        """Kill its first process, as a lack of memory does: nobody has told the engine to stop it."""
        process: int = self._read_state()["Pid"]
        if process == 0:  # to `kill` this is the drill itself, with all around it
            raise FleetError(f"{self.name} doesn't run, so it can't be killed")
        os.kill(process, signal.SIGKILL)
        self._killed = process

    def start(self) -> None:
        """Wait until the engine has started it again, and it is well where that is looked at."""
        end = time.monotonic() + READY_SECONDS
        while not _is_well(state := self._read_state(), self._killed):
            if time.monotonic() > end:
                told = f"{state['Status']}, exit code {state['ExitCode']} {state.get('Error', '')}".strip()
                raise FleetError(f"{self.name} wasn't running and well within {READY_SECONDS:.0f} seconds: {told}")
            time.sleep(_POLL_SECONDS)

    def _read_state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(podman("inspect", self.id, "--format", "{{json .State}}"))
        return state


class ContainerFleet:
    """Runs the compose file under a project's name of its own; containers and volumes are deleted at the end."""

    url = "https://localhost"

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.folder = Path(tempfile.mkdtemp(prefix="reelport-containers-"))
        self.certificate = self.folder / "certificates" / "fullchain.pem"
        self.images: dict[str, str] = {}
        self._ended = threading.Event()
        self._doctor = threading.Thread(target=self._check_health, name="health")

    def fill(self, start: date, end: date, rows: int) -> None:
        """Load sample facts of these days, for the organizations `demo` and `rival`."""
        self._reelport("sample", "--start", str(start), "--end", str(end), "--rows", str(rows))

    def make_key(self, organization: str) -> NewKey:
        """Make a private key of an organization; StateUnavailable while PostgreSQL is away."""
        words = ("key", "create", "--org", organization, "--permissions", "create_reports,manage_reports", "--json")
        try:
            made = json.loads(self._reelport(*words))
        except FleetError as error:
            raise StateUnavailable(str(error)) from error
        return NewKey(made["id"], made["secret"])

    def count_reports(self) -> tuple[int, int, int]:
        """Count the reports that are finished, all of them, and the jobs."""
        words = ("psql", "--username", "reelport", "--tuples-only", "--no-align", "--command", COUNT)
        finished, reports, jobs = podman("exec", self._find("postgresql"), *words).split("|")
        return int(finished), int(reports), int(jobs)

    @property
    def victims(self) -> Sequence[Container]:
        """One of each part."""
        return [Container(service, self._find(service)) for service in _VICTIMS]

    def __enter__(self) -> Self:
        try:
            if not self._list():  # else they are a killed drill's, which have the ports
                require_ports(_read_ports())
            self._prepare()
            self._compose("down", "--volumes")
            if not _SYSTEMD.exists():
                self._doctor.start()
            self._compose("up", "--detach", "--no-build")
            for container in self._list():
                Container(podman("inspect", container, "--format", "{{.Name}}"), container).start()
        except BaseException:  # a Ctrl-C too must leave no container behind; it is raised again
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def _variables(self) -> Path:
        return self.folder / "drill.env"

    @property
    def _choice(self) -> Path:
        return self.folder / "images.yml"

    def _prepare(self) -> None:
        """Provide the images, build Reelport's, make certificates, and write what compose reads besides its file."""
        for service, name in _read_images(_read_services()).items():
            self.images[service] = _IMAGE if name is None else provide(service.partition("-")[0], name)
        base = provide(PYTHON, read_base())
        build_image(_IMAGE, FOLDER / "Containerfile", TREE, [f"PYTHON={base}", "EXTRAS=s3 spark"])
        self._make_certificates()
        variables = {
            "POSTGRES_PASSWORD": secrets.token_hex(16),
            "REELPORT_SECRET": secrets.token_hex(32),
            "OBJECTS_SECRET": secrets.token_hex(16),
            "REELPORT_PUBLIC_URL": self.url,
            "CERTIFICATES": str(self.certificate.parent),
            "REELPORT_SPARK_FROM_ROWS": "0",
        }
        self._variables.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        chosen = {"services": {service: {"image": image} for service, image in self.images.items()}}
        self._choice.write_text(yaml.safe_dump(chosen))
        self._tell(f"images: {', '.join(sorted(set(self.images.values())))}")

    def _end(self) -> None:
        try:
            if self._choice.exists():
                self._compose("down", "--volumes")
        finally:
            self._ended.set()
            if self._doctor.is_alive():
                self._doctor.join()
            shutil.rmtree(self.folder)

    def _compose(self, *words: str) -> None:
        given = ("--project-name", _PROJECT, "--env-file", str(self._variables))
        files = ("--file", COMPOSE.name, "--file", str(self._choice))
        # In the file's own folder: podman-compose 1.3 finds no file of another one by a relative path.
        podman("compose", *given, *files, *words, folder=FOLDER)

    def _reelport(self, *words: str) -> str:
        return podman("exec", self._find(_ASKED_BY), "reelport", *words)

    def _find(self, service: str) -> str:
        found = self._list(f"--filter=label=com.docker.compose.service={service}")
        if not found:
            raise FleetError(f"There is no container of {service}.")
        return found[0]

    def _list(self, *filters: str) -> list[str]:
        project = f"--filter=label=com.docker.compose.project={_PROJECT}"
        return podman("ps", "--all", "--quiet", project, *filters).split()

    def _check_health(self) -> None:
        """Do what podman has a timer of systemd do."""
        while not self._ended.wait(_HEALTH_SECONDS):
            with suppress(FleetError):  # containers come and go
                for container in self._list():
                    with suppress(FleetError):  # what isn't well, has no check, or has just ended
                        podman("healthcheck", "run", container)

    def _make_certificates(self) -> None:
        folder = self.certificate.parent
        folder.mkdir()
        for name, certificate, key in _CERTIFICATES:
            words = ["-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:FALSE"]
            words += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate]
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *words]
            subprocess.run(command, cwd=folder, capture_output=True, check=True)
        self.folder.chmod(0o755)
        os.chown(folder / "privkey.pem", _NGINX_USER, -1)


def _is_well(state: Mapping[str, Any], killed: int) -> bool:
    """Whether a container runs by another process than the killed one, and is well where that is looked at."""
    health = (state.get("Health") or {}).get("Status") or "healthy"
    return state["Status"] == "running" and state["Pid"] not in {0, killed} and health in {"healthy", "reset"}


def _read_services() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    return found


def _read_ports() -> list[int]:
    """Read off which ports of this machine the services listen on."""
    return [int(port.partition(":")[0]) for each in _read_services().values() for port in each.get("ports", ())]


def _read_images(services: Mapping[str, Any]) -> dict[str, str | None]:
    """Read off which image each service has; None for Reelport's own."""
    return {name: None if "build" in each else each["image"] for name, each in services.items()}
