"""ReportQuery, the question that a report answers.

A query converts to and from the wire, and has a canonical form and a fingerprint. Names are strings, since a vendor may
add names that this version doesn't know; `reelport.check` checks them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Self

from reelport.errors import Problem, QueryRefused, UsageError
from reelport.wire import Code

DEFAULT_PRODUCT = "CONTENT"
NULL = "null"
"""Stands for a null in a list of metrics or dimensions: the wire's schema allows one."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?([Zz]|[+-]\d{2}(:?\d{2})?)?")


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """The query of a report: names in the order of columns, days in UTC, both ends included.

    `filters` are pairs of a filter's name and its value, in order of name.
    """

    metrics: tuple[str, ...]
    dimensions: tuple[str, ...]
    start: date
    end: date
    filters: tuple[tuple[str, str], ...] = ()
    product: str = DEFAULT_PRODUCT

    @classmethod
    def of(
        cls,
        metrics: Iterable[object],
        dimensions: Iterable[object],
        start: date,
        end: date,
        filters: Mapping[str, object] | None = None,
        product: object = DEFAULT_PRODUCT,
    ) -> Self:
        """Make a query from names or rows of the catalog.

        Raises UsageError with every argument of a wrong type.
        """
        wrong: list[str] = []
        metric_names = _read_names("metrics", metrics, wrong)
        dimension_names = _read_names("dimensions", dimensions, wrong)
        _check_types(start, end, filters, product, wrong)
        pairs = sorted((str(name), str(value)) for name, value in (filters or {}).items())
        return cls(metric_names, dimension_names, start, end, tuple(pairs), str(product))

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Make a query from an `AskPartnerReportFileInput`.

        Raises QueryRefused with every date that can't be parsed. A null filter or product counts as left out.
        """
        dates, problems = _parse_dates(wire)
        if problems:
            raise QueryRefused(problems)
        filters = {name: str(value) for name, value in (wire.get("filters") or {}).items() if value is not None}
        return cls.of(
            _read_wire_names(wire["metrics"]),
            _read_wire_names(wire["dimensions"]),
            dates["startDate"],
            dates["endDate"],
            filters,
            str(wire.get("product") or DEFAULT_PRODUCT),
        )

    def to_wire(self) -> dict[str, Any]:
        """Convert the query to an `AskPartnerReportFileInput`."""
        wire: dict[str, Any] = {
            "metrics": list(self.metrics),
            "dimensions": list(self.dimensions),
            "startDate": self.start.isoformat(),
            "endDate": self.end.isoformat(),
            "product": self.product,
        }
        if self.filters:
            wire["filters"] = dict(self.filters)
        return wire

    def canonical(self) -> str:
        """The query's canonical JSON: equal for equal queries. The order of columns matters."""
        return json.dumps(self.to_wire(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def fingerprint(self) -> str:
        """The SHA-256 of the canonical form, in hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def within(self, start: date, end: date) -> Self:
        """Copy the query with another range of days."""
        return replace(self, start=start, end=end)

    @property
    def days(self) -> int:
        """How many days the query covers; below 1 when the range is reversed."""
        return (self.end - self.start).days + 1


def parse_day(text: str) -> date:
    """Parse an ISO 8601 date or time to its day in UTC. ValueError for any other text.

    A time without an offset is UTC.
    """
    if _DAY.fullmatch(text):
        return date.fromisoformat(text)
    if not _MOMENT.fullmatch(text):
        raise ValueError(f"{text!r} is neither YYYY-MM-DD nor an ISO 8601 time")
    moment = datetime.fromisoformat(text.replace(",", ".").upper())
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).date()
    except OverflowError:
        raise ValueError(f"{text!r} leaves the calendar") from None


def _parse_dates(wire: Mapping[str, Any]) -> tuple[dict[str, date], tuple[Problem, ...]]:
    dates: dict[str, date] = {}
    problems: list[Problem] = []
    for name in ("startDate", "endDate"):
        value = wire.get(name)
        try:
            dates[name] = value if isinstance(value, date) else parse_day(str(value))
        except ValueError:
            sentence = f"{str(value)[:80]!r} is no date: give YYYY-MM-DD, or an ISO 8601 time."
            problems.append(Problem(Code.BAD_DATE, (name,), sentence))
    return dates, tuple(problems)


def _read_wire_names(items: Iterable[Any]) -> tuple[str, ...]:
    return tuple(NULL if item is None else str(item) for item in items)


def _read_names(part: str, items: object, wrong: list[str]) -> tuple[str, ...]:
    """Read the names of `part`. Refuses a string: it would pass for a list of letters."""
    if isinstance(items, str) or not isinstance(items, Iterable):
        wrong.append(f"{part} is a list of names, and not {_format_value(items)}.")
        return ()
    found = tuple(items)
    wrong += [
        f"{part} holds {_format_value(item)}, which is no name." for item in found if not isinstance(item, str | Enum)
    ]
    return tuple(map(str, found))


def _check_types(start: object, end: object, filters: object, product: object, wrong: list[str]) -> None:
    """Raise UsageError with those in `wrong` and with each argument of a wrong type."""
    for part, value in (("start", start), ("end", end)):
        # A datetime is a subclass of date, but never equals one.
        if isinstance(value, datetime) or not isinstance(value, date):
            wrong.append(f"{part} is a datetime.date, and not {_format_value(value)}.")
    if isinstance(filters, Mapping):
        odd = {name: value for name, value in filters.items() if not isinstance(value, str | int | Enum)}
        wrong += [
            f"filters: {name} takes a single text, and not {_format_value(value)}." for name, value in odd.items()
        ]
    elif filters is not None:
        wrong.append(f"filters is a mapping of names to values, and not {_format_value(filters)}.")
    if not isinstance(product, str | Enum):
        wrong.append(f"product is a name, and not {_format_value(product)}.")
    if wrong:
        raise UsageError("\n".join(wrong))


def _format_value(value: object) -> str:
    return repr(value)[:80]
