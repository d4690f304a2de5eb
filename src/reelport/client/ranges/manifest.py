"""A merged file's sidecar: any sidecar's facts, the merge rule, and each window."""

from __future__ import annotations

import json
from typing import Any

from reelport.client.files.sidecar import Sidecar, name_sidecar, read_sidecar
from reelport.client.flows.download import Downloaded
from reelport.client.ranges.merge_rules import MergePlan
from reelport.client.ranges.result import Ranged
from reelport.client.session import Session

_OF_A_WINDOW = ("report", "asked", "finished", "downloaded", "bytes", "sha256", "rows", "proof", "last_complete_day")


def format_manifest(session: Session, plan: MergePlan, done: Ranged) -> bytes:
    """Format the sidecar of a merged file as JSON bytes."""
    now = session.clock.now()
    whole = Sidecar(
        service=session.settings.url,
        report="",
        query=plan.query,
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
        "merged": plan.rule.name.lower(),
        "asked_beside": list(plan.silent),
        "windows": [_describe_window(each) for each in done.windows],
    }
    return json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n"


def _describe_window(done: Downloaded) -> dict[str, object]:
    """Describe a window by its own sidecar, which is removed together with the window's file."""
    said = read_sidecar(name_sidecar(done.path)) or {}
    query = said.get("query") or {}
    days = {"start": query.get("startDate"), "end": query.get("endDate")}
    return days | {name: said.get(name) for name in _OF_A_WINDOW}
