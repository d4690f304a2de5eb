"""What the ledger says to a question: which row serves it, or that it may be asked, or what stands in the way.

Pure: rows in, one answer out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reelport.client.ledger.rows import TOKEN_STATES, Row, State
from reelport.query import ReportQuery


@dataclass(frozen=True, slots=True)
class Question:
    """The same service, the same key and the same query are the same question.

    `identity` names service and key without holding either. `fresh` asks anew although an earlier
    report was delivered and would serve; `again` although the answer to an earlier ask was lost.
    """

    service: str
    identity: str
    query: ReportQuery
    reelport: bool
    slots: int = 2
    fresh: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Serves:
    """This row answers the question: wait for it or download it."""

    row: Row


@dataclass(frozen=True, slots=True)
class Claimed:
    """This row, an intent, is ours and holds a slot: ask now. `others` asks and reports of the key are in flight."""

    row: Row
    others: int = 0


@dataclass(frozen=True, slots=True)
class Busy:
    """A living process is asking this very question."""

    row: Row


@dataclass(frozen=True, slots=True)
class Held:
    """Whether this was asked isn't known: its answer was lost. It isn't asked again before `row.held_until`."""

    row: Row


@dataclass(frozen=True, slots=True)
class Full:
    """These rows hold all of the key's slots."""

    rows: tuple[Row, ...]


Entry = Serves | Claimed | Busy | Held | Full


@dataclass(frozen=True, slots=True)
class Ask:
    """The question is to be asked: in this row, where there is one already, else in a new one."""

    row: Row | None


def decide(question: Question, known: Sequence[Row], flights: Sequence[Row], now: datetime) -> Entry | Ask:
    """The answer to a question.

    `known` are the rows of this question, the newest first; `flights` those rows of the same key, of any
    question, that may hold a slot.
    """
    found = _decide_known(question, known, now)
    if isinstance(found, Serves | Busy | Held):
        return found
    ours = None if found.row is None else found.row.id
    holding = tuple(row for row in flights if row.id != ours and row.in_flight(now, reelport=question.reelport))
    return Full(holding) if _slots_held(holding, question.slots) >= question.slots else found


def _slots_held(holding: Sequence[Row], slots: int) -> int:
    """Count the slots that rows hold. Asks that were answered by a failure leave one of the key's slots free.

    Such an ask was rarely taken: two of them must not stop a key. Where they were taken, a further ask is refused,
    and waits.
    """
    answered = sum(row.answered for row in holding)
    return len(holding) - answered + min(answered, slots - 1)


def _decide_known(question: Question, known: Sequence[Row], now: datetime) -> Serves | Busy | Held | Ask:
    for row in known:
        if row.state in TOKEN_STATES:
            if now < row.expires and (not row.delivered or _still_good(question, row)):
                return Serves(row)
        elif row.state is State.INTENT and row.lives(now):
            return Busy(row)
        elif row.state in {State.INTENT, State.UNKNOWN}:
            if question.reelport or question.again:
                return Ask(row)
            if now < row.held_until:
                return Held(row)
    return Ask(None)


def _still_good(question: Question, row: Row) -> bool:
    """Whether a delivered report may be had again without asking.

    A Reelport service is asked: it gives the same report while nothing changed.
    """
    return not question.reelport and not question.fresh and row.over()
