"""One question: its frozen value, and the sentence that says it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Self

from reelport.catalog import Dimension, Filter, Metric, Product
from reelport.catalog.labels import (
    capitalize,
    label_dimension,
    label_filter,
    label_metric,
    label_value,
)
from reelport.errors import Problem, QueryRefused, UsageError
from reelport.language import _
from reelport.wire import Code
from reelport.wording import clean_line, format_days, format_list

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
        """Make a query from names or rows. UsageError with every argument of a wrong type."""
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
        dates: dict[str, date] = {}
        problems: list[Problem] = []
        for name in ("startDate", "endDate"):
            value = wire.get(name)
            try:
                dates[name] = value if isinstance(value, date) else parse_day(str(value))
            except ValueError:
                sentence = f"{str(value)[:80]!r} is no date: give YYYY-MM-DD, or an ISO 8601 time."
                problems.append(Problem(Code.BAD_DATE, (name,), sentence))
        if problems:
            raise QueryRefused(tuple(problems))
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
    """Parse an ISO 8601 date or time (UTC without an offset) to its day in UTC. ValueError."""
    return date.fromisoformat(text) if _DAY.fullmatch(text) else parse_moment(text).date()


def parse_moment(text: str) -> datetime:
    """Parse an ISO 8601 date or time (UTC without an offset) to a time in UTC. ValueError."""
    if not (_DAY.fullmatch(text) or _MOMENT.fullmatch(text)):  # Python's own parser accepts more.
        raise ValueError(f"{text!r} is neither YYYY-MM-DD nor an ISO 8601 time")
    moment = datetime.fromisoformat(text.replace(",", ".").upper())
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} leaves the calendar") from None


def _read_wire_names(items: Iterable[Any]) -> tuple[str, ...]:
    return tuple(NULL if item is None else str(item) for item in items)


def _read_names(part: str, items: object, wrong: list[str]) -> tuple[str, ...]:
    if isinstance(items, str) or not isinstance(items, Iterable):
        wrong.append(f"{part} is a list of names, and not {_format_value(items)}.")
        return ()
    found = tuple(items)
    wrong += [
        f"{part} holds {_format_value(item)}, which is no name." for item in found if not isinstance(item, str | Enum)
    ]
    return tuple(map(str, found))


def _check_types(start: object, end: object, filters: object, product: object, wrong: list[str]) -> None:
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


def describe_query(query: ReportQuery) -> str:
    """Say which report a query asks for, without a full stop; unknown names stay."""
    metrics = capitalize(format_list([_label_column(name) for name in query.metrics]))
    by = format_list([_label_column(name) for name in query.dimensions])
    what = (
        _("%(metrics)s by %(dimensions)s", metrics=metrics, dimensions=by)
        if by
        else _("%(metrics)s in all", metrics=metrics)
    )
    return f"{' '.join([what, *_list_limits(query)])}, {format_days(query.start, query.end)}"


def _label_column(name: str) -> str:
    if name in Metric.__members__:
        return label_metric(Metric[name])
    return label_dimension(Dimension[name]) if name in Dimension.__members__ else name


def _list_limits(query: ReportQuery) -> Iterator[str]:
    """Say what narrows the query: its product, then its filters in the catalog's order."""
    if query.product in Product.__members__ and Product[query.product] is not Product.CONTENT:
        yield _("of %(product)s", product=_(Product[query.product].phrase))
    for name, value in sorted(query.filters, key=filter_place):
        row = Filter.__members__.get(name)
        label = label_filter(row) if row else name
        if not value:
            yield _("without a %(label)s", label=label)
        elif row is Filter.channelSlug:
            yield _("for %(channel)s", channel=clean_line(value))
        else:
            shown = clean_line(label_value(row.dimension, value) if row else value)
            yield _("with %(label)s %(value)s", label=label, value=shown)


def filter_place(pair: tuple[str, str]) -> tuple[int, str]:
    """The place of a filter in the catalog's order; unknown ones come last, by name."""
    known = list(Filter.__members__)
    return known.index(pair[0]) if pair[0] in known else len(known), pair[0]
