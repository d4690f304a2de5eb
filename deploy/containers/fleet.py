"""The fleet of the compose file, run by podman: its parts can be killed, and each is started again by its policy."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Self

import yaml
from deploy.containers.images import PYTHON, provide, read_base
from deploy.containers.machine import require_ports
from deploy.containers.podman import build_image, podman
from deploy.containers.project import Container, HealthChecks, Project
from deploy.fleet.drill import COUNT

from reelport.server.access.keys import NewKey

TREE = Path(__file__).parents[2]
FOLDER = TREE / "deploy" / "container"
COMPOSE = FOLDER / "compose.fleet.yml"
_PROJECT, _IMAGE = "reelport-drill", "localhost/reelport:drill"
_VICTIMS = ("worker", "api-1", "spark-worker", "nginx", "worker-spark", "spark-master", "postgresql")
"""Not the object store, whose stand-in keeps in memory what it holds."""
_CERTIFICATES = (("localhost", "fullchain.pem", "privkey.pem"), ("objects", "objects.pem", "objects.key"))
NGINX_USER = 101
"""Who reads nginx's certificate and key."""


class ContainerFleet:
    """Runs the compose file under a project's name of its own; containers and volumes are deleted at the end."""

    url = "https://localhost"

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.folder = Path(tempfile.mkdtemp(prefix="reelport-containers-"))
        self.certificate = self.folder / "certificates" / "fullchain.pem"
        self.images: dict[str, str] = {}
        self._project = Project(_PROJECT)
        self._doctor = HealthChecks(self._project.list_containers)

    def fill(self, start: date, end: date, rows: int) -> None:
        """Load sample facts of these days, for the organizations `demo` and `rival`."""
        self._project.fill(start, end, rows)

    def make_key(self, organization: str) -> NewKey:
        """Make a private key of an organization; StateUnavailable while PostgreSQL is away."""
        return self._project.make_key(organization)

    def count_reports(self) -> tuple[int, int, int]:
        """Count the reports that are finished, all of them, and the jobs."""
        words = ("psql", "--username", "reelport", "--tuples-only", "--no-align", "--command", COUNT)
        finished, reports, jobs = podman("exec", self._project.find("postgresql"), *words).split("|")
        return int(finished), int(reports), int(jobs)

    @property
    def victims(self) -> Sequence[Container]:
        """One of each part."""
        return [Container(service, self._project.find(service)) for service in _VICTIMS]

    def __enter__(self) -> Self:
        try:
            if not self._project.list_containers():  # else they are a killed drill's, which have the ports
                require_ports(read_ports())
            self._prepare()
            self._compose("down", "--volumes")
            self._doctor.start()
            self._compose("up", "--detach", "--no-build")
            self._project.wait_until_well()
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
        provided = provide_images()
        named = _read_images(read_services())
        self.images = {service: provided.get(name or "", _IMAGE) for service, name in named.items()}
        arguments = [f"PYTHON={provided[read_base()]}", "EXTRAS=s3 spark"]
        build_image(_IMAGE, FOLDER / "Containerfile", TREE, arguments)
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
            self._doctor.end()
            shutil.rmtree(self.folder)

    def _compose(self, *words: str) -> None:
        given = ("--project-name", _PROJECT, "--env-file", str(self._variables))
        files = ("--file", COMPOSE.name, "--file", str(self._choice))
        # In the file's own folder: podman-compose 1.3 finds no file of another one by a relative path.
        podman("compose", *given, *files, *words, folder=FOLDER)

    def _make_certificates(self) -> None:
        folder = self.certificate.parent
        folder.mkdir()
        for name, certificate, key in _CERTIFICATES:
            words = ["-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:FALSE"]
            words += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate]
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *words]
            subprocess.run(command, cwd=folder, capture_output=True, check=True)
        self.folder.chmod(0o755)
        os.chown(folder / "privkey.pem", NGINX_USER, -1)


def provide_images() -> dict[str, str]:
    """Provide each image that the compose file and the Containerfile name; what it is called here, by that name."""
    named = {name: service.partition("-")[0] for service, name in _read_images(read_services()).items() if name}
    return {name: provide(part, name) for name, part in {**named, read_base(): PYTHON}.items()}


def read_services() -> Mapping[str, Any]:
    """Read the services of the compose file."""
    found: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    return found


def read_ports() -> list[int]:
    """Read off which ports of this machine the services listen on."""
    return [int(port.partition(":")[0]) for each in read_services().values() for port in each.get("ports", ())]


def _read_images(services: Mapping[str, Any]) -> dict[str, str | None]:
    """Read off which image each service has; None for Reelport's own."""
    return {name: None if "build" in each else each["image"] for name, each in services.items()}
