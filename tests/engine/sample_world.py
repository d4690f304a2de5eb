"""The world of the fixed facts, which are loaded once for all processes of a run."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from tests.once import make_once

from reelport.engine.duckdb.engine import QueryEngine
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import TABLES

from . import sample
from .world import World, load_tables


def open_sample(temporary: pytest.TempPathFactory, engine: QueryEngine) -> World:
    """The fixed facts, for tests that only read them."""
    root = make_once(temporary, "world", lambda root: load_tables(sample.tables(), root))
    return World(sample.tables(), pin(root, TABLES), engine, temporary.mktemp("world"))


def copy_sample(temporary: pytest.TempPathFactory, engine: QueryEngine) -> World:
    """The same in a root of the caller's own."""
    world = open_sample(temporary, engine)
    root = world.folder / "facts"
    shutil.copytree(world.snapshot.root, root)
    return replace(world, snapshot=pin(root, TABLES))
