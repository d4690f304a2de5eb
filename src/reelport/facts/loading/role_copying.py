"""Copies every data file by role that has no copies yet.

It commits nothing: a copy is named after its file, and reports that find none read the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reelport.facts.data_files.duckdb_session import open_workspace
from reelport.facts.data_files.role_sorting import copy_by_roles
from reelport.facts.defaults import MEMORY
from reelport.facts.log.commits import find_missing_columns
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.log_files import list_tables
from reelport.facts.log.remote_tables import locate_drafts
from reelport.facts.log.role_copies import list_roles
from reelport.storage.durable import make_folder, translate_io_errors
from reelport.storage.folder_lock import lock_folder
from reelport.storage.modes import private


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """How many copies of a table's files were written."""

    table: str
    copies: int


def copy_tables_by_roles(root: Path, *, table: str | None = None, memory: str = MEMORY) -> tuple[CopiedTable, ...]:
    """Write the copies that files of the tables lack.

    Raises StorageError, or NewerData where a table has columns that this version doesn't know: copies would lack
    them, and stay. Those written so far stay.
    """
    done = []
    for found in list_tables(root):
        if not list_roles(found) or table not in {None, found.name}:
            continue
        # Two at once would replace each other's copies while reports read them.
        with _lock_table(root / found.name), open_workspace(root, memory) as space:
            now = read_newest(root, found)
            find_missing_columns(now)
            if copies := copy_by_roles(space, now, now.files):
                done.append(CopiedTable(found.name, copies))
    return tuple(done)


@contextmanager
def _lock_table(folder: Path) -> Iterator[None]:
    """Let one process at a time copy the table; of an object store's, one of this machine.

    Nothing of such a table need lie here yet.
    """
    place = locate_drafts(folder)
    with translate_io_errors(place), private():
        make_folder(place)
    with translate_io_errors(place), lock_folder(place):
        yield
