"""A sandbox: sample facts with organizations that may read theirs."""

from pathlib import Path

import pytest
from tests.sandboxes import END, ROWS, START, begin_sandbox, sample_channels

from reelport.errors import UsageError
from reelport.server.access import organizations
from reelport.server.sandbox import fill
from reelport.server.settings import Settings, read_settings
from reelport.server.state.database import connect


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(data=tmp_path / "data")


def readable(settings: Settings) -> dict[str, frozenset[str]]:
    db = connect(settings)
    try:
        return {
            found.name: organizations.list_readable_channels(db, found.id)
            for found in organizations.list_organizations(db)
        }
    finally:
        db.dispose()


def test_organizations_may_read_their_sample_channels(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`demo` and `rival` read exactly their own channels, and no other organization is there."""
    begin_sandbox(settings, tmp_path_factory)
    assert readable(settings) == {name: frozenset(ids) for name, ids in sample_channels().items()}


@pytest.mark.long
def test_a_sandbox_that_is_filled_again_stays_as_it_is(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same facts, which `tests/facts/sample` holds to a second call too, and the same organizations."""
    begin_sandbox(settings, tmp_path_factory)
    assert not fill(settings, START, END, ROWS).changed
    assert readable(settings) == {name: frozenset(ids) for name, ids in sample_channels().items()}


def test_a_refused_sample_gives_nobody_access(settings: Settings) -> None:
    """When the sample is refused, no organization is made."""
    with pytest.raises(UsageError):
        fill(settings, END, START, ROWS)
    assert readable(settings) == {}
