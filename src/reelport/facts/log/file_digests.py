"""Digests of a table's data files, which the commits that add them record.

They lie beside the commit's own record, for no other reader of Delta tables knows them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reelport.facts.log.data_file import DataFile
from reelport.facts.log.delta_log import TableVersion, read_commits
from reelport.facts.log.log_files import choose_older
from reelport.storage.digests import FileDamaged, is_intact
from reelport.storage.durable import translate_io_errors

DIGESTS = "reelportDigests"
"""The field of a commit's information that holds digests by path."""


@dataclass(slots=True)
class _Known:
    """The newest digest of each path, by the commits of a table's version from `low` on."""

    low: int
    digests: dict[str, str] = field(default_factory=dict)


_LAST: dict[tuple[Path, int, str], _Known] = {}
"""What was read last, by the folder, the version, and the id that the table was given when it was made."""


def list_digests(files: Iterable[DataFile]) -> dict[str, str]:
    """List what a commit records of the files that it adds."""
    return {file.path: file.digest for file in files if file.digest is not None}


def parse_digests(info: Mapping[str, Any]) -> Mapping[str, str]:
    """Parse the digests of one commit's information, which older ones don't have."""
    found = info.get(DIGESTS)
    return {str(path): str(digest) for path, digest in found.items()} if isinstance(found, dict) else {}


def _read_digests(now: TableVersion, paths: AbstractSet[str]) -> Mapping[str, str]:
    """Read the recorded digests of these files, and perhaps those of others.

    They are files of this version or one before it. Commits are read from the newest back, until each file's digest is
    found. What the last version asked for has told is kept: a change may ask for each file, and in an object store each
    commit is a request.
    """
    if now.delta is None:
        return {}
    key = now.folder.absolute(), now.version, str(now.delta.metadata().id)
    if (known := _LAST.get(key)) is None:
        known = _Known(now.version + 1)
        _LAST.clear()
        _LAST[key] = known
    while known.low and not paths <= known.digests.keys():
        _read_on(now, known)
    return known.digests


def _read_on(now: TableVersion, known: _Known) -> None:
    """Read some more commits, those before the known ones."""
    low = choose_older(now.version, known.low)
    for info in read_commits(now, range(known.low - 1, low - 1, -1)):
        for path, digest in parse_digests(info).items():
            known.digests.setdefault(path, digest)
    known.low = low


def require_intact(now: TableVersion, files: Collection[DataFile]) -> None:
    """Raise FileDamaged where the bytes of one of the files are not those that were written.

    StorageError when one can't be read. A copy of an object store's file that has rotted on this machine is fetched
    again. Whatever writes files anew calls it before it reads them: the new ones would carry damage on under a digest
    that proves it.
    """
    known = _read_digests(now, {file.path for file in files})
    for file in files:
        if (digest := known.get(file.path)) is not None:
            path = now.path(file)
            with translate_io_errors(path):
                if not is_intact(path, digest) and not is_intact(now.store.fetch_again(file.path), digest):
                    raise FileDamaged(f"{path}: its bytes are not those that were written; run reelport verify")
