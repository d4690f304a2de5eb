"""Checks that the tables are those of this service, and that none is missing."""

from __future__ import annotations

from collections.abc import Iterator

from reelport.facts.log.snapshot import ABSENT, newest_versions
from reelport.facts.log.table_marks import identify_tables
from reelport.server.doctor.data_directory import open_state
from reelport.server.settings import Settings
from reelport.server.state.own_tables import read_tables_identity
from reelport.server.state.revisions import REVISION


def check_tables(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check whose they are; StorageError where they are another's, or one is missing."""
    root = settings.facts_root
    with open_state(settings) as (db, revision):
        known = None if db is None or revision != REVISION else read_tables_identity(db)
    identify_tables(settings.data, root, known=known)
    there = [name for name, version in newest_versions(root).items() if version != ABSENT]
    yield True, f"These are there, and known: {', '.join(there)}." if there else "Nothing is loaded yet."
