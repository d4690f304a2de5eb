"""Asks for a report: queues it within limits, or reuses an earlier one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, Row, bindparam, func, literal, select, true, type_coerce

from reelport import check
from reelport.catalog import Limit, Scope
from reelport.errors import AccessError, Problem, QueryRefused, QueueFull, StorageError
from reelport.facts.log.snapshot import newest_versions
from reelport.language import N_, _
from reelport.query import ReportQuery
from reelport.report_details import ReportDetails, Slots, State
from reelport.server import credentials
from reelport.server.access import audit_log, callers
from reelport.server.access.audit_log import Action, Actor
from reelport.server.access.callers import Caller
from reelport.server.queue import jobs
from reelport.server.reports.report_access import (
    FoundReport,
    PartnerLoad,
    make_report,
    make_scope_problem,
    select_reports,
)
from reelport.server.settings import Settings
from reelport.server.state.database import reading, sync_commits, writing
from reelport.server.state.tables import JOBS, ORGANIZATIONS, REPORTS
from reelport.server.traces import tracing
from reelport.server.traces.span import Kind, Span
from reelport.wire import ReportStatus

_PIN_SECONDS = 1.0
"""How long after a report was begun an ask waits for the versions that it is made of.

A worker records them within milliseconds. One that hasn't by then is frozen, or waits for a store: nobody waits with
it.
"""
_PAUSE_SECONDS = 0.01

_AskState = Row[*tuple[Any, ...]]
"""A row of `_ASK_STATE`: an earlier report's columns (NULL when none fits), and the counts of the partner's jobs."""

_UNFINISHED = select(func.count()).select_from(JOBS).where(JOBS.c.organization_id == bindparam("organization"))
_LEASED = type_coerce(JOBS.c.leased_until, BigInteger) - func.clock_ms(type_=BigInteger)
"""For how many milliseconds yet a worker has a report on its lease; NULL where none has it."""
_SAME_ASK = (
    select_reports(_LEASED.label("leased"))
    .where(
        REPORTS.c.key_id == bindparam("key"),
        REPORTS.c.fingerprint == bindparam("question"),
        REPORTS.c.status.in_([ReportStatus.IN_PROGRESS.value, ReportStatus.FINISHED.value]),
        REPORTS.c.expires_at >= bindparam("least"),
    )
    .order_by(REPORTS.c.created_at.desc(), REPORTS.c.id)
    .limit(1)
    .subquery("same")
)
_ASK_STATE = select(
    _SAME_ASK,
    _UNFINISHED.scalar_subquery().label("unfinished"),
    _UNFINISHED.where(JOBS.c.owner.is_(None)).scalar_subquery().label("waiting"),
).select_from(select(literal(1).label("row")).subquery("one").outerjoin(_SAME_ASK, true()))
_LOAD = select(
    _UNFINISHED.scalar_subquery().label("unfinished"),
    _UNFINISHED.where(JOBS.c.owner.is_(None)).scalar_subquery().label("waiting"),
)
_LOCK_ORGANIZATION = select(ORGANIZATIONS.c.id).where(ORGANIZATIONS.c.id == bindparam("organization")).with_for_update()
_INSERT_REPORT = REPORTS.insert()


class PartnerQueueFull(QueueFull):
    """The partner has no free slot. `slots` are those of the moment of the ask."""

    def __init__(self, sentence: str, slots: Slots) -> None:
        super().__init__(sentence)
        self.slots = slots


def make_rules(settings: Settings) -> check.Rules:
    """Make the rules for queries from the settings of this service."""
    return check.Rules(Limit.DIMENSIONS.default, settings.day_limit, permissive=settings.inferred == "permissive")


@lru_cache(maxsize=50)  # One document may ask for the same report many times.
def find_problems(query: ReportQuery, scopes: frozenset[str], today: date, held_to: check.Rules) -> tuple[Problem, ...]:
    """Find every reason why a caller with these scopes can't ask for this report."""
    may_ask = () if Scope.CREATE_REPORTS in scopes else (make_scope_problem(Scope.CREATE_REPORTS, (), scopes),)
    return (*may_ask, *check.problems(query, today=today, scopes=scopes, rules=held_to))


def ask_report(
    db: Engine,
    settings: Settings,
    caller: Caller,
    query: ReportQuery,
    now: datetime,
    asker: Actor | None = None,
) -> FoundReport:
    """Queue a report, or return a current one that the same key asked for earlier.

    `asker` is the user who asks in Studio. QueryRefused lists every problem; PartnerQueueFull when the partner is at
    its limit of unfinished reports; AccessError when access was withdrawn since the caller was identified.
    """
    with tracing.span("ask report", kind=Kind.PRODUCER) as span:
        found = find_problems(query, caller.scopes, now.date(), make_rules(settings))
        if any(problem.fatal for problem in found):
            raise QueryRefused(found)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # the state stores milliseconds
        until = time.monotonic() + _PIN_SECONDS
        while (asked := _ask_once(db, settings, caller, query, now, asker, span, until)) is None:
            time.sleep(_PAUSE_SECONDS)
        span.set("reelport.report.id", asked.id)
        return asked


def read_load(db: Engine, organization_id: int) -> PartnerLoad:
    """Read how many reports of a partner are unfinished."""
    with reading(db) as connection:
        row = connection.execute(_LOAD, {"organization": organization_id}).one()
    return PartnerLoad(row.unfinished, row.waiting)


def _ask_once(
    db: Engine,
    settings: Settings,
    caller: Caller,
    query: ReportQuery,
    now: datetime,
    asker: Actor | None,
    span: Span,
    until: float,
) -> FoundReport | None:
    """Reuse a report or queue one; None while it awaits an earlier one's versions, `until`."""
    # Equal for the same query over the same channels.
    question = hashlib.sha256("\n".join([query.fingerprint(), *sorted(caller.channels)]).encode()).hexdigest()
    # The asker needs time to fetch the file: an earlier report is reused if half of its life is left.
    least = now + timedelta(hours=settings.retention_hours) / 2
    # Read at most once, and if possible before the transaction, in which all other writers wait.
    versions = cache(lambda: newest_versions(settings.facts_root))

    def reuse_or_insert(connection: Connection) -> FoundReport | None:
        _lock_organization(connection, caller, now)
        ask_state = _read_ask_state(connection, caller, question, least)
        if _is_awaited(settings, ask_state, until):
            return None
        if (answer := _reuse_report(settings, ask_state, versions, span, now)) is not None:
            return answer
        load = PartnerLoad(ask_state.unfinished, ask_state.waiting)
        _check_queue_limit(settings, load)
        answer = _insert_report(connection, settings, caller, query, question, load, now, span.traceparent)
        if asker is not None:
            connection.execute(REPORTS.update().where(REPORTS.c.id == answer.id).values(asked_by=asker.name))
            asked = Action.REPORT_ASKED, answer.id, answer.created_at, {"query": query.to_wire()}
            audit_log.record_action(connection, caller.organization_id, asker, *asked)
        return answer

    with reading(db) as connection:
        ask_state = _read_ask_state(connection, caller, question, least)
    if _is_awaited(settings, ask_state, until):
        return None
    if (answer := _reuse_report(settings, ask_state, versions, span, now)) is None:
        with writing(db, synced=False) as connection:
            answer = reuse_or_insert(connection)
    if answer is not None and answer.status is ReportStatus.IN_PROGRESS:
        sync_commits(db)  # a worker may begin before the ask is on the disk; the caller is answered afterwards
    return answer


def _read_ask_state(connection: Connection, caller: Caller, question: str, least: datetime) -> _AskState:
    asked = {"organization": caller.organization_id, "key": caller.key_id, "question": question, "least": least}
    return connection.execute(_ASK_STATE, asked).one()


def _reuse_report(
    settings: Settings, ask_state: _AskState, versions: Callable[[], Mapping[str, int]], span: Span, now: datetime
) -> FoundReport | None:
    """Return the earlier report if its facts are the newest and its file is there; else None."""
    if ask_state.id is None or _is_in_doubt(ask_state):
        return None
    pinned, newest = ({}, {}) if ask_state.versions is None else (json.loads(ask_state.versions), versions())
    if any(newest.get(table, -1) != version for table, version in pinned.items()) or not _has_file(settings, ask_state):
        return None
    span.link(ask_state.traceparent)
    return make_report(ask_state, now)


def _is_awaited(settings: Settings, ask_state: _AskState, until: float) -> bool:
    """Whether to wait for an earlier report's versions: one just begun has them soon."""
    if not _is_in_doubt(ask_state):
        return False
    held_seconds = settings.lease_seconds - ask_state.leased / 1000
    return held_seconds < _PIN_SECONDS and time.monotonic() < until


def _is_in_doubt(ask_state: _AskState) -> bool:
    """Whether a worker may have pinned the report's tables before they changed.

    It makes the report, and has not recorded them. An attempt that begins later pins the tables of then.
    """
    return ask_state.versions is None and ask_state.leased is not None


def _has_file(settings: Settings, found: _AskState) -> bool:
    """Whether a report has its whole file, or needs none yet: else it is made again."""
    if found.file is None:
        return True
    try:
        file = settings.report_store.find(found.file)
    except StorageError:
        return False
    return file is not None and file.size == found.bytes


def _lock_organization(connection: Connection, caller: Caller, now: datetime) -> None:
    """Lock the partner's row: of two simultaneous asks the second then sees the first.

    AccessError when access was withdrawn since the caller was identified: no report must be made for it.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time.
        connection.execute(_LOCK_ORGANIZATION, {"organization": caller.organization_id})
    if not callers.is_still_allowed(connection, caller, now):
        raise AccessError(_("What this key may read has changed just now: ask again."))


def _check_queue_limit(settings: Settings, load: PartnerLoad) -> None:
    slots = load.count_slots(settings)
    if slots.used < slots.limit:
        return
    sentence = (
        N_(
            "The partner has reached its limit of unfinished reports: %(used)s are waiting. "
            "Ask again when one has begun."
        )
        if settings.waiting_limit
        else N_(
            "The partner has reached its limit of unfinished reports: %(used)s are unfinished. "
            "Ask again when one has ended."
        )
    )
    raise PartnerQueueFull(_(sentence, used=slots.used), slots)


def _insert_report(
    connection: Connection,
    settings: Settings,
    caller: Caller,
    query: ReportQuery,
    question: str,
    before: PartnerLoad,
    now: datetime,
    traceparent: str | None,
) -> FoundReport:
    token, expires_at = credentials.mint(credentials.REPORT_TOKEN), now + timedelta(hours=settings.retention_hours)
    load = PartnerLoad(before.unfinished + 1, before.waiting + 1)
    asked = FoundReport(
        id=credentials.short_id(),
        token=token,
        organization_id=caller.organization_id,
        status=ReportStatus.IN_PROGRESS,
        created_at=now,
        expires_at=expires_at,
        file=None,
        query=query.canonical(),
        last_complete_day=None,
        traceparent=traceparent,
        versions=None,
        details=ReportDetails(token, State.QUEUED, place=load.waiting, expires_at=expires_at),
        load=load,
    )
    row = {
        "id": asked.id,
        "token": asked.token,
        "organization_id": caller.organization_id,
        "key_id": caller.key_id,
        "query": asked.query,
        "channels": json.dumps(sorted(caller.channels)),
        "scopes": " ".join(sorted(check.scopes_of(query))),
        "fingerprint": question,
        "status": asked.status.value,
        "created_at": now,
        "expires_at": expires_at,
        "attempts": 0,
        "traceparent": traceparent,
    }
    connection.execute(_INSERT_REPORT, row)
    jobs.enqueue(connection, asked.id, caller.organization_id)
    return asked
