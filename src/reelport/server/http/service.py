"""The service object of an API process, which all its requests share."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from sqlalchemy import Engine

from reelport.server.access.key_uses import KeyUses
from reelport.server.credentials import ServiceSecret
from reelport.server.explore.explorer import Explorer
from reelport.server.graphql.document_cache import DocumentCache
from reelport.server.http.long_poll import DurableReports, LongPolls
from reelport.server.http.metrics import Metrics
from reelport.server.limits.body_budget import BodyBudget
from reelport.server.limits.concurrency import Concurrency
from reelport.server.limits.download_slots import DownloadSlots
from reelport.server.limits.rate_limits import LoginAttempts, TokenBuckets
from reelport.server.settings import Settings
from reelport.server.state.reads import Reads
from reelport.server.state.write_probe import StateProbe

_PASSWORD_CHECKS = 2
"""Passwords that are checked at the same time: each takes 19 MiB and a core."""
_GUARDED_DOWNLOADS = 16
"""Downloads for spreadsheets at the same time: each takes a core's time."""
_GUARDS = 1
"""Threads that guard their cells at the same time: the other cores are for answers and reports."""
_PAGE_WRITERS = 2
"""Large pages that are written at the same time. More would be no faster, and the event loop would wait for all."""


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that endpoints use. No field is replaced while the process runs."""

    settings: Settings
    db: Engine
    reads: Reads
    service_secret: ServiceSecret
    documents: DocumentCache
    metrics: Metrics
    long_polls: LongPolls
    durable_reports: DurableReports
    download_slots: DownloadSlots
    bodies: BodyBudget
    forms: BodyBudget
    grants: TokenBuckets
    site_grants: TokenBuckets
    login_attempts: LoginAttempts
    probe: StateProbe
    key_uses: KeyUses
    expiry_notices: TokenBuckets
    explorer: Explorer
    concurrency: Concurrency = field(default_factory=Concurrency)
    password_checks: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_PASSWORD_CHECKS))
    guarded_downloads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_GUARDED_DOWNLOADS))
    guards: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_GUARDS))
    page_turns: Concurrency = field(default_factory=lambda: Concurrency(1))
    page_writers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_PAGE_WRITERS))
