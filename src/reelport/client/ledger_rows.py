"""A row of the ledger: a report from the intent to ask on; its owner; what a question gets.

An owner is `host:pid:start:number`: `start` tells a process from a later one with the same pid, `number` one flow of a
process from another. On this machine we look for the process; for another machine only its lease counts.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

from reelport.query import ReportQuery
from reelport.wire import ExplainedWord

LEASE = timedelta(minutes=5)  # how long an owner on another machine counts as alive after its last heartbeat
_numbers = itertools.count(1)

LIFE = timedelta(hours=48)  # how long the service keeps a report, counted from the ask
# How long making a report may take, and so how long an ask whose answer was lost may hold a slot.
HOLD = timedelta(hours=2)


def new_owner() -> str:
    """Make an owner for one flow of this process."""
    pid = os.getpid()
    return f"{_read_host()}:{pid}:{_read_start(pid) or ''}:{next(_numbers)}"


def is_gone(owner: str, leased_until: datetime | None, now: datetime) -> bool:
    """Whether an owner's process has ended; for another machine, whether its lease has expired."""
    expired = leased_until is None or now >= leased_until
    host, _, rest = owner.rpartition(":")[0].rpartition(":")[0].rpartition(":")
    if host != _read_host() or not rest.isdecimal() or os.name != "posix":
        return expired
    start = owner.split(":")[-2]
    found = _read_start(int(rest))
    if found is not None:
        return found != start
    return not _is_running(int(rest)) or (not start and expired)


@cache
def _read_host() -> str:
    return socket.gethostname().replace(":", "-") or "localhost"


def _read_start(pid: int) -> str | None:
    """Return the boot's id and the process's start in ticks; None where unknown or ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat.rpartition(b")")[2].split()
        # A zombie has ended, but its parent hasn't collected it yet.
        return None if fields[0] in {b"Z", b"X"} else f"{_read_boot_id()}{int(fields[19])}"
    except (OSError, IndexError, ValueError):
        return None


@cache
def _read_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8] + "-"
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    if Path("/proc/self/stat").exists():
        return False  # /proc would have listed it.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class State(ExplainedWord):
    """A report's state as far as this machine knows, in the order in which states follow."""

    INTENT = "intent", "Recorded before the ask is sent; no answer has come yet."
    REQUESTED = "requested", "The service took it and gave its token."
    RUNNING = "running", "A look found it in progress."
    FINISHED = "finished", "A look found it finished: it can be downloaded."
    VERIFIED = "verified", "Its file is in place; size, SHA-256 and rows are recorded."
    FAILED = "failed", "The service could not make it."
    EXPIRED = "expired", "The service no longer has it."
    UNKNOWN = "unknown", "The answer to its ask was lost: the service may have taken it."
    FORGOTTEN = "forgotten", "The user forgot it: it holds no slot and is never reused."


_STATES = {state.value: state for state in State}

# States in which the token can fetch the report.
TOKEN_STATES = (State.REQUESTED, State.RUNNING, State.FINISHED, State.VERIFIED)

RUNNING_STATES = (State.REQUESTED, State.RUNNING)  # states in which a report probably holds a slot at the service


@dataclass(frozen=True, slots=True)
class Row:
    """One report. Times are UTC; `delivered` means that the command that wanted it succeeded."""

    id: int
    service: str
    identity: str
    fingerprint: str
    query: ReportQuery
    state: State
    delivered: bool
    token: str | None
    owner: str | None
    leased_until: datetime | None
    created: datetime
    asked: datetime | None
    looked: datetime | None
    finished: datetime | None
    path: Path | None
    bytes: int | None
    sha256: str | None
    rows: int | None
    proof: str | None
    error: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read a row from a record. ValueError, KeyError or TypeError for a malformed one."""
        times = {"leased_until", "created", "asked", "looked", "finished"}
        values = {each.name: record[each.name] for each in fields(cls)}
        values |= {name: None if values[name] is None else datetime.fromisoformat(values[name]) for name in times}
        values["query"] = ReportQuery.from_wire(json.loads(values["query"]))
        values["state"] = _STATES[values["state"]]
        values["delivered"] = bool(values["delivered"])
        values["path"] = None if values["path"] is None else Path(values["path"])
        return cls(**values)

    @property
    def expires(self) -> datetime:
        """When the service deletes the report, counted from the ask."""
        return (self.asked or self.created) + LIFE

    @property
    def held_until(self) -> datetime:
        """When an ask without an answer stops counting as holding a slot."""
        return self.created + HOLD

    @property
    def answered(self) -> bool:
        """Whether the service's answer doesn't say if it took the ask: a failure, an HTML page."""
        return self.state is State.UNKNOWN and self.looked is not None

    def find_worker(self, now: datetime) -> str | None:
        """Return the live process that works on the row, as `host:pid`; None without one."""
        return self.owner.rsplit(":", 2)[0] if self.owner is not None and self.is_alive(now) else None

    def is_range_over(self) -> bool:
        """Whether the range had ended (in UTC days) when the report was asked for."""
        return self.query.end < (self.asked or self.created).date()

    def is_alive(self, now: datetime) -> bool:
        """Whether the row's owner is alive. Any process may take over the rows of dead owners."""
        return self.owner is not None and not is_gone(self.owner, self.leased_until, now)

    def is_in_flight(self, now: datetime, *, reelport: bool) -> bool:
        """Whether the row holds one of its key's slots.

        A lost ask holds none at a Reelport service, which answers the same ask with the same report.
        """
        if self.state in RUNNING_STATES:
            return now < self.expires
        if self.state is State.INTENT and self.is_alive(now):
            return True
        return self.state in {State.INTENT, State.UNKNOWN} and not reelport and now < self.held_until


def list_prunable(rows: Iterable[Row], before: datetime, now: datetime) -> tuple[Row, ...]:
    """Return the rows of reports asked for before a moment that nothing needs."""
    return tuple(row for row in rows if (row.asked or row.created) < before and not is_needed(row, now))


def is_needed(row: Row, now: datetime) -> bool:
    """Whether a process works on the row, it holds a slot, or a command can resume it.

    A lost ask counts as holding its slot at any host: the ledger doesn't record which are Reelport services.
    """
    undelivered = row.state in TOKEN_STATES and not row.delivered and now < row.expires
    return undelivered or row.is_alive(now) or row.is_in_flight(now, reelport=False)


@dataclass(frozen=True, slots=True)
class Question:
    """A wish for a report. The same service, key and query make the same question.

    `identity` names service and key without holding either. `fresh` asks anew even where an earlier, delivered report
    would serve; `again` even where the answer to an earlier ask was lost. `current` asks a Reelport service even where
    an undelivered report would serve: it gives that one again while nothing has changed.
    """

    service: str
    identity: str
    query: ReportQuery
    reelport: bool
    slots: int = 2
    fresh: bool = False
    again: bool = False
    current: bool = False


@dataclass(frozen=True, slots=True)
class Reuse:
    """Reuse this row's report: wait for it or download it."""

    row: Row


@dataclass(frozen=True, slots=True)
class Claimed:
    """Ask now: this row is our intent and holds a slot; `others` are in flight.

    `tokens` are of earlier reports of the question: the service may give one of them again.
    """

    row: Row
    others: int = 0
    tokens: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Busy:
    """Wait: a live process is asking the same question."""

    row: Row


@dataclass(frozen=True, slots=True)
class LostAsk:
    """Refuse: an earlier ask's answer was lost. It isn't repeated before `row.held_until`."""

    row: Row


@dataclass(frozen=True, slots=True)
class Full:
    """Wait: these rows hold all of the key's slots."""

    rows: tuple[Row, ...]


Entry = Reuse | Claimed | Busy | LostAsk | Full


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the question, in this row where there is one, else in a new row."""

    row: Row | None


def decide(question: Question, known: Sequence[Row], flights: Sequence[Row], now: datetime) -> Entry | Ask:
    """Decide how to answer a question.

    `known` are its rows, newest first; `flights` are the rows of the same key, of any question, that may hold a slot.
    """
    found = _decide_by_rows(question, known, now)
    if isinstance(found, Reuse | Busy | LostAsk):
        return found
    # An ask for a report that is in flight already takes no further slot.
    ours = {row.id for row in known} if found.row is None else {found.row.id}
    holding = tuple(row for row in flights if row.id not in ours and row.is_in_flight(now, reelport=question.reelport))
    return Full(holding) if _count_held_slots(holding, question.slots) >= question.slots else found


def _count_held_slots(holding: Sequence[Row], slots: int) -> int:
    """Count the slots that rows hold. Asks answered by a failure leave one of the key's free.

    The service rarely took such an ask, and two of them must not block a key. Where it did, it refuses a further ask,
    which then waits.
    """
    answered = sum(row.answered for row in holding)
    return len(holding) - answered + min(answered, slots - 1)


def _decide_by_rows(question: Question, known: Sequence[Row], now: datetime) -> Reuse | Busy | LostAsk | Ask:
    superseded = False
    for row in known:
        if row.state in TOKEN_STATES:
            if not superseded and now < row.expires and _is_reusable(question, row):
                return Reuse(row)
            superseded = True
        elif row.state is State.INTENT and row.is_alive(now):
            return Busy(row)
        elif row.state in {State.INTENT, State.UNKNOWN}:
            if question.reelport or question.again:
                return Ask(row)
            if now < row.held_until:
                return LostAsk(row)
    return Ask(None)


def _is_reusable(question: Question, row: Row) -> bool:
    if not row.delivered:
        return not (question.reelport and question.current)
    return not question.reelport and not question.fresh and row.is_range_over()
