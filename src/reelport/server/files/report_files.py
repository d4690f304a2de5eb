"""Finished files at rest: what they are called, how one becomes whole, how its link is signed and checked."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from reelport import killpoints
from reelport.engine.duckdb.csv_sink import Written
from reelport.facts.durable import sync_file, sync_folder
from reelport.server.credentials import ServiceSecret
from reelport.server.settings import Settings
from reelport.wire import FILES_PATH


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is known of a finished file: its name under `files`, and what is in it."""

    name: str
    rows: int
    bytes: int
    sha256: str


def draft_path(settings: Settings, report_id: str, attempt: int) -> Path:
    """Where an attempt writes: under its own name, so that a stalled one can't touch a later one's file."""
    return settings.files_root / f"{report_id}-{attempt}.part"


def file_path(settings: Settings, name: str) -> Path:
    """Where a finished file lies."""
    return settings.files_root / name


def publish_draft(draft: Path, written: Written) -> FileRecord:
    """Make a written draft durable and give it its final name; afterwards it is whole, and stays so through a crash."""
    killpoints.reach("write")
    final = draft.with_suffix(".csv")
    sync_file(draft)
    killpoints.reach("fsync")
    draft.rename(final)
    sync_folder(final.parent)
    killpoints.reach("rename")
    return FileRecord(final.name, written.rows, written.bytes, written.sha256)


def sign_url(service_secret: ServiceSecret, report_id: str, key_id: str, until: datetime) -> str:
    """The path and query under which anyone may fetch the file of a report up to `until`, while its key may."""
    expires = int(until.timestamp())
    query = urlencode(
        {"expires": expires, "key": key_id, "signature": _signature(service_secret, report_id, key_id, expires)}
    )
    return f"{FILES_PATH}/{report_id}.csv?{query}"


def is_signed(
    service_secret: ServiceSecret, report_id: str, key_id: str, expires: str, signature: str, now: datetime
) -> bool:
    """Whether a link is ours and still good; `key_id`, `expires` and `signature` are its query as it came.

    It doesn't say whether the key still may: `reports.finished_file` does.
    """
    if not (expires.isascii() and expires.isdigit() and len(expires) <= len("9999999999")):
        return False
    right = hmac.compare_digest(
        _signature(service_secret, report_id, key_id, int(expires)).encode(), signature.encode("utf-8", "replace")
    )
    return right and now < datetime.fromtimestamp(int(expires), UTC)


def _signature(service_secret: ServiceSecret, report_id: str, key_id: str, expires: int) -> str:
    return service_secret.hash("link", json.dumps([report_id, key_id, expires]))
