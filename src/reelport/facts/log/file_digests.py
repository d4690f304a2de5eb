"""Digests of a table's data files, which the commits that add them record.

They lie beside the commit's own record, for no other reader of Delta tables knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reelport.facts.log.data_file import DataFile
from reelport.facts.log.delta_log import TableVersion, read_commits
from reelport.storage.digests import FileDamaged, is_intact
from reelport.storage.durable import translate_io_errors

KEY = "reelportDigests"
"""The field of a commit's information that holds digests by path."""


_LAST: dict[tuple[Path, int, str], Mapping[str, str]] = {}
"""The digests that were read last, by the folder, the version, and the id that the table was given when it was made."""


def list_digests(files: Iterable[DataFile]) -> dict[str, str]:
    """List what a commit records of the files that it adds."""
    return {file.path: file.digest for file in files if file.digest is not None}


def parse_digests(info: Mapping[str, Any]) -> Mapping[str, str]:
    """Parse the digests of one commit's information, which older ones don't have."""
    found = info.get(KEY)
    return {str(path): str(digest) for path, digest in found.items()} if isinstance(found, dict) else {}


def read_digests(now: TableVersion) -> Mapping[str, str]:
    """Read the recorded digests of all files that this version or one before it has.

    Those of the last version asked for are kept: a change may ask for each file, and in an object store each commit is
    a request.
    """
    if now.delta is None:
        return {}
    key = now.folder.absolute(), now.version, str(now.delta.metadata().id)
    if (found := _LAST.get(key)) is None:
        found = {path: digest for info in read_commits(now) for path, digest in parse_digests(info).items()}
        _LAST.clear()
        _LAST[key] = found
    return found


def require_intact(now: TableVersion, files: Iterable[DataFile], digests: Mapping[str, str] | None = None) -> None:
    """Raise FileDamaged where the bytes of one of the files are not those that were written.

    StorageError when one can't be read. A copy of an object store's file that has rotted on this machine is fetched
    again. Whatever writes files anew calls it before it reads them: the new ones would carry damage on under a digest
    that proves it. Give `digests` where they have been read already.
    """
    known = read_digests(now) if digests is None else digests
    for file in files:
        if (digest := known.get(file.path)) is not None:
            path = now.path(file)
            with translate_io_errors(path):
                if not is_intact(path, digest) and not is_intact(now.store.fetch_again(file.path), digest):
                    raise FileDamaged(f"{path}: its bytes are not those that were written; run reelport verify")
