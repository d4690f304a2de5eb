"""What the tests of logs share: a log of plays, copied for each test that writes into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.facts.log.small_log import SmallLog


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SmallLog:
    """A log of plays that nobody writes into: its newest version is 3, its checkpoint is of version 2."""
    return SmallLog.make(tmp_path_factory.mktemp("template") / "facts")


@pytest.fixture
def log(template: SmallLog, tmp_path: Path) -> SmallLog:
    """A copy of the template."""
    return template.copy(tmp_path / "facts")
