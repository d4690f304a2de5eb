"""A Spark for tests, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deploy.fleet.spark_cluster import SparkCluster, find_spark


@contextmanager
def running_cluster(
    folder: Path, *, quick: bool = True, workers: tuple[str, ...] = ("one", "two")
) -> Iterator[SparkCluster]:
    """A cluster for the block; without Java or Spark what needs it is skipped."""
    if (home := find_spark()) is None:
        pytest.skip(
            "Spark is not here: make spark" if shutil.which("java") else "Java is not installed: Spark runs in it"
        )
    cluster = SparkCluster(home, folder, quick, workers)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
