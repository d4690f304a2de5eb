"""What a merged file's sidecar says: the same as any file's, how it was merged, and each window that it is made of."""

from __future__ import annotations

import json
from typing import Any

from reelport.client.files.sidecar import Sidecar, read
from reelport.client.flows.download import Downloaded
from reelport.client.ranges.result import Ranged
from reelport.client.ranges.rules import MergePlan
from reelport.client.session import Session

_OF_A_WINDOW = ("report", "asked", "finished", "downloaded", "bytes", "sha256", "rows", "proof", "last_complete_day")


def content(session: Session, how: MergePlan, done: Ranged) -> bytes:
    """The bytes of the sidecar of a merged file."""
    now = session.clock.now()
    whole = Sidecar(
        service=session.settings.url,
        report="",
        query=how.query,
        asked=None,
        finished=None,
        downloaded=now,
        bytes=done.bytes,
        sha256=done.sha256,
        rows=done.rows,
        proof=done.proof.word,
        last_complete_day=done.last_complete_day,
    )
    said: dict[str, Any] = json.loads(whole.to_json())
    said |= {
        "report": None,
        "merged": how.way.name.lower(),
        "asked_beside": list(how.silent),
        "windows": [_window(each) for each in done.windows],
    }
    return json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n"


def _window(done: Downloaded) -> dict[str, object]:
    """A window as its own sidecar has it, which goes with the window's file."""
    said = read(done.path.with_name(f"{done.path.name}.json")) or {}
    query = said.get("query") or {}
    days = {"start": query.get("startDate"), "end": query.get("endDate")}
    return days | {name: said.get(name) for name in _OF_A_WINDOW}
