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
    """The root of all errors that Reelport raises on purpose.

    `token` is the token of the report that the error is about, or None. `data` is the data that an answer of the
    service had beside its errors, or None.
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
    """A report query was refused; `problems` has every reason."""

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
    """A file, a row or a mapping is wrong; nothing was changed."""

    code = "bad_input"


class QueueFull(RequestError):
    """The partner has reached its limit of unfinished reports: try later (`retry_after`)."""

    code = "queue_full"
    exit_status = 5
    retry_after: float | None = None


class SlotsFull(QueueFull):
    """The wait ended before a slot was free; no report was requested. Repeat the call."""

    code = "slots_full"
    exit_status = 6


class MergeRefused(RequestError):
    """The windows of a range can't be merged into one file; the text says what to do instead."""

    code = "merge_refused"
    exit_status = 5


class AccessError(ReelportError):
    """The key, the token or a permission is missing or wrong."""

    code = "access"
    exit_status = 4


class ServiceError(ReelportError):
    """The service did not do what was requested."""

    code = "service"


class Unreachable(ServiceError):
    """No answer came, or the answer did not come from a Reporting API."""

    code = "unreachable"


class AskLost(Unreachable):
    """The answer to a report request was lost: the service may have accepted the request.

    `answered` is true if something came back that doesn't say so: an error, a web page, no token.
    """

    code = "ask_lost"
    exit_status = 6
    answered = False


class ReportFailed(ServiceError):
    """The report ended in FAILED.

    `reason` is the code of the reason if the service tells one (`reelport.FailureReason`), else None.
    """

    code = "report_failed"
    reason: str | None = None


class ReportTooLarge(ReportFailed):
    """The report needs more memory or time than one report may have: ask for less."""

    code = "report_too_large"
    exit_status = 5


class ReportCancelled(ReportFailed):
    """Somebody cancelled the report."""

    code = "report_cancelled"


class ReportExpired(ServiceError):
    """The report is deleted or belongs to another key: ask for it again."""

    code = "report_expired"


class IncompleteDownload(ServiceError):
    """The file that arrived isn't complete; the target file was not written."""

    code = "incomplete_download"


class SchemaDrift(ServiceError):
    """The columns or values of a report differ from the expected ones; nothing was changed."""

    code = "schema_drift"


class RepeatedRows(ServiceError):
    """Two rows of a report have the same dimensions and would count twice; nothing was kept."""

    code = "repeated_rows"


class WindowEmptied(ServiceError):
    """A report has no rows, but a copy has rows for the same days; nothing was changed."""

    code = "window_emptied"


class Partial(ReelportError):
    """Some windows of a range are done and kept; repeat the call for the others."""

    code = "partial"
    exit_status = 3


class NotFinished(ReelportError):
    """The wait ended before the report was finished; continue with the report's token."""

    code = "not_finished"
    exit_status = 6

    token: str

    def __init__(self, sentence: str, token: str) -> None:
        super().__init__(sentence, token=token)
        self.args = (sentence, token)  # What makes a copy of it in another process.


class Interrupted(ReelportError):
    """A command was stopped before it requested anything. The status is 143 for SIGTERM."""

    code = "interrupted"
    exit_status = 130

    def __init__(self, sentence: str, exit_status: int = 130) -> None:
        super().__init__(sentence)
        self.exit_status = exit_status
        self.args = (sentence, exit_status)  # What makes a copy of it in another process.


class InternalError(ReelportError):
    """The fault is in Reelport or its machine, not in the request."""

    code = "internal"


class OutOfMemory(InternalError):
    """The engine has less memory than a report needs."""

    code = "out_of_memory"


class EngineUnavailable(InternalError):
    """The engine for large reports can't be reached: try again when the engine is back."""

    code = "engine_unavailable"


class StorageError(InternalError):
    """A disk, a table or a database can't be read or written."""

    code = "storage"


class OutcomeUnknown(StorageError):
    """No answer said whether a change was made: check, and repeat the change."""

    code = "outcome_unknown"


class DiskFull(StorageError):
    """A disk is full or a quota is used up: free some space and try again."""

    code = "disk_full"


class StoreUnavailable(StorageError):
    """An object store can't be reached or refuses requests: try again when the store is back."""

    code = "store_unavailable"


class NewerData(InternalError):
    """The data directory was written by a newer version of Reelport."""

    code = "newer_data"
