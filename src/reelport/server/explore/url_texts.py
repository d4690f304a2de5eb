"""Reads names, choices and days from a URL's query, with a problem for each that isn't one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from reelport import check
from reelport.catalog import Filter
from reelport.errors import Problem
from reelport.query import parse_day
from reelport.server.explore.view import Parameter
from reelport.wire import Code

Choice = TypeVar("Choice")

_MOST = 100
"""Pairs of a URL that are read. Each unknown name costs a search for the one that was meant."""
LONGEST = 1000
"""Characters that a value may have."""
_EXAMPLE = date(2026, 7, 4)
SHOWN = 80
"""Characters of a wrong value that a sentence quotes."""
_KNOWN = frozenset({*map(str, Parameter), *Filter.__members__})


@dataclass(slots=True)
class UrlTexts:
    """The texts of each known parameter, and the problems found while they are read."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def names(self, parameter: str) -> tuple[str, ...]:
        """The parameter's texts, each once: empty ones come from forms and count for nothing."""
        return tuple(dict.fromkeys(text for text in self.texts.get(parameter, ()) if text))

    def single(self, parameter: str) -> str:
        """The parameter's one text, the last where it has several; empty when it has none."""
        return (self.names(parameter) or ("",))[-1]

    def choice(self, parameter: str, choices: Mapping[str, Choice]) -> Choice | None:
        """The choice that the parameter names; None when it names none."""
        text = self.single(parameter)
        if text and text not in choices:
            advice = check.advice(check.nearest(text, choices), choices)
            self.report(parameter, Code.INVALID_VALUE, f"There is no {parameter} {text[:SHOWN]!r}.{advice}")
        return choices.get(text)

    def day(self, parameter: str, earliest: date) -> date | None:
        """The day that the parameter names; None when it names none."""
        text = self.single(parameter)
        if not text:
            return None
        try:
            day = parse_day(text)
        except ValueError:
            self.report(parameter, Code.BAD_DATE, f"{text[:SHOWN]!r} is no day: write it like {_EXAMPLE}.")
            return None
        if day < earliest:
            self.report(parameter, Code.BAD_DATE, f"{day} is too long ago: numbers begin on {earliest}.")
        return max(day, earliest)

    def report(self, parameter: str, code: Code, sentence: str) -> None:
        """Add a problem of a parameter."""
        self.problems.append(Problem(code, (str(parameter),), sentence))


def read_url(pairs: Iterable[tuple[str, str]]) -> UrlTexts:
    """Sort the pairs of a URL's query by name, without those that can't be meant."""
    url = UrlTexts()
    for place, (name, text) in enumerate(pairs):
        if place == _MOST:
            url.report("", Code.TOO_LARGE, f"Only the first {_MOST} parameters of the address were read.")
            break
        if name not in _KNOWN:
            advice = check.advice(check.nearest(name, _KNOWN), _KNOWN)
            url.report(
                "", Code.INVALID_VALUE, f"The address has a parameter {name[:SHOWN]!r}, which is unknown.{advice}"
            )
        elif len(text) > LONGEST or "\0" in text:
            url.report(name, Code.INVALID_VALUE, f"The value of {name} is no text of up to {LONGEST} characters.")
        else:
            url.texts.setdefault(name, []).append(text)
    return url
