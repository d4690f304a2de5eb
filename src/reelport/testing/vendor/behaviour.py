"""How the fake vendor behaves, and the ways in which its downloads go wrong."""

from __future__ import annotations

import gzip as gzip_format
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, unique
from typing import Any, Literal

from reelport.report_details import Failure
from reelport.testing.vendor.messages import head, json_reply, reply

_CHUNKED = {"transfer-encoding": "chunked"}
_TRAILER = 8
_HTML = b"<!DOCTYPE html>\n<html><body><h1>Down for maintenance</h1></body></html>\n"

Wire = Mapping[str, Any]  # the input of an ask as JSON


@unique
class Cut(Enum):
    """One way in which a download goes wrong."""

    UNFRAMED = "no length is told, and the connection ends inside a row"
    UNFRAMED_AT_LINE_END = "no length is told, and the connection ends after a whole row"
    INSIDE_LAST_NUMBER = "no length is told, and the connection ends inside the last number of a row"
    INSIDE_HEADER = "no length is told, and the connection ends inside the header"
    EMPTY = "no length is told, and no byte comes"
    CONTENT_LENGTH = "a length is told, and the connection ends before it"
    CHUNKED = "chunks come, and the connection ends between two of them"
    INSIDE_CHUNK = "chunks come, and the connection ends inside one"
    RESET = "a length is told, and the connection is reset before it"
    STALL = "a length is told, and nothing more comes after half of it"
    SHORT_FILE = "half of the file, to a line end, is framed as if it were whole"
    GZIP = "half of a gzip stream is framed as if it were whole"
    GZIP_UNFRAMED = "no length is told, and the connection ends inside a gzip stream"
    GZIP_TRAILER = "a gzip stream without its trailer is framed as if it were whole"
    GZIP_CRC = "a gzip stream's checksum isn't that of its bytes"
    GZIP_MEMBER = "the first of two gzip members is framed as if it were whole"
    HTML_200 = "an HTML page comes with status 200"
    JSON_200 = "a JSON error comes with status 200"
    WRONG_HEADER = "a column has another name"
    SHORT_ROW = "a row in the middle has a cell too few"
    WRONG_BYTE = "one byte isn't the file's"
    WRONG_RANGE = "the answer to a range is another range than was asked for"


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's raw bytes, the seconds before them, and how the connection ends."""

    raw: bytes
    reset: bool = False
    stall: bool = False
    delay: float = 0.0


def cut_body(  # noqa: C901, PLR0911, PLR0912 - one for each way
    cut: Cut, data: bytes, sent: bytes, headers: Mapping[str, str], start: int
) -> Body:
    """Build the answer that goes wrong in this way.

    `data` is the whole plain file, `sent` the same as encoded for sending; the client asked for it from `start` on.
    """
    plain = {name: value for name, value in headers.items() if name not in {"content-encoding", "content-range"}}
    unframed, gzipped = head(200, plain), {**plain, "content-encoding": "gzip"}
    status, rest = 206 if start else 200, sent[start:]
    half, packed = rest[: len(rest) // 2], gzip_format.compress(data, mtime=0)
    lines = data.splitlines(keepends=True)
    middle = max(1, len(lines) // 2)
    some = b"".join(lines[: max(1, (len(lines) + 1) // 2)])
    match cut:
        case Cut.CONTENT_LENGTH | Cut.RESET | Cut.STALL:
            framed = head(status, {**headers, "content-length": str(len(rest))})
            return Body(framed + half, reset=cut is Cut.RESET, stall=cut is Cut.STALL)
        case Cut.CHUNKED:
            return Body(head(status, {**headers, **_CHUNKED}) + b"%x\r\n%b\r\n" % (len(half), half))
        case Cut.INSIDE_CHUNK:
            return Body(head(status, {**headers, **_CHUNKED}) + b"%x\r\n%b" % (len(rest), half))
        case Cut.UNFRAMED:
            row = lines[len(lines) // 2]
            return Body(unframed + b"".join(lines[: len(lines) // 2]) + row[: row.find(b",")])
        case Cut.UNFRAMED_AT_LINE_END:
            return Body(unframed + some)
        case Cut.INSIDE_LAST_NUMBER:
            return Body(unframed + some.rstrip(b"\n")[:-1])
        case Cut.INSIDE_HEADER:
            return Body(unframed + data[: data.find(b"\n") // 2])
        case Cut.EMPTY:
            return Body(unframed)
        case Cut.GZIP:
            return Body(reply(200, packed[: len(packed) // 2], gzipped))
        case Cut.GZIP_UNFRAMED:
            return Body(head(200, gzipped) + packed[: len(packed) // 2])
        case Cut.GZIP_TRAILER:
            return Body(reply(200, packed[:-_TRAILER], gzipped))
        case Cut.GZIP_CRC:
            return Body(reply(200, packed[:-_TRAILER] + bytes(4) + packed[-4:], gzipped))
        case Cut.GZIP_MEMBER:
            line_end = data.rfind(b"\n", 0, len(data) // 2) + 1 or len(data) // 2
            return Body(reply(200, gzip_format.compress(data[:line_end], mtime=0), gzipped))
        case Cut.HTML_200:
            return Body(reply(200, _HTML, {"content-type": "text/html; charset=utf-8"}))
        case Cut.JSON_200:
            return Body(json_reply({"error": "expired"}))
        case Cut.SHORT_FILE:
            return Body(reply(200, b"".join(lines[:middle]), plain))
        case Cut.WRONG_HEADER:
            return Body(reply(200, data.replace(b"\n", b"_of_another_report\n", 1), plain))
        case Cut.SHORT_ROW:
            short = lines[middle].rpartition(b",")[0] + b"\n"
            return Body(reply(200, b"".join([*lines[:middle], short, *lines[middle + 1 :]]), plain))
        case Cut.WRONG_BYTE:
            bare = data.rstrip(b"\n")
            return Body(reply(200, bare[:-1] + (b"3" if bare.endswith(b"8") else b"8") + b"\n", plain))
        case Cut.WRONG_RANGE if start:
            other = f"bytes {start + 1}-{len(sent) - 1}/{len(sent)}"
            return Body(reply(206, sent[start + 1 :], {**headers, "content-range": other}))
        case Cut.WRONG_RANGE:
            return Body(reply(200, data, plain))


@dataclass(kw_only=True, eq=False)
class Behaviour:
    """What the vendor does, and what it does wrong; first, what it was asked so far."""

    looks: int = field(default=0, init=False)
    """How many status queries came."""
    refused: int = field(default=0, init=False)
    """How many asks were refused because too many reports were unfinished."""
    refused_queries: int = field(default=0, init=False)
    """How many asks were refused for their query."""
    peak: int = field(default=0, init=False)
    """The most reports that were unfinished at once."""
    downloads: int = field(default=0, init=False)
    """How many requests for a file came, valid or not."""
    asks: list[dict[str, Any]] = field(default_factory=list, init=False)
    """The inputs of all accepted asks, including those whose answer was lost."""
    grants: list[str] = field(default_factory=list, init=False)
    """The grant type of each request for a token."""
    asked_ranges: list[str] = field(default_factory=list, init=False)
    """The `Range` of each download that had one."""

    running: int = 2
    """How many unfinished reports one key may have; a further ask is refused."""
    outside: int = 0
    """Unfinished reports of another program with the same key; they hold slots as well."""
    answers_asks_in: float = 0.0
    """Seconds by which the answer to an accepted ask is delayed."""
    refusal: Literal["errors", "429"] = "errors"
    """How an ask without a free slot is refused: an `errors` list with status 200, or HTTP 429."""
    retry_after: float | str | None = None
    """The `Retry-After` of HTTP 429 and 503: seconds, or a date as text."""
    longest: int = 180
    """Days that one report may cover."""
    refuses: Callable[[Wire], str | None] = lambda _: None
    """Returns the sentence with which an ask is refused; None accepts it."""
    refuses_every: int | None = None
    """Every ask with this number is refused as if the key had too many unfinished reports; None refuses none."""
    unavailable: int = 0
    """How many of the next GraphQL requests get HTTP 503."""

    makes_in: float = 0.0
    """Seconds from the ask until a report is finished."""
    makes_after_looks: int = 0
    """How many status queries find a report unfinished."""
    status_words: tuple[str, ...] = ("IN_PROGRESS",)
    """Statuses of an unfinished report in successive status queries; the last is repeated."""
    fails: int | Callable[[Wire], bool] = 0
    """How many of the next reports end as FAILED, or a function that chooses."""
    failure: Failure | None = None
    """Why reports fail, which is told as by a Reelport service; None tells nothing, like other vendors."""
    expires_after: float | None = None
    """Seconds from the ask until a report has expired."""
    forgets: bool = False
    """Whether the status query of an expired report gives null instead of EXPIRED."""
    loses_ask: Literal["before", "after"] | None = None
    """Lose the answer to an ask, before or after the ask is accepted."""
    lost_answer: Literal["nothing", "500", "html", "empty"] = "nothing"
    """What replaces a lost answer: a closed connection, HTTP 500, or status 200 with an HTML page or no body."""
    loses_times: int = 1
    """How many of the next answers to asks are lost."""
    dedups: bool = False
    """Whether an equal ask gets the same report."""
    null_links: bool = False
    """Whether an unfinished report's `downloadLinks` is null instead of a connection without edges."""
    says_reelport: bool = False
    """Whether every answer has the header of a Reelport service."""

    token_life: int = 3600
    """Seconds until a token expires."""
    token_refusal: Literal["401", "errors"] = "401"  # noqa: S105 - a word, no secret
    """How an invalid token is refused: HTTP 401, or an `errors` list with status 200."""
    lacks: frozenset[str] = frozenset()
    """Scopes that the key lacks: a token request with one of them is refused as `invalid_scope`."""

    csv: Callable[[Wire], bytes] | None = None
    """Makes the file of an ask; by default believable rows for every day, whose sums are consistent."""
    last_complete_day: Callable[[Wire], date | None] = lambda _: None
    """Gives the last complete day in a download's header, as a Reelport service sends it; None sends none."""
    facts_a_day: int = 8
    """How many facts each day has in the default rows."""
    links: int = 1
    """Into how many files a report is split, each with the header row."""
    links_a_page: int | None = None
    """Links on one page unless the query names a number; None means all."""
    links_lost: int = 0
    """By how many links `totalCount` exceeds the links that exist."""
    link_expires: float | None = None
    """Seconds until a link expires."""
    etag: bool | Literal["weak", "opaque"] = True
    """Whether a file's ETag is its SHA-256; `"weak"` marks it weak, `"opaque"` is no checksum."""
    ranges: bool = True
    """Whether range requests are supported."""
    gzip: Literal["transport", "file"] | None = None
    """Compress files with gzip: with `Content-Encoding`, or as the file's own format."""
    framing: Literal["length", "chunked", "none"] = "length"
    """How the end of a file is marked: `Content-Length`, chunks, or the end of the connection."""
    cut: Cut | None = None
    """What goes wrong with a download."""
    cut_times: int | None = None
    """How many of the next downloads go wrong; None means all."""
    cut_every: int = 1
    """Of so many downloads one goes wrong, the first."""
