"""A vendor and a service, and a machine that speaks to each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from tests.fact_rows import make_plays
from tests.warm_service import Service

from reelport import ReportQuery
from reelport.testing import Channel, Vendor

from .machine import Partner, expected


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A vendor whose reports need two looks."""
    with Vendor(makes_after_looks=2, csv=lambda wire: expected(ReportQuery.from_wire(wire))) as vendor:
        yield vendor


@pytest.fixture
def guest(vendor: Vendor, tmp_path: Path) -> Partner:
    """A partner of the vendor."""
    return Partner(vendor.url, vendor.key, vendor.secret, tmp_path / "home")


def plays() -> pa.Table:
    """As many views a day as the vendor's: the day's number in the month."""
    return make_plays([(datetime(2026, 1, day, 5, tzinfo=UTC), day) for day in (1, 2)])


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A real service with plays of two days."""
    with Service() as service:
        service.organization("demo", [Channel("c1", "demo-news")])
        service.load("plays", plays())
        yield service


@pytest.fixture
def partner(service: Service, tmp_path: Path) -> Partner:
    """A partner of the service, with a key of its own."""
    key = service.key("demo")
    return Partner(service.url, key.id, key.secret, tmp_path / "home")
