"""The wire format that client and service share.

Paths, headers, GraphQL documents, scopes, statuses and error codes: facts of the Reporting API, as Dailymotion
documents it or as its public schema shows it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Self

TOKEN_PATH = "/oauth/v1/token"  # noqa: S105 - a path, no secret
GRAPHQL_PATH = "/graphql"
FILES_PATH = "/files"
PUBLIC_TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path, no secret
PUBLIC_GRAPHQL_PATH = "/"
"""Paths for public API keys; private keys and plain bearer tokens use the paths above."""

ROWS_HEADER, VERSION_HEADER = "Reelport-Rows", "Reelport-Version"
"""Headers in every answer of a Reelport service, and of no other service."""
COMPLETE_HEADER = "Reelport-Last-Complete-Day"
"""The header with the last day that is complete in every table that the report was made of: a date, or `none`."""
QUERY_HEADER, VERSIONS_HEADER, UNITS_HEADER = "Reelport-Query", "Reelport-Versions", "Reelport-Units"
"""Headers, JSON in ASCII, of a report's file in another form than CSV: its query, unless that is long; the versions of
the tables that it was made of; the units of its metrics."""
KEY_EXPIRES_HEADER = "Reelport-Key-Expires"
"""The header of a granted token whose key expires within two weeks: the time, in UTC."""
PREFER_HEADER, APPLIED_HEADER = "Prefer", "Preference-Applied"
"""Headers (RFC 7240) by which a status query asks for long polling, `wait=10` seconds, and the service confirms it."""

NO_DAY = date.min
"""The last complete day when no day is complete: it is before every other day."""
_NONE = "none"

TOUCH = "{ __typename }"
"""The cheapest valid GraphQL document, to test a connection."""

ASK = """\
mutation AskReport($input: AskPartnerReportFileInput!) {
  askPartnerReportFile(input: $input) {
    reportFile { reportToken status }
  }
}
"""

LOOK = """\
query LookAtReport($reportToken: String!, $page: Int = 1) {
  partner {
    reportFile(reportToken: $reportToken) {
      status
      downloadLinks(page: $page) {
        edges { node { link } }
        pageInfo { hasNextPage nextPage }
        totalCount
      }
    }
  }
}
"""


def format_utc(moment: datetime, precision: str = "seconds") -> str:
    """Format a time for programs, in UTC: `2023-07-01T09:30:00Z`."""
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def format_complete_day(day: date) -> str:
    """Format a last complete day as the header and sidecars have it.

    For example `2026-10-31`; `none` for NO_DAY.
    """
    return _NONE if day == NO_DAY else day.isoformat()


def parse_complete_day(text: object) -> date | None:
    """Parse what `format_complete_day` gives; None for anything else."""
    if text == _NONE:
        return NO_DAY
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


class ExplainedWord(StrEnum):
    """A word of a closed list, with the sentence that explains it."""

    sentence: str

    def __new__(cls, word: str, sentence: str) -> Self:
        """Make a member of a word and its sentence."""
        made = str.__new__(cls, word)
        made._value_ = word
        made.sentence = sentence
        return made


class ReportStatus(ExplainedWord):
    """A report's status. A final one stays, but that FINISHED becomes EXPIRED in the end."""

    IN_PROGRESS = "IN_PROGRESS", "Being made, or waiting for its turn: look again."
    FINISHED = "FINISHED", "Made: its download links are there."
    FAILED = "FAILED", "It could not be made."
    EXPIRED = "EXPIRED", "Its time is over, and its file is gone."

    @property
    def final(self) -> bool:
        """Whether the report has ended, so that waiting is of no use."""
        return self is not ReportStatus.IN_PROGRESS


class Code(ExplainedWord):
    """Every `extensions.code` that an error of the service can have."""

    SYNTAX = "syntax_error", "The document isn't GraphQL."
    BAD_BODY = "bad_body", "The body of the request isn't a JSON object with a `query`."
    INVALID_DOCUMENT = "invalid_document", "The document doesn't fit the schema."
    INVALID_VALUE = "invalid_value", "A value doesn't fit the type that the schema gives it."
    UNKNOWN_METRIC = "unknown_metric", "There is no such metric."
    UNKNOWN_DIMENSION = "unknown_dimension", "There is no such dimension."
    UNKNOWN_FILTER = "unknown_filter", "There is no such filter."
    UNKNOWN_FILTER_VALUE = "unknown_filter_value", "The filter has no such value."
    UNKNOWN_PRODUCT = "unknown_product", "There is no such product."
    NO_METRICS = "no_metrics", "A report needs at least one metric."
    EMPTY_ITEM = "empty_item", "A list of metrics or dimensions contains a null."
    DUPLICATE = "duplicate", "A metric or a dimension is named twice."
    INCOMPATIBLE_PAIR = "incompatible_pair", "The metric can't be split by the dimension."
    INCOMPATIBLE_FILTER = "incompatible_filter", "The metric doesn't go with the filter."
    GRAIN_TOO_FINE = "grain_too_fine", "The metric has no numbers for such short times."
    TOO_MANY_DIMENSIONS = "too_many_dimensions", "The report has more dimensions than one report may have."
    BAD_DATE = "bad_date", "A date is neither YYYY-MM-DD nor an ISO 8601 time."
    RANGE_REVERSED = "range_reversed", "The end is before the start."
    RANGE_TOO_LONG = "range_too_long", "The range covers more days than one report may."
    RANGE_IN_FUTURE = "range_in_future", "The range ends after today (UTC)."
    SCOPE_MISSING = "scope_missing", "The token lacks a scope that the request needs."
    TOO_MANY_REPORTS = "too_many_reports", "The partner has reached its limit of unfinished reports: try later."
    TOO_LARGE = "too_large", "The request is larger, deeper or longer than the service accepts."
    UNAUTHENTICATED = "unauthenticated", "The bearer token is absent, unknown, expired or revoked."
    NOT_FOUND = "not_found", "There is nothing at this address, or the token may not see it."
    WRONG_METHOD = "wrong_method", "The address doesn't take this method."
    UNAVAILABLE = "unavailable", "The service can't answer now: try again."
    INTERNAL = "internal_error", "The service failed; it isn't the request's fault."
