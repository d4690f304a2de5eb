"""Who hears the events of a call: the log always, then the caller's `progress`, or what stands in for it."""

from __future__ import annotations

from reelport.client.driving.runner import aloud
from reelport.client.events import Event, Progress
from reelport.client.report_log import ReportLog
from reelport.client.session import Session


def listener(session: Session, progress: Progress | None = None) -> Progress:
    """What tells the log and then `progress`; without one, Python's warnings of what nobody should miss."""
    log, told = ReportLog(session), progress or aloud

    def tell(event: Event) -> None:
        log(event)
        told(event)

    return tell
