"""Which reports of the ledger hold a slot, and until when; what a question gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reelport.client.ledger_rows import TOKEN_STATES, Row, State
from reelport.query import ReportQuery

# How long making a report may take, and so how long an ask whose answer was lost may hold a slot.
HOLD = timedelta(hours=2)
RUNNING_STATES = (State.REQUESTED, State.RUNNING)  # states in which a report probably holds a slot at the service


def held_until(row: Row) -> datetime:
    """When an ask without an answer stops counting as holding a slot."""
    return row.created + HOLD


def is_in_flight(row: Row, now: datetime, *, reelport: bool) -> bool:
    """Whether a row holds one of its key's slots.

    A lost ask holds none at a Reelport service, which answers the same ask with the same report.
    """
    if row.state in RUNNING_STATES:
        return now < row.expires
    if row.state is State.INTENT and row.is_alive(now):
        return True
    return row.state in {State.INTENT, State.UNKNOWN} and not reelport and now < held_until(row)


def list_prunable(rows: Iterable[Row], before: datetime, now: datetime) -> tuple[Row, ...]:
    """Return the rows of reports asked for before a moment that nothing needs."""
    return tuple(row for row in rows if (row.asked or row.created) < before and not is_needed(row, now))


def is_needed(row: Row, now: datetime) -> bool:
    """Whether a process works on the row, it holds a slot, or a command can resume it.

    A lost ask counts as holding its slot at any host: the ledger doesn't record which are Reelport services.
    """
    undelivered = row.state in TOKEN_STATES and not row.delivered and now < row.expires
    return undelivered or row.is_alive(now) or is_in_flight(row, now, reelport=False)


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
    """Refuse: an earlier ask's answer was lost. It isn't repeated before `held_until`."""

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
    holding = tuple(row for row in flights if row.id not in ours and is_in_flight(row, now, reelport=question.reelport))
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
            if now < held_until(row):
                return LostAsk(row)
    return Ask(None)


def _is_reusable(question: Question, row: Row) -> bool:
    if not row.delivered:
        return not (question.reelport and question.current)
    return not question.reelport and not question.fresh and row.is_range_over()
