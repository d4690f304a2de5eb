"""How the fake vendor behaves: well by default; each may be changed while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from reelport.testing.vendor.cuts import Cut

Wire = Mapping[str, Any]
"""The input of an ask as JSON."""


@dataclass(kw_only=True, eq=False)
class Behaviour:
    """What the vendor does, and what it does wrong."""

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
    etag: bool | Literal["weak", "md5", "opaque"] = True
    """Whether a file's ETag is its SHA-256; `"weak"` marks it weak, `"md5"` is its MD5, `"opaque"` no checksum."""
    digests: tuple[str, ...] = ()
    """Headers with a checksum of a file's bytes as they are sent: `Content-MD5`, `Repr-Digest`, `Digest`,
    `x-goog-hash`, and `x-amz-checksum-` with md5, sha1, sha256, sha512 or crc32."""
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
