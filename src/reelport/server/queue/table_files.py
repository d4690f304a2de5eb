"""Lists the files of tables for a worker, and logs where that takes the Delta library."""

from __future__ import annotations

from pathlib import Path

import structlog

from reelport.facts.log.data_file import DataFile
from reelport.facts.log.log_replay import list_files_at
from reelport.facts.tables import Table

_log = structlog.get_logger()


def list_table_files(folder: Path, table: Table, version: int) -> tuple[DataFile, ...]:
    """List the files of a version as `list_files_at` does; its lister for `pin`."""

    def tell(reason: str) -> None:
        _log.info("the Delta library reads a table's log", table=table.name, version=version, reason=reason)

    return list_files_at(folder, table, version, tell)
