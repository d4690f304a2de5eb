"""A row of the ledger: a report from the intent to ask on, and its owner.

An owner is `host:pid:start:number`: `start` tells a process from a later one with the same pid, `number` one flow of a
process from another. On this machine we look for the process; for another machine only its lease counts.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

from reelport.query import ReportQuery
from reelport.wire import ExplainedWord

_numbers = itertools.count(1)
LIFE = timedelta(hours=48)  # how long the service keeps a report, counted from the ask


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
