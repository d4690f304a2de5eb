"""Every error that Reelport raises on purpose, in one tree.

`docs/reference/errors.md` draws the tree. Each class has a stable code (`code`), the exit status of the command line
(`exit_status`) and a sentence. The sentence says what to do next. Where a report is
known, `token` takes it up again; where an answer held data beside its errors, it is `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason to refuse a query.

    `code` is from a closed list (see `reelport.check`), `path` leads to the place
    in the wire's input (`("metrics", 0)`), `sentence` is for people, `nearest` is
    the name or combination that would work, or None. A problem whose `fatal` is
    false is a warning.
    """

    code: str
    path: tuple[str | int, ...]
    sentence: str
    nearest: str | None = None
    fatal: bool = True

    def __str__(self) -> str:
        where = ".".join(str(step) for step in self.path)
        return f"{where}: {self.sentence}" if where else self.sentence


class ReelportError(Exception):
    """The root: catch this to catch whatever Reelport raises on purpose.

    `token` is the token of the report that the error is about, `data` what an answer of the service
    held beside its errors; both None where there is none.
    """

    code = "error"
    exit_status = 1
    token: str | None = None
    data: Mapping[str, Any] | None = None

    def __init__(self, sentence: str = "", *, token: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.token = token
        self.data = data

    def __str__(self) -> str:
        return str(self.args[0])


class RequestError(ReelportError):
    """Your request must change before it can succeed."""

    code = "bad_request"


class QueryRefused(RequestError):
    """A report query was refused; `problems` holds every reason."""

    code = "query_refused"
    exit_status = 5

    def __init__(self, problems: tuple[Problem, ...], *, data: Mapping[str, Any] | None = None) -> None:
        super().__init__("\n".join(str(problem) for problem in problems), data=data)
        self.problems = problems
        self.args = (problems,)  # What makes a copy of it in another process.

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class UsageError(RequestError):
    """A command, an argument or a setting is wrong."""

    code = "usage"
    exit_status = 2


class BadInput(RequestError):
    """A file, a row or a mapping can't be taken as it is; nothing was changed."""

    code = "bad_input"


class QueueFull(RequestError):
    """Too many reports of this partner are unfinished: try later; `retry_after` may say when."""

    code = "queue_full"
    exit_status = 5
    retry_after: float | None = None


class SlotsFull(QueueFull):
    """The wait ended before a slot was free; nothing was asked for. The same command goes on."""

    code = "slots_full"
    exit_status = 6


class MergeRefused(RequestError):
    """The windows of a range can't be added up to one right answer; the sentence says what can."""

    code = "merge_refused"
    exit_status = 5


class AccessError(ReelportError):
    """Your key, your token or your permission."""

    code = "access"
    exit_status = 4


class ServiceError(ReelportError):
    """The service that was called did not do its part."""

    code = "service"


class Unreachable(ServiceError):
    """No answer came, or one that can't be an answer of a Reporting API."""

    code = "unreachable"


class AskLost(Unreachable):
    """The answer to an ask was lost: it may have been taken, so it isn't sent again blindly.

    `answered` says that something came back, but nothing that tells: a failure, a page, no token.
    """

    code = "ask_lost"
    exit_status = 6
    answered = False


class ReportFailed(ServiceError):
    """The report ended in FAILED: ask for it again."""

    code = "report_failed"


class ReportExpired(ServiceError):
    """The report is gone or was never this key's: ask for it again."""

    code = "report_expired"


class IncompleteDownload(ServiceError):
    """The file that arrived isn't the whole file; nothing was kept under its name."""

    code = "incomplete_download"


class SchemaDrift(ServiceError):
    """The columns or values of a report aren't of the kind that is kept; nothing was changed."""

    code = "schema_drift"


class RepeatedRows(ServiceError):
    """Two rows of a report are of the same dimensions, and would count twice; nothing was kept."""

    code = "repeated_rows"


class WindowEmptied(ServiceError):
    """A report has no rows for days of which a copy has some; nothing was changed."""

    code = "window_emptied"


class Partial(ReelportError):
    """Some windows of a range are done and kept; the same command goes on with the rest."""

    code = "partial"
    exit_status = 3


class NotFinished(ReelportError):
    """The wait ended before the report did; the report token takes it up again."""

    code = "not_finished"
    exit_status = 6

    token: str

    def __init__(self, sentence: str, token: str) -> None:
        super().__init__(sentence, token=token)
        self.args = (sentence, token)  # What makes a copy of it in another process.


class Interrupted(ReelportError):
    """A command was stopped before it asked for anything; by SIGTERM with status 143."""

    code = "interrupted"
    exit_status = 130

    def __init__(self, sentence: str, exit_status: int = 130) -> None:
        super().__init__(sentence)
        self.exit_status = exit_status
        self.args = (sentence, exit_status)  # What makes a copy of it in another process.


class InternalError(ReelportError):
    """Our own fault or our machine's, not the caller's."""

    code = "internal"


class OutOfMemory(InternalError):
    """The engine has less memory than a report needs."""

    code = "out_of_memory"


class EngineUnavailable(InternalError):
    """The engine of large reports can't be reached: the same works when it is back."""

    code = "engine_unavailable"


class StorageError(InternalError):
    """A disk, a table or a database can't be read or written."""

    code = "storage"


class OutcomeUnknown(StorageError):
    """No answer told whether a change was taken: look, and do it again."""

    code = "outcome_unknown"


class DiskFull(StorageError):
    """A disk has no room, or a quota is used up: the same works when there is room."""

    code = "disk_full"


class StoreUnavailable(StorageError):
    """An object store can't be reached, or refuses for now: the same works when it is back."""

    code = "store_unavailable"


class NewerData(InternalError):
    """The data directory was written by a newer version of Reelport."""

    code = "newer_data"
