"""Limits on bad rows: how many a load tolerates, and how many its reject file keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from reelport.errors import UsageError
from reelport.facts.defaults import REJECT_BYTES, REJECT_ROWS

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%")
_DAYS_SHOWN = 5
_WHOLE = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True)
class RejectCap:
    """The most that a reject file holds; further bad rows are counted but not kept."""

    rows: int = REJECT_ROWS
    bytes: int = REJECT_BYTES


@dataclass(frozen=True, slots=True)
class MaxBad:
    """The most bad rows tolerated: a number or a share of all read; `text` as it was written."""

    text: str
    rows: int | None = None
    share: Fraction | None = None

    def is_exceeded(self, bad: int, total: int) -> bool:
        """Whether `bad` rows of `total` are too many."""
        if self.rows is not None:
            return bad > self.rows
        return self.share is not None and bad > self.share * total


@dataclass(frozen=True, slots=True)
class LoadTerms:
    """A load's terms: how many bad rows it tolerates, which days (both included) it replaces."""

    strict: bool = False
    span: tuple[date, date] | None = None
    most: MaxBad | None = None

    def refuse_bad_rows(self, rows: int, bad: int, total: int) -> str | None:
        """Say why bad rows refuse the load: the option, "" without good rows, None if they don't."""
        if bad and not rows:
            return ""
        if self.most is not None and self.most.is_exceeded(bad, total):
            return f"--max-bad {self.most.text}"
        if self.strict and bad:
            return "--strict"
        return "a replacement takes no bad rows" if bad and self.span is not None else None

    def find_problem(self, rows: int, days: Sequence[date], names: Sequence[str]) -> str | None:
        """Say why good rows can't be loaded: there are none, or some are outside the days."""
        if self.span is None:
            return None if rows else f"there are no rows in {', '.join(names)}"
        outside = [day.isoformat() for day in days if not self.span[0] <= day <= self.span[1]]
        if not outside:
            return None
        more = " …" if len(outside) > _DAYS_SHOWN else ""
        return f"rows lie outside the days to replace ({', '.join(outside[:_DAYS_SHOWN])}{more})"


def parse_max_bad(text: str) -> MaxBad:
    """Parse a limit such as `100` or `5%`. Raises UsageError when the text is neither."""
    word = text.strip()
    if found := _SHARE.fullmatch(word):
        share = Fraction(found[1]) / 100
        if share <= 1:
            return MaxBad(word, share=share)
    elif _WHOLE.fullmatch(word):
        return MaxBad(word, rows=int(word))
    raise UsageError(f"the most bad rows are a number such as 100, or a share such as 5%, not {text!r}")
