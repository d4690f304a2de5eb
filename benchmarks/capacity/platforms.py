"""The platforms that are computed, and what is assumed of them: no source tells how partners ask."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cached_property

from benchmarks.capacity.figures import Size


@dataclass(frozen=True, slots=True)
class Question:
    """A kind of report: the share of all reports that it has, its days, and rows written for each row read."""

    name: str
    share: float
    days: int
    written: float


QUESTIONS = (
    Question("yesterday by video", 0.70, 1, 0.05),
    Question("a week by video and country", 0.20, 7, 0.3),
    Question("half a year by day and country", 0.09, 180, 0.001),
    Question("a week, every column", 0.01, 7, 1.0),
)
"""What is assumed to be asked: mostly the newest day, now and then everything."""

BUSIEST_HOUR = 0.2
"""Share of a day's reports that come in its busiest hour: programs ask in the morning, when a day is complete."""
_UNSETTLED_DAYS, _MONTH_DAYS = 10, 30
CROWD = 1.0
"""Exponent of the sizes of partners: the second has half of the first one's rows, the third a third."""


@dataclass(frozen=True)
class Platform:
    """A platform: its partners, rows of facts a day, reports that a partner asks for a day, and days that are kept."""

    partners: int
    rows_a_day: float
    reports_a_day: float = 20
    days_kept: int = 1000

    @cached_property
    def shares(self) -> list[float]:
        """Each partner's share of the rows, the largest first."""
        sizes = [(rank + 1) ** -CROWD for rank in range(self.partners)]
        total = sum(sizes)
        return [size / total for size in sizes]

    @property
    def rows(self) -> float:
        """All rows that are kept."""
        return self.rows_a_day * self.days_kept

    @property
    def reach(self) -> float:
        """The rows of all files that any report opens: those of its longest question."""
        return self.rows_a_day * min(self.days_kept, max(question.days for question in QUESTIONS))

    @property
    def busiest(self) -> float:
        """Reports asked for in a second of the busiest hour."""
        return self.partners * self.reports_a_day * BUSIEST_HOUR / 3600

    def size(self, partner: int, question: Question) -> Size:
        """The rows of a partner's report, which opens the files of all of its days: of whole months, once settled."""
        days = min(question.days, self.days_kept)
        opened = days if days <= _UNSETTLED_DAYS else math.ceil(days / _MONTH_DAYS) * _MONTH_DAYS
        read = self.rows_a_day * self.shares[partner] * days
        return Size(opened * self.rows_a_day, read, read * question.written, self.reach)

    def draw(self, random_: random.Random) -> tuple[int, Question]:
        """Draw who asks, and what: each partner as often as any other."""
        kinds = random_.choices(QUESTIONS, [question.share for question in QUESTIONS])
        return random_.randrange(self.partners), kinds[0]


PLATFORMS = (
    Platform(10, 1e5),
    Platform(100, 1e6),
    Platform(100, 1e7),
    Platform(1_000, 1e7),
    Platform(1_000, 1e8),
    Platform(10_000, 1e8),
    Platform(10_000, 1e8, reports_a_day=200),
)
"""From a small platform to ten thousand partners, a hundred billion rows and two million reports a day."""
