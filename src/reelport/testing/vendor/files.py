"""The fake vendor's files: rows for any ask, expiring URLs, downloads that may go wrong."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import secrets
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

from reelport.catalog import (
    CellType,
    Difference,
    Dimension,
    Distinct,
    Filter,
    Metric,
    Ratio,
    Rule,
    Stock,
    Sum,
    measures,
    round_ratio,
)
from reelport.query import ReportQuery
from reelport.testing.vendor.behaviour import Behaviour, Body, Wire, cut_body
from reelport.testing.vendor.messages import Request, head, json_reply
from reelport.wire import COMPLETE_HEADER, format_complete_day

PREFIX = "/files/"
_FROM = re.compile(r"bytes=(\d+)-")
_CHUNK = 4096

_Fact = tuple[date, int]

# Texts of cells, among them commas, quotes, an `NA` that is a text, and an empty one.
_WORDS = ("amber", "birch", "cobalt", "dune", "ember", 'Café, "été"', "fjord", "NA", "grove", "Émoji 🎬", "", "harbor")

_VIEWERS = 5


@dataclass(frozen=True, slots=True)
class Link:
    """One signed URL that was given out."""

    token: str
    number: int
    given: float


@dataclass
class Files:
    """Every signed URL of the vendor. Callers must hold the vendor's lock."""

    behaviour: Behaviour
    given: dict[str, Link] = field(default_factory=dict)
    made: dict[str, tuple[object, list[bytes]]] = field(default_factory=dict, repr=False)

    def links(self, url: str, token: str) -> list[str]:
        """Make new links to the files of a report."""
        numbered = {secrets.token_hex(12): number for number in range(self.behaviour.links)}
        self.given |= {signature: Link(token, number, time.monotonic()) for signature, number in numbered.items()}
        return [f"{url}{PREFIX}{token}/{number}?signature={sign}" for sign, number in numbered.items()]

    def link_of(self, request: Request) -> Link | None:
        """Return the link of a request; None where it is unknown or expired."""
        link = self.given.get(request.parameters.get("signature", ""))
        life = self.behaviour.link_expires
        if link is None or request.path != f"{PREFIX}{link.token}/{link.number}":
            return None
        return None if life is not None and time.monotonic() - link.given >= life else link

    def answer(self, request: Request, link: Link | None, wire: Wire) -> Body:
        """Answer a download."""
        self.behaviour.downloads += 1
        if asked := request.headers.get("range"):
            self.behaviour.asked_ranges.append(asked)
        if link is None:
            return Body(json_reply({"error": "AccessDenied", "message": "Request has expired."}, 403))
        plain = self._parts(link.token, wire)[link.number]
        data = plain if self.behaviour.gzip is None else gzip.compress(plain, mtime=0)
        headers = self._headers(data)
        if (complete := self.behaviour.last_complete_day(wire)) is not None:
            headers[COMPLETE_HEADER] = format_complete_day(complete)
        start = self._start(request, headers, len(data))
        if start:
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self._goes_wrong() and self.behaviour.cut:
            return cut_body(self.behaviour.cut, plain, data, headers, start)
        if start >= len(data) > 0:
            return Body(head(416, {"content-range": f"bytes */{len(data)}", "content-length": "0"}))
        return Body(_is_good(self.behaviour, data[start:], headers, 206 if start else 200))

    def _goes_wrong(self) -> bool:
        times = self.behaviour.cut_times
        is_spared = (self.behaviour.downloads - 1) % self.behaviour.cut_every != 0
        if self.behaviour.cut is None or times == 0 or is_spared:
            return False
        if times is not None:
            self.behaviour.cut_times = times - 1
        return True

    def _start(self, request: Request, headers: Mapping[str, str], size: int) -> int:
        """Return the range's first byte; 0 where ranges are off or `If-Range` is another file's."""
        asked = _FROM.fullmatch(request.headers.get("range", ""))
        same = request.headers.get("if-range", headers.get("etag", "")) == headers.get("etag", "")
        return min(int(asked[1]), size) if asked and same and self.behaviour.ranges else 0

    def _headers(self, data: bytes) -> dict[str, str]:
        headers = {"content-type": "text/csv; charset=utf-8"}
        if self.behaviour.gzip == "file":
            headers["content-type"] = "application/gzip"
        if self.behaviour.gzip == "transport":
            headers["content-encoding"] = "gzip"
        if self.behaviour.ranges:
            headers["accept-ranges"] = "bytes"
        sha256 = hashlib.sha256(data).hexdigest()
        match self.behaviour.etag:
            case True:
                headers["etag"] = f'"{sha256}"'
            case "weak":
                headers["etag"] = f'W/"{sha256}"'
            case "opaque":
                headers["etag"] = f'"{sha256[:32]}"'
        return headers

    def _parts(self, token: str, wire: Wire) -> list[bytes]:
        """Return the plain files of a report; they are made again only where the settings change."""
        made_by = (self.behaviour.csv, self.behaviour.facts_a_day, self.behaviour.links)
        known = self.made.get(token)
        if known is None or known[0] != made_by:
            whole = _make_csv(wire, self.behaviour.facts_a_day) if made_by[0] is None else made_by[0](wire)
            known = self.made[token] = made_by, split_rows(whole, self.behaviour.links)
        return known[1]


def split_rows(whole: bytes, into: int) -> list[bytes]:
    """Split rows into several files with the header. One line a row, unless `into` is 1."""
    if into == 1:
        return [whole]
    header, *rows = whole.splitlines(keepends=True)
    size = -(-len(rows) // into)
    return [header + b"".join(rows[at * size : (at + 1) * size]) for at in range(into)]


def _is_good(behaviour: Behaviour, data: bytes, headers: Mapping[str, str], status: int) -> bytes:
    match behaviour.framing:
        case "length":
            return head(status, {**headers, "content-length": str(len(data))}) + data
        case "chunked":
            pieces = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            return head(status, {**headers, "transfer-encoding": "chunked"}) + chunks + b"0\r\n\r\n"
        case "none":
            return head(status, headers) + data


def _make_csv(wire: Mapping[str, Any], facts_a_day: int = 8) -> bytes:
    """Make the CSV of an ask: equal asks give equal bytes, and additive metrics add up.

    Each day has some facts, each fact a cell of every dimension and a number of every measure, all drawn from
    checksums; a report groups them. Names that the catalog doesn't know get cells and sums as well.
    """
    query = ReportQuery.from_wire(wire)
    seed = f"{query.product}|{query.filters}"
    groups: dict[tuple[str, ...], list[_Fact]] = defaultdict(list)
    for day in (query.start + timedelta(days) for days in range(query.days)):
        for number in range(facts_a_day):
            for cells in product(*(_cells(name, day, number, query) for name in query.dimensions)):
                groups[cells].append((day, number))
    if not query.dimensions and not groups:
        groups[()] = []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([name.lower() for name in (*query.dimensions, *query.metrics)])
    for cells in sorted(groups, key=lambda cells: [cell.encode() for cell in cells]):
        table.writerow([*cells, *(_number(name, groups[cells], seed) for name in query.metrics)])
    return text.getvalue().encode()


def _cells(name: str, day: date, number: int, query: ReportQuery) -> tuple[str, ...]:
    """Return the cells of a dimension for a fact: one, or two where it is many-valued."""
    dimension = Dimension.__members__.get(name)
    match dimension.type if dimension else CellType.TEXT:
        case CellType.DAY:
            return (day.isoformat(),)
        case CellType.MONTH:
            return (f"{day:%Y-%m}",)
        case CellType.HOUR:
            return (f"{day}T{number % 24:02}:00:00Z",)
        case CellType.MINUTE:
            return (f"{day}T{number % 24:02}:{number % 60:02}:00Z",)
    for filtered, value in query.filters:
        if (row := Filter.__members__.get(filtered)) and row.dimension is dimension:
            return (value.lower() if row.choices else value,)
    first = _text(name, number)
    return (first, _text(name, number + 1)) if dimension and dimension.many_valued else (first,)


def _text(name: str, number: int) -> str:
    return _WORDS[_draw(f"{name}|{number}") % len(_WORDS)] if number < len(_WORDS) else f"{name.lower()}-{number}"


def _number(name: str, facts: Iterable[_Fact], seed: str) -> str:
    metric = Metric.__members__.get(name)
    rule: Rule = metric.rule if metric else Sum(name)
    facts = list(facts)
    match rule:
        case Ratio(numerator, denominator, scale, digits):
            below = sum(_sum_measure(part, facts, seed) for part in denominator)
            whole = round_ratio(_sum_measure(numerator, facts, seed), below, scale, digits)
            return "" if whole is None else f"{Decimal(whole).scaleb(-digits):f}"
        case Distinct(of):
            return str(len({_draw(f"{of}|{number}|{day.toordinal() % 3}") % _VIEWERS for day, number in facts}))
        case Stock(measure):
            last = max((day for day, _ in facts), default=None)
            return f"{_sum_measure(measure, [fact for fact in facts if fact[0] == last], seed):f}"
        case Difference(minuend, subtrahend):
            return f"{_sum_measure(minuend, facts, seed) - _sum_measure(subtrahend, facts, seed):f}"
        case _:
            return f"{sum(_sum_measure(part, facts, seed) for part in measures(rule)):f}"


def _sum_measure(measure: str, facts: Iterable[_Fact], seed: str) -> Decimal:
    whole = sum(_draw(f"{seed}|{measure}|{day}|{number}") % 9973 for day, number in facts)
    return Decimal(whole).scaleb(-_digits().get(measure, 0))


@cache
def _digits() -> dict[str, int]:
    return {rule.measure: rule.digits for metric in Metric if isinstance(rule := metric.rule, Sum)}


def _draw(text: str) -> int:
    return zlib.crc32(text.encode())
