"""How a vendor behaves: every setting, its default a well-behaved one; each may be changed while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from reelport.testing.vendor.cuts import Cut

Wire = Mapping[str, Any]
"""The input of an ask as it came."""


@dataclass(kw_only=True, eq=False)
class Behaviour:
    """What a vendor does, and what it does wrong."""

    running: int = 2
    """Reports that one key may have unfinished; a further ask is refused."""
    outside: int = 0
    """Reports that somebody else has unfinished with this key; they hold slots as well."""
    answers_asks_in: float = 0.0
    """Seconds until the answer to an ask that was taken leaves."""
    refusal: Literal["errors", "429"] = "errors"
    """How it is refused: an `errors` list in a 200, or HTTP 429."""
    retry_after: float | str | None = None
    """The `Retry-After` of HTTP 429 and 503: seconds, or a date as text."""
    longest: int = 180
    """Days that one report may cover."""
    refuses: Callable[[Wire], str | None] = lambda _: None
    """The sentence with which an ask is refused; None takes it."""
    unavailable: int = 0
    """How many of the next requests for GraphQL get HTTP 503."""

    makes_in: float = 0.0
    """Seconds from the ask until a report is made."""
    makes_after_looks: int = 0
    """Looks that find a report unfinished."""
    status_words: tuple[str, ...] = ("IN_PROGRESS",)
    """What the looks at an unfinished report say, one after the other; the last stays."""
    fails: int | Callable[[Wire], bool] = 0
    """How many of the next reports end as FAILED, or which."""
    expires_after: float | None = None
    """Seconds from the ask until a report has expired."""
    forgets: bool = False
    """Whether an expired report is unknown (a null) rather than EXPIRED."""
    loses_ask: Literal["before", "after"] | None = None
    """Leave an ask without its answer: before it was taken, or after."""
    lost_answer: Literal["nothing", "500", "html", "empty"] = "nothing"
    """What comes instead: the end of the connection, HTTP 500, an HTML page or an empty body with status 200."""
    loses_times: int = 1
    """How many of the next asks are lost."""
    dedups: bool = False
    """Whether the same ask is answered with the same report."""
    null_links: bool = False
    """Whether an unfinished report's `downloadLinks` is a null rather than a connection without edges."""
    says_reelport: bool = False
    """Whether every answer says that it comes from a Reelport service."""

    token_life: int = 3600
    """Seconds that a token is good for."""
    token_refusal: Literal["401", "errors"] = "401"  # noqa: S105 - a word, no secret
    """How a bad token is refused: HTTP 401, or an `errors` list in a 200."""
    lacks: frozenset[str] = frozenset()
    """Scopes that the key lacks: a token asked for with one is refused as `invalid_scope`."""

    csv: Callable[[Wire], bytes] | None = None
    """The file of an ask; without it believable rows of every day asked for, which add up."""
    last_complete_day: Callable[[Wire], date | None] = lambda _: None
    """The last complete day that the file of an ask says, as a Reelport service does; None says nothing."""
    facts_a_day: int = 8
    """How many facts each day of the believable rows has."""
    links: int = 1
    """Into how many files a report is divided, each with its header."""
    links_a_page: int | None = None
    """How many links a look gives at a time, where it names no other number; None gives all."""
    links_lost: int = 0
    """By how many links `totalCount` is more than can be had."""
    link_expires: float | None = None
    """Seconds that a link is good for."""
    etag: bool | Literal["weak", "md5", "opaque"] = True
    """Whether a file's ETag is its SHA-256; `"weak"` marks it weak, `"md5"` is its MD5, `"opaque"` no checksum."""
    digests: tuple[str, ...] = ()
    """Headers with a checksum of a file's bytes as they are sent: `Content-MD5`, `Repr-Digest`, `Digest`,
    `x-goog-hash`, and `x-amz-checksum-` with md5, sha1, sha256, sha512 or crc32."""
    ranges: bool = True
    """Whether a part of a file may be asked for."""
    gzip: Literal["transport", "file"] | None = None
    """Pack files by gzip: said by `Content-Encoding`, or only by the bytes themselves."""
    framing: Literal["length", "chunked", "none"] = "length"
    """How the end of a file is told: `Content-Length`, chunks, or the end of the connection."""
    cut: Cut | None = None
    """What goes wrong with a download."""
    cut_times: int | None = None
    """With how many of the next downloads; None is all."""
