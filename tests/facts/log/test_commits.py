"""A commit makes its table where the table lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.facts.conftest import remote_tables

from reelport.facts.log.log_files import LOG_FOLDER, attach_tables
from reelport.facts.tables import EARNINGS

from .small_log import load_days


@pytest.mark.usefixtures("object_server")
def test_a_table_in_an_object_store_leaves_no_log_on_this_machine(tmp_path: Path) -> None:
    """Whoever reads the folder would take it for the table."""
    here, there = tmp_path / "here" / "facts", tmp_path / "there" / "facts"
    attach_tables(there, remote_tables(there))
    for root in here, there:
        load_days(root, EARNINGS, "a", [1])
    assert (here / EARNINGS.name / LOG_FOLDER).is_dir()
    assert not (there / EARNINGS.name).exists()
