"""Digests of a table's data files, which the commits that add them record.

They lie beside the commit's own record, for no other reader of Delta tables knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reelport.errors import StorageError
from reelport.facts.log.delta_log import DataFile, TableVersion, read_commits
from reelport.storage.digests import is_intact
from reelport.storage.durable import translate_io_errors

KEY = "reelportDigests"
"""The field of a commit's information that holds digests by path."""


def list_digests(files: Iterable[DataFile]) -> dict[str, str]:
    """List what a commit records of the files that it adds."""
    return {file.path: file.digest for file in files if file.digest is not None}


def parse_digests(info: Mapping[str, Any]) -> Mapping[str, str]:
    """Parse the digests of one commit's information, which older ones don't have."""
    found = info.get(KEY)
    return {str(path): str(digest) for path, digest in found.items()} if isinstance(found, dict) else {}


def read_digests(now: TableVersion) -> Mapping[str, str]:
    """Read the recorded digests of all files that this version or one before it has."""
    return {path: digest for info in read_commits(now) for path, digest in parse_digests(info).items()}


def require_intact(now: TableVersion, files: Iterable[DataFile], digests: Mapping[str, str] | None = None) -> None:
    """Raise StorageError where the bytes of one of the files are not those that were written.

    Whatever writes files anew calls it first: the new ones would carry damage on under a digest that proves it. Give
    `digests` where they have been read already.
    """
    known = read_digests(now) if digests is None else digests
    for file in files:
        if (digest := known.get(file.path)) is not None:
            path = now.path(file)
            with translate_io_errors(path):
                if not is_intact(path, digest):
                    raise StorageError(f"{path}: its bytes are not those that were written; run reelport verify")
