"""A worker logs when a table makes it load the Delta library: it then takes more memory than was planned."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs
from tests.facts.log.small_log import load_days

from reelport.facts.log.log_files import LOG_FOLDER
from reelport.facts.log.snapshot import list_by_library
from reelport.facts.tables import PLAYS
from reelport.server.queue.table_files import list_table_files


def test_a_table_that_the_library_reads_is_logged(tmp_path: Path) -> None:
    """With the reason; a log as Reelport writes it is read without a word."""
    load_days(tmp_path, PLAYS, "a", [1])
    folder = tmp_path / PLAYS.name
    with capture_logs() as lines:
        plain = list_table_files(folder, PLAYS, 0)
    assert lines == []
    (folder / LOG_FOLDER / f"{0:020}.crc").touch()
    with capture_logs() as lines:
        assert list_table_files(folder, PLAYS, 0) == plain == list_by_library(folder, PLAYS, 0)
    (line,) = lines
    assert (line["table"], line["version"], line["log_level"]) == ("plays", 0, "info")
    assert "crc" in line["reason"]
