"""Who hears the events of a call: the log always, then the caller's `progress`, or what stands in for it."""

from __future__ import annotations

from reelport.client.events import Event, Progress
from reelport.client.flows.runner import warn
from reelport.client.notebook import notebook_bar
from reelport.client.report_log import ReportLog
from reelport.client.session import Session


def listener(session: Session, progress: Progress | None = None) -> Progress:
    """What tells the log and then `progress`.

    Without one it tells of what nobody should miss as Python's warnings, and in a notebook a bar of all the rest.
    """
    log: Progress = ReportLog(session)
    bar = None if progress else notebook_bar()
    heard = [each for each in (log, bar, progress or warn) if each is not None]

    def tell(event: Event) -> None:
        for each in heard:
            each(event)

    return tell
