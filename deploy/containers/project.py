"""Containers of one project of compose: which there are, whether they are well, and commands in them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from deploy.containers.podman import podman
from deploy.fleet.part import READY_SECONDS, FleetError

from reelport.server.access.keys import NewKey
from reelport.server.state.database import StateUnavailable

_ASKED_BY = "api-2"
"""The container in which commands run: a drill leaves it alone."""
_SYSTEMD = Path("/run/systemd/system")
_POLL_SECONDS, _HEALTH_SECONDS = 0.5, 2.0


@dataclass
class Container:
    """A container, as a drill's victim."""

    name: str
    id: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Names the store that it is in, where that isn't this machine's."""
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
        state: dict[str, Any] = json.loads(
            podman("inspect", self.id, "--format", "{{json .State}}", environment=self.environment)
        )
        return state


@dataclass(frozen=True)
class Project:
    """A project of compose that runs, in the store that the environment names, or in this machine's."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def list_containers(self, *filters: str) -> list[str]:
        """List the ids of its containers, also of those that have ended."""
        project = f"--filter=label=com.docker.compose.project={self.name}"
        return self._podman("ps", "--all", "--quiet", project, *filters).split()

    def list_service_containers(self, service: str) -> list[str]:
        """List the ids of a service's containers."""
        return self.list_containers(f"--filter=label=com.docker.compose.service={service}")

    def find(self, service: str) -> str:
        """Find the container of a service; FleetError where there is none."""
        found = self.list_service_containers(service)
        if not found:
            raise FleetError(f"There is no container of {service}.")
        return found[0]

    def wait_until_well(self) -> None:
        """Wait until each container runs and is well where that is looked at; FleetError when one isn't in time."""
        for container in self.list_containers():
            name = self._podman("inspect", container, "--format", "{{.Name}}")
            Container(name, container, self.environment).start()

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

    def _reelport(self, *words: str) -> str:
        return self._podman("exec", self.find(_ASKED_BY), "reelport", *words)

    def _podman(self, *words: str) -> str:
        return podman(*words, environment=self.environment)


class HealthChecks:
    """Runs the health checks of containers, from `start` to `end`; where systemd runs, its timers do that."""

    def __init__(
        self, list_containers: Callable[[], Sequence[str]], environment: Mapping[str, str] | None = None
    ) -> None:
        self._list_containers = list_containers
        self._environment = environment or {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._check, name="health")

    def start(self) -> None:
        """Begin to look after the containers."""
        if not _SYSTEMD.exists():
            self._thread.start()

    def end(self) -> None:
        """Stop that, also where it hasn't begun."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _check(self) -> None:
        while not self._ended.wait(_HEALTH_SECONDS):
            with suppress(FleetError):  # containers come and go
                for container in self._list_containers():
                    with suppress(FleetError):  # what isn't well, has no check, or has just ended
                        podman("healthcheck", "run", container, environment=self._environment)


def _is_well(state: Mapping[str, Any], killed: int) -> bool:
    """Whether a container runs by another process than the killed one, and is well where that is looked at."""
    health = (state.get("Health") or {}).get("Status") or "healthy"
    return state["Status"] == "running" and state["Pid"] not in {0, killed} and health in {"healthy", "reset"}
