"""What the tests of Spark share: an aggregator on the one cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.fleet.spark_cluster import SparkCluster

from reelport.engine.spark.aggregator import SparkAggregator


@pytest.fixture
def aggregator(cluster: SparkCluster, tmp_path: Path) -> Iterator[SparkAggregator]:
    with SparkAggregator(cluster.address, "test", tmp_path / "spool", threading.Event()) as aggregator:
        yield aggregator
