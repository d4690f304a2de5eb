"""What the tests of numbers share: one warm engine and the fixed facts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reelport.engine.run import Engine

from . import sample
from .world import World, loaded


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine("1GiB", 2, tmp_path_factory.mktemp("spill")) as engine:
        yield engine


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> World:
    return loaded(sample.tables(), tmp_path_factory.mktemp("world"), engine)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name a careless reader would take for a partition or a pattern."""
    return tmp_path / "owner_channel_id=c-rival" / "a*b?[c]' é"
