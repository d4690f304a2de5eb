"""Make a call's listener: the log, then the caller's `progress` or its default."""

from __future__ import annotations

from reelport.client.events import Event, Progress
from reelport.client.flows.runner import warn
from reelport.client.notebook import make_notebook_bar
from reelport.client.report_log import ReportLog
from reelport.client.session import Session


def make_listener(session: Session, progress: Progress | None = None) -> Progress:
    """Make a listener that passes events to the log and then to `progress`.

    Without `progress`, a query's warnings become Python warnings, and a notebook shows all events as a progress bar.
    """
    log: Progress = ReportLog(session)
    bar = None if progress else make_notebook_bar()
    heard = [each for each in (log, bar, progress or warn) if each is not None]

    def tell(event: Event) -> None:
        for each in heard:
            each(event)

    return tell
