"""What the tests of file stores share: which store a test of every store has in `make test`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cases import keep_one_kind


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave each test of every store one of them."""
    keep_one_kind(items, Path(__file__).parent, "kind")
