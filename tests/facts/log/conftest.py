"""What the tests of logs share: a log of plays, copied for each test that writes into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.facts.log.small_log import SmallLog


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> SmallLog:
    return SmallLog.make(tmp_path_factory.mktemp("template") / "facts")


@pytest.fixture
def log(_template: SmallLog, tmp_path: Path) -> SmallLog:
    """A log of plays, whose newest version is 3 and whose checkpoint is of version 2."""
    return _template.copy(tmp_path / "facts")
