"""The dlt source, loaded into DuckDB by dlt itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dlt
import pytest

from reelport import Client
from reelport.sync.dlt import load
from reelport.testing import Vendor

from .vendors import START, TODAY, Numbers, asked, expected

SHEET = f"""
[defaults]
start = {START}
lookback = 3
window = 10
[reports.views]
metrics = ["VIEWS"]
dimensions = ["DAY"]
"""


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
def vendor(numbers: Numbers) -> Iterator[Vendor]:
    with Vendor(csv=numbers.csv) as vendor:
        yield vendor


@pytest.fixture
def client(vendor: Vendor, tmp_path: Path) -> Iterator[Client]:
    with Client(vendor.url, vendor.key, vendor.secret, ledger=tmp_path / "ledger.db") as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "reelport.toml"
    file.write_text(SHEET, "utf-8")
    return file


@pytest.fixture
def pipeline(tmp_path: Path) -> dlt.Pipeline:
    return made(tmp_path, "first")


def made(tmp_path: Path, name: str) -> dlt.Pipeline:
    """A pipeline with a working folder of its own, into the one file."""
    destination = dlt.destinations.duckdb(str(tmp_path / "partner.duckdb"))
    return dlt.pipeline("partner", str(tmp_path / name), destination=destination, dataset_name="reports")


def rows(pipeline: dlt.Pipeline, columns: str = "day, views") -> list[tuple[object, ...]]:
    with pipeline.sql_client() as sql:
        return [tuple(row) for row in sql.execute_sql(f"SELECT {columns} FROM views ORDER BY ALL") or ()]


def test_dlt_loads_windows_and_replaces_them(
    pipeline: dlt.Pipeline, client: Client, vendor: Vendor, numbers: Numbers, file: Path, tmp_path: Path
) -> None:
    """First all windows, a package each; then, by the state at the destination alone, what moved, vanished, emptied."""
    assert len(load(pipeline, file, client=client)) == 2
    assert asked(vendor) == ["20-11", "10-1"]
    assert rows(pipeline) == expected(numbers)
    numbers.changed[TODAY - timedelta(days=2)] = 5
    numbers.empty.add(TODAY - timedelta(days=3))
    elsewhere = made(tmp_path, "second")
    load(elsewhere, file, client=client)
    assert asked(vendor)[2:] == ["3-1"]
    assert rows(elsewhere) == expected(numbers)
    assert rows(elsewhere, "DISTINCT _deleted, _spec") == [(False, "views")]
