"""The fleet: which parts there are, in which order they start, and the settings that they share."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from deploy.fleet.drill import COUNT, Victim
from deploy.fleet.part import Part
from deploy.fleet.programs import (
    BUCKET,
    HOST,
    answers_http,
    find_port,
    make_gateway,
    make_nginx,
    make_object_store,
    make_postgresql,
)
from deploy.fleet.spark_cluster import SparkCluster

from reelport.server import sample_organizations
from reelport.server.access import keys
from reelport.server.access.audit_log import Actor
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.access.keys import KeyDetails, NewKey
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connected
from reelport.server.state.secret_fingerprint import require_same_secret

APIS, WORKERS = 2, 3
_REELPORT = [sys.executable, "-m", "reelport"]


@dataclass
class _SparkWorker:
    cluster: SparkCluster
    name: str = "worker-of-spark"

    def kill(self) -> None:
        self.cluster.kill("one")

    def start(self) -> None:
        self.cluster.start_worker("one")


class Fleet:
    """Runs all parts below a folder of its own, which is deleted at the end; the block runs while they answer."""

    def __init__(self, spark: Path | None) -> None:
        """Make the parts. `spark` is where one lies: the last worker then has it aggregate all of its reports."""
        # Readable for PostgreSQL's own user, who has a folder in it.
        self.folder = Path(tempfile.mkdtemp(prefix="reelport-fleet-"))
        self.folder.chmod(0o755)
        self.postgresql, database = make_postgresql(self.folder)
        self.object_store, variables = make_object_store(self.folder)
        self.gateway, address = make_gateway(self.folder, variables["AWS_ENDPOINT_URL"])
        os.environ.update(variables, AWS_ENDPOINT_URL=address)
        ports = [find_port() for _ in range(APIS)]
        self.nginx, port, self.certificate = make_nginx(self.folder, ports)
        self.url = f"https://localhost:{port}"
        self.settings: Settings = read_settings(
            data=self.folder / "data",
            database_url=database,
            secret=secrets.token_hex(32),
            public_url=self.url,
            files_url=f"s3://{BUCKET}/files",
            workers=0,
        )
        (self.folder / "spark").mkdir()
        self.spark = SparkCluster(spark, self.folder / "spark") if spark else None
        self.apis = [self._make_api(number, port) for number, port in enumerate(ports, 1)]
        self.workers = [self._make_worker(number) for number in range(1, WORKERS + 1)]

    @property
    def parts(self) -> list[Part]:
        """All parts, in the order in which they start."""
        return [self.postgresql, self.object_store, self.gateway, *self.apis, *self.workers, self.nginx]

    @property
    def victims(self) -> Sequence[Victim]:
        """One of each part, in the order in which a drill kills them."""
        of_spark: list[Victim] = [_SparkWorker(self.spark)] if self.spark else []
        return [self.workers[0], self.apis[0], *of_spark, self.nginx, self.gateway, self.postgresql]

    def count_reports(self) -> tuple[int, int, int]:
        """Count the reports that are finished, all of them, and the jobs."""
        with connected(self.settings) as db, db.connect() as connection:
            finished, reports, jobs = connection.execute(sa.text(COUNT)).one()
        return finished, reports, jobs

    def fill(self, start: date, end: date, rows: int) -> None:
        """Load sample facts of these days, for the organizations `demo` and `rival`."""
        sample_organizations.fill(self.settings, start, end, rows)

    def make_key(self, organization: str) -> NewKey:
        """Make a private key of an organization, with all permissions."""
        with connected(self.settings) as db:
            return keys.create_key(
                db,
                require_same_secret(db, self.settings),
                organization,
                tuple(REPORT_SCOPES),
                datetime.now(UTC),
                details=KeyDetails(actor=Actor.of_command()),
            )

    def __enter__(self) -> Self:
        try:
            if self.spark:
                self.spark.start()
            for part in self.parts:
                part.start()
        except BaseException:  # a Ctrl-C too must leave no process behind; it is raised again
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all parts, the last one first, and delete the folder."""
        for part in reversed(self.parts):
            part.stop()
        if self.spark:
            self.spark.stop()
        shutil.rmtree(self.folder)

    def _make_api(self, number: int, port: int) -> Part:
        def is_ready() -> bool:
            return answers_http(f"http://{HOST}:{port}/health/ready")

        environment = {**self.settings.environment(), "REELPORT_PORT": str(port)}
        return Part(f"api-{number}", [*_REELPORT, "serve"], self.folder, is_ready, environment)

    def _make_worker(self, number: int) -> Part:
        # Whether workers are ready, the service as a whole tells.
        environment = {**self.settings.environment(), "REELPORT_WORKERS": "1"}
        if self.spark and number == WORKERS:
            environment |= {"REELPORT_ENGINE": self.spark.address, "REELPORT_SPARK_FROM_ROWS": "0"}
        return Part(f"worker-{number}", [*_REELPORT, "worker"], self.folder, lambda: True, environment)
