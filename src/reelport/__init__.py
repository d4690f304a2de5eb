"""Fetch reports from a Reporting API: ask, wait, download, whole or not at all.

Each name is imported on its first use, so that the command line starts faster.
"""

from importlib import import_module

TYPE_CHECKING = False  # Type checkers know this name; importing `typing` for it takes longer than all that is here.

if TYPE_CHECKING:
    from reelport.catalog import Dimension, Filter, Metric, Product, Scope
    from reelport.cells import split_tags
    from reelport.client.client import AsyncClient, Client
    from reelport.client.events import (
        Asked,
        Bisected,
        Event,
        InWindow,
        KeyExpires,
        Looked,
        Merged,
        Merging,
        Progress,
        Queued,
        Received,
        Retrying,
        Reused,
        Saved,
        Warned,
        WindowDone,
    )
    from reelport.client.flows.download import Downloaded, Proof, Ranged
    from reelport.client.ranges.plan import Plan
    from reelport.client.reports import AsyncReport, Report
    from reelport.client.results.tables import Table
    from reelport.errors import (
        AccessError,
        AskLost,
        IncompleteDownload,
        MergeRefused,
        NotFinished,
        Partial,
        Problem,
        QueryRefused,
        QueueFull,
        ReelportError,
        RepeatedRows,
        ReportCancelled,
        ReportExpired,
        ReportFailed,
        ReportTooLarge,
        RequestError,
        SchemaDrift,
        ServiceError,
        SlotsFull,
        StorageError,
        Unreachable,
        UsageError,
        WindowEmptied,
    )
    from reelport.query import ReportQuery
    from reelport.report_details import FailureReason, ReportDetails
    from reelport.wire import ReportStatus

__all__ = [
    "AccessError",
    "AskLost",
    "Asked",
    "AsyncClient",
    "AsyncReport",
    "Bisected",
    "Client",
    "Dimension",
    "Downloaded",
    "Event",
    "FailureReason",
    "Filter",
    "InWindow",
    "IncompleteDownload",
    "KeyExpires",
    "Looked",
    "MergeRefused",
    "Merged",
    "Merging",
    "Metric",
    "NotFinished",
    "Partial",
    "Plan",
    "Problem",
    "Product",
    "Progress",
    "Proof",
    "QueryRefused",
    "QueueFull",
    "Queued",
    "Ranged",
    "Received",
    "ReelportError",
    "RepeatedRows",
    "Report",
    "ReportCancelled",
    "ReportDetails",
    "ReportExpired",
    "ReportFailed",
    "ReportQuery",
    "ReportStatus",
    "ReportTooLarge",
    "RequestError",
    "Retrying",
    "Reused",
    "Saved",
    "SchemaDrift",
    "Scope",
    "ServiceError",
    "SlotsFull",
    "StorageError",
    "Table",
    "Unreachable",
    "UsageError",
    "Warned",
    "WindowDone",
    "WindowEmptied",
    "split_tags",
]

_MODULES = (
    "errors",
    "catalog",
    "query",
    "wire",
    "cells",
    "report_details",
    "client.events",
    "client.flows.download",
    "client.results.tables",
    "client.ranges.plan",
    "client.reports",
    "client.client",
)
"""Modules that hold these names, in order of the time that they take to import."""


_PARTS = ("catalog", "check", "errors", "query", "wire")
"""Modules that are attributes of the package without being imported first."""


def __getattr__(name: str) -> object:
    if name in _PARTS:
        return import_module(f"{__name__}.{name}")
    for module in _MODULES if name in __all__ else ():
        found: object = getattr(import_module(f"{__name__}.{module}"), name, None)
        if found is not None:
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__, *_PARTS]
