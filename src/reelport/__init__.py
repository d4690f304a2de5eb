"""Get reports out of a Reporting API: ask, wait, download, whole or not at all."""

from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.client.client import AsyncClient, Client
from reelport.client.download import Downloaded, Proof
from reelport.client.events import Asked, Event, Looked, Progress, Received, Retrying, Warned
from reelport.client.report import AsyncReport, Report
from reelport.client.tables import Table
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
    ReportExpired,
    ReportFailed,
    RequestError,
    SchemaDrift,
    ServiceError,
    SlotsFull,
    StorageError,
    Unreachable,
    UsageError,
)
from reelport.query import ReportQuery
from reelport.wire import ReportStatus, Scope

__all__ = [
    "AccessError",
    "AskLost",
    "Asked",
    "AsyncClient",
    "AsyncReport",
    "Client",
    "Dimension",
    "Downloaded",
    "Event",
    "Filter",
    "IncompleteDownload",
    "Looked",
    "MergeRefused",
    "Metric",
    "NotFinished",
    "Partial",
    "Problem",
    "Product",
    "Progress",
    "Proof",
    "QueryRefused",
    "QueueFull",
    "Received",
    "ReelportError",
    "Report",
    "ReportExpired",
    "ReportFailed",
    "ReportQuery",
    "ReportStatus",
    "RequestError",
    "Retrying",
    "SchemaDrift",
    "Scope",
    "ServiceError",
    "SlotsFull",
    "StorageError",
    "Table",
    "Unreachable",
    "UsageError",
    "Warned",
]
