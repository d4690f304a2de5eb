"""What makes a folder an archive: its marker, or the shape that earlier releases gave it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reelport.errors import NewerData, ReelportError, StorageError, UsageError
from reelport.server.backup.manifest import is_digest, parse_manifest
from reelport.storage.durable import make_folder, replace_file, translate_io_errors
from reelport.storage.modes import private

MARKER = "reelport-archive.json"
"""The file by which an archive is known."""
MANIFESTS, OBJECTS, WORK, LOCK = "backups", "objects", "work", "lock"
WORK_PREFIX = "reelport-"
"""Begins the name of a folder for work."""

_FORMAT = 1
_DRAFT = r"(\.[0-9a-f]{12}\.part)?"
_MARKER = re.compile(re.escape(MARKER) + _DRAFT)
_MANIFEST = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z\.json" + _DRAFT)
_WORK_FOLDER = re.compile(rf"({WORK_PREFIX}|tmp)[a-z0-9_]{{8}}")
"""Earlier releases named theirs as `tempfile` does."""
_DRAFT_OF_OBJECT = re.compile(r"[0-9a-f]{16}\.part")
_SHARD = re.compile(r"[0-9a-f]{2}")


def claim_folder(root: Path) -> None:
    """Make a new or empty folder an archive, durably, or mark an earlier release's.

    UsageError for a folder that holds something else, and for an archive with a file where a folder should be.
    """
    with translate_io_errors(root), private():
        make_folder(root)
        if not _is_marked(root):
            foreign = _find_foreign(root)
            if foreign is not None:
                raise UsageError(_describe_foreign(root, foreign))
            replace_file(root / MARKER, json.dumps({"archive": _FORMAT}).encode() + b"\n")
        for name in (MANIFESTS, OBJECTS, WORK):
            _make_part(root / name)


def list_work_left(work: Path) -> Iterator[Path]:
    """List the folders that killed backups left in the folder for work."""
    for path in work.iterdir():
        if _WORK_FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def name_draft() -> str:
    """Name an object that is being written."""
    return f"{secrets.token_hex(8)}.part"


def is_draft(name: str) -> bool:
    """Whether a name is that of an object that was being written."""
    return _DRAFT_OF_OBJECT.fullmatch(name) is not None


def _make_part(folder: Path) -> None:
    if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
        raise UsageError(f"{folder} should be a folder of the archive, and is none: move it elsewhere.")
    make_folder(folder)


def _is_marked(root: Path) -> bool:
    """Whether there is a marker.

    NewerData for one of a newer release, StorageError for one that can't be read.
    """
    path = root / MARKER
    try:
        body = json.loads(path.read_bytes())
        if body["archive"] > _FORMAT:
            raise NewerData(f"{root} is an archive of a newer version of Reelport: back up with that version.")
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is damaged: delete it if this is an archive, and back up again.") from error
    return True


def _find_foreign(root: Path) -> Path | None:
    """Find a file or folder that shows that a folder without a marker is no archive.

    One of an earlier release is known by its manifests; before its first backup it holds nothing but what is ours.
    """
    manifests = _list_folder(root / MANIFESTS)
    if not manifests:
        return next(_list_foreign(root), None)
    foreign = [path for path in manifests if not _MANIFEST.fullmatch(path.name)]
    if not foreign and not any(map(_is_manifest, manifests)):
        foreign = manifests
    return min(foreign, default=None)


def _list_foreign(root: Path) -> Iterator[Path]:
    """List what isn't ours in a folder without a manifest."""
    own = {OBJECTS, WORK, LOCK} if (root / MANIFESTS).is_dir() else set()
    held = [path for path in _list_folder(root) if path.name != MANIFESTS or not path.is_dir()]
    yield from (path for path in held if path.name not in own and not _MARKER.fullmatch(path.name))
    yield from (path for path in (root / OBJECTS, root / WORK) if path.exists() and not path.is_dir())
    yield from (path for path in _list_folder(root / OBJECTS) if not _is_own_object(path))
    yield from (path for path in _list_folder(root / WORK) if not _WORK_FOLDER.fullmatch(path.name))


def _is_own_object(path: Path) -> bool:
    """Whether this is a draft of an object, or a folder of nothing but objects."""
    if path.is_file():
        return is_draft(path.name)
    return _SHARD.fullmatch(path.name) is not None and all(is_digest(each.name) for each in path.iterdir())


def _is_manifest(path: Path) -> bool:
    try:
        parse_manifest(path.read_bytes(), str(path))
    except NewerData:
        return True
    except (ReelportError, OSError):
        return False
    return True


def _list_folder(folder: Path) -> list[Path]:
    """List a folder in order; nothing where there is none."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _describe_foreign(root: Path, foreign: Path) -> str:
    sentence = f"{root} holds something else ({foreign.relative_to(root)}): name an empty or a new folder."
    inner = root / MANIFESTS
    with suppress(ReelportError, OSError):
        if _is_marked(inner) or (_list_folder(inner / MANIFESTS) and _find_foreign(inner) is None):
            return f"{sentence} {inner} is an archive: did you mean that one?"
    return sentence
