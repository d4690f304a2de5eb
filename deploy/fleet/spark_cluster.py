"""A real Spark on loopback: a standalone master, two workers and a Connect server, from the jars of pyspark."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from deploy.fleet.part import READY_SECONDS, FleetError
from deploy.fleet.programs import find_port

_HERE = Path(__file__).parents[2] / ".spark"
"""Where `make spark` unpacks it."""
_MASTER, _WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"
_SUBMIT, _CONNECT = "org.apache.spark.deploy.SparkSubmit", "org.apache.spark.sql.connect.service.SparkConnectServer"
_SCALA = "2.13"
_OPENED = (
    "lang",
    "lang.invoke",
    "lang.reflect",
    "io",
    "net",
    "nio",
    "util",
    "util.concurrent",
    "util.concurrent.atomic",
)
_POLL_SECONDS = 0.05
_QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_JAVA = [
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
    *(
        f"--add-opens=java.base/sun.{package}=ALL-UNNAMED"
        for package in ("nio.ch", "nio.cs", "security.action", "util.calendar")
    ),
]
_CONF = {
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    # Settings of a cluster that isn't ours alone: sessions of ours must not go by them.
    "spark.sql.session.timeZone": "America/New_York",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.files.ignoreMissingFiles": "true",
}


@dataclass
class SparkCluster:
    """The processes of a running Spark, and the ports that it listens on.

    Made for a quick start, or to be measured: with all that Java's compiler does. Without workers the Connect server
    computes by itself, on two threads: that is one process of Java instead of six.
    """

    home: Path
    folder: Path
    quick: bool = True
    workers: tuple[str, ...] = ("one", "two")
    master: int = field(default_factory=find_port)
    connect: int = field(default_factory=find_port)
    pages: int = field(default_factory=find_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where its Connect server listens."""
        return f"sc://127.0.0.1:{self.connect}"

    def start(self) -> None:
        """Start all of it, and wait until each worker has an executor that is ready."""
        if self.workers:
            self._run("master", 256, _MASTER, "--host", "127.0.0.1", "--port", str(self.master), "--webui-port", "0")
            self._wait("master", lambda: is_open(self.master))
        for name in self.workers:
            self.start_worker(name)
        self.start_connect()

    def start_worker(self, name: str) -> None:
        """Start a worker with one core."""
        size = ("--cores", "1", "--memory", "600m", "-d", str(self.folder / name))
        self._run(
            name, 128, _WORKER, "--host", "127.0.0.1", "--webui-port", "0", *size, f"spark://127.0.0.1:{self.master}"
        )

    def start_connect(self) -> None:
        """Start the Connect server, and wait until it has its executors."""
        conf = _CONF | {"spark.connect.grpc.binding.port": str(self.connect), "spark.ui.port": str(self.pages)}
        conf["spark.executor.extraJavaOptions"] = " ".join(_QUICK_START if self.quick else ())
        settings = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
        master = f"spark://127.0.0.1:{self.master}" if self.workers else "local[2]"
        words = ("--master", master, "--class", _CONNECT, *settings, "spark-internal")
        self._run("connect", 768, _SUBMIT, *words)
        self._wait("connect", lambda: is_open(self.connect) and self.executors() == len(self.workers))

    def kill(self, name: str) -> None:
        """Kill a process with all that it started, by SIGKILL."""
        process = self.processes.pop(name)
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for each in started:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait()

    def stop(self) -> None:
        """Kill all of it."""
        for name in tuple(self.processes):
            self.kill(name)

    def executors(self) -> int:
        """How many executors are alive, the driver left out."""
        return sum(each["id"] != "driver" and each["isActive"] for each in self.ask("executors"))

    def running_tasks(self) -> int:
        """How many tasks run."""
        return sum(each["activeTasks"] for each in self.ask("executors"))

    def ask(self, what: str) -> list[dict[str, Any]]:
        """Ask Spark's own pages about the application; nothing while they don't answer."""
        with suppress(OSError, ValueError):
            root = f"http://127.0.0.1:{self.pages}/api/v1/applications"
            return list(_fetch(f"{root}/{_fetch(root)[0]['id']}/{what}"))
        return []

    def cpu_seconds(self) -> float:
        """The seconds of CPU that all of it has taken so far."""
        roots = [psutil.Process(process.pid) for process in self.processes.values()]
        times = [each.cpu_times() for root in roots for each in (root, *root.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def log(self, name: str) -> str:
        """The last lines that a process wrote."""
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        end = time.monotonic() + READY_SECONDS
        while not is_ready():
            if self.processes[name].poll() is not None:
                raise FleetError(f"Spark's {name} ended before it was ready: {self.log(name)}")
            if time.monotonic() > end:
                raise FleetError(f"Spark's {name} wasn't ready within {READY_SECONDS:.0f} seconds: {self.log(name)}")
            time.sleep(_POLL_SECONDS)

    def _run(self, name: str, memory: int, main: str, *words: str) -> None:
        environment = os.environ | {
            "SPARK_HOME": str(self.home),
            "SPARK_SCALA_VERSION": _SCALA,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "LC_ALL": "C.UTF-8",  # else Java finds no file whose name is not ASCII
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
        }
        options = (*_QUICK_START, *_JAVA) if self.quick else _JAVA
        command = ["java", f"-Xmx{memory}m", *options, "-cp", f"{self.home}/jars/*", main, *words]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log)


def is_open(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_spark() -> Path | None:
    """Find a Spark that can be started: below SPARK_HOME, or where `make spark` unpacks it. None without it or Java."""
    home = Path(os.environ.get("SPARK_HOME") or _HERE)
    return home if shutil.which("java") and list(home.glob("jars/spark-connect_*.jar")) else None


def _fetch(url: str) -> Any:  # noqa: ANN401 - JSON
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - http
        return json.load(answer)
