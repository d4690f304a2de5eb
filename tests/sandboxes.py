"""A data directory filled with two months of sample facts: made once for all processes of a run, and copied."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from tests.migrated import begin_state
from tests.once import make_once

from reelport.facts.sample.sample import list_channels, open_world
from reelport.server.sample_organizations import fill
from reelport.server.settings import Settings, read_settings

START, END, ROWS = date(2026, 6, 1), date(2026, 7, 31), 3000


def begin_sandbox(settings: Settings, temporary: pytest.TempPathFactory) -> None:
    """Give these settings, whose data directory isn't there yet, sample facts and those who may read them."""
    shutil.copytree(make_once(temporary, "sandbox", _fill), settings.data)


def copy_facts(settings: Settings, temporary: pytest.TempPathFactory) -> None:
    """Give these settings the sample facts alone, whose folder isn't there yet."""
    made = make_once(temporary, "sandbox", _fill)
    shutil.copytree(read_settings(data=made).facts_root, settings.facts_root)


@cache
def sample_channels() -> dict[str, tuple[str, ...]]:
    """The ids of each organization's channels, which are the same in every sample."""
    with closing(open_world(1, START, START)) as world:
        return {name: tuple(channels.values()) for name, channels in list_channels(world).items()}


def _fill(data: Path) -> None:
    settings = read_settings(data=data, database_url="")
    begin_state(settings)
    assert fill(settings, START, END, ROWS).changed
