"""The manifest of a backup: what it holds, and what a restore checks beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reelport.errors import NewerData, StorageError, UsageError
from reelport.query import ReportQuery

FORMAT = 1
FACTS, FILES = STORES = ("facts", "files")
"""The stores that files are backed up from: the tables, and the finished reports."""
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of the archive: the SHA-256 in hex that it is named by, and its bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class BackedUpFile:
    """A file of the tables (`facts`) or a finished report (`files`).

    `tag` tells whether it was written again since.
    """

    store: str
    name: str
    tag: str
    content: Stored


@dataclass(frozen=True, slots=True)
class Probe:
    """A report that was made at the backup: the restored tables must give the same bytes."""

    query: ReportQuery
    channels: tuple[str, ...]
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole backup.

    `versions` are those of the tables; `fingerprint` is the secret's, None before the first key.
    """

    id: str
    made_at: str
    reelport: str
    revision: str
    database: str
    fingerprint: str | None
    versions: Mapping[str, int]
    state: Stored
    files: tuple[BackedUpFile, ...]
    probes: tuple[Probe, ...]

    @property
    def contents(self) -> frozenset[Stored]:
        """Every object that the backup needs."""
        return frozenset({self.state, *(file.content for file in self.files)})

    def to_json(self) -> bytes:
        """Write the manifest."""
        probes = [{**asdict(probe), "query": probe.query.to_wire()} for probe in self.probes]
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in {"files", "probes", "state"}}
        files = [asdict(file) for file in self.files]
        body = {"format": FORMAT, **fields, "state": asdict(self.state), "files": files, "probes": probes}
        return json.dumps(body, indent=1).encode() + b"\n"


def parse_manifest(text: bytes, place: str) -> Manifest:
    """Read a manifest. NewerData if a newer Reelport wrote it, StorageError if it is damaged."""
    try:
        body: dict[str, Any] = json.loads(text)
        if body.pop("format") > FORMAT:
            raise NewerData(f"{place} was written by a newer version of Reelport: restore it with that version.")
        body["state"] = _parse_stored(body["state"])
        body["files"] = _parse_files(body["files"])
        body["probes"] = tuple(map(_parse_probe, body["probes"]))
        return Manifest(**body)
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise StorageError(f"{place} is damaged, or no manifest of a backup.") from error


def is_digest(text: object) -> bool:
    """Whether a text is a SHA-256 in hex."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _parse_stored(body: Mapping[str, Any]) -> Stored:
    if not is_digest(body["sha256"]) or not isinstance(body["size"], int) or body["size"] < 0:
        raise ValueError(body)
    return Stored(**body)


def _parse_files(bodies: Iterable[Mapping[str, Any]]) -> tuple[BackedUpFile, ...]:
    """Read the files; one that is noted twice with the same content is one.

    Earlier releases noted a file so that was uploaded and still a draft.
    """
    files = map(_parse_file, bodies)
    return tuple({(file.store, file.name, file.content): file for file in files}.values())


def _parse_file(body: Mapping[str, Any]) -> BackedUpFile:
    file = BackedUpFile(**{**body, "content": _parse_stored(body["content"])})
    if file.store not in STORES or not all(isinstance(text, str) for text in (file.name, file.tag)):
        raise ValueError(body)
    return file


def _parse_probe(body: Mapping[str, Any]) -> Probe:
    return Probe(**{**body, "query": ReportQuery.from_wire(body["query"]), "channels": tuple(body["channels"])})
