"""Every limit of the API: defaults that a service can change, conventions that it can't."""

from __future__ import annotations

from enum import unique

from reelport.catalog.row_types import Row, Standing


@unique
class Limit(Row):
    """One limit: its default, its unit, how well it is known."""

    RUNNING_REPORTS = 2, "reports", Standing.DOCUMENTED, "Reports of one partner that are generated at the same time."
    DIMENSIONS = 8, "dimensions", Standing.DOCUMENTED, "Dimensions of one report."
    RANGE_DAYS = 180, "days", Standing.DOCUMENTED, "Days that one report covers, both ends included; at least 1."
    GENERATION_SECONDS = 7200, "seconds", Standing.DOCUMENTED, "Time that Dailymotion may take for one report."
    RETENTION_HOURS = 48, "hours", Standing.DOCUMENTED, "Life of a report, counted from the request."
    TOKEN_SECONDS = 3600, "seconds", Standing.INFERRED, "Life of an access token of a private key."
    PUBLIC_TOKEN_SECONDS = 36000, "seconds", Standing.DOCUMENTED, "Life of an access token of a public key."
    REFRESH_DAYS = 30, "days", Standing.CHOSEN, "Life of a refresh token of a public key."

    def __init__(self, default: int, unit: str, standing: Standing, sentence: str) -> None:
        self.default = default
        self.unit = unit
        self.standing = standing
        self.sentence = sentence


@unique
class Convention(Row):
    """A bound that is no setting: what it is, and how well it is known."""

    DATES = "required", Standing.DOCUMENTED, "First and last day of a report."
    LEAST_DAYS = "1 day", Standing.DOCUMENTED, "The shortest range."
    LAST_DAY = "included", Standing.INFERRED, "The last day of the range."
    TIME_ZONE = "UTC", Standing.DOCUMENTED, "The time zone of days, hours and times."
    FINEST_TIME = (
        "an hour",
        Standing.DOCUMENTED,
        "The shortest time unit, if the metric allows it. Older documentation says a day.",
    )
    LEAST_DIMENSIONS = (
        "none",
        Standing.CHOSEN,
        "The fewest dimensions. A report without dimensions has one row, or only a header if there are no facts.",
    )
    METRICS = "all that go together", Standing.CHOSEN, "The most metrics of one report."
    FILES = "1", Standing.CHOSEN, "Files of one report, of any length. The client accepts any number of links."
    LOOKS = "no limit", Standing.CHOSEN, "Status queries of a report. Token requests have a limit."
    PAUSE = "5 seconds", Standing.INFERRED, "The pause of known clients between two status queries."
    ROUNDING = (
        "half away from zero",
        Standing.CHOSEN,
        "How rates are rounded to the metric's digits, after an exact division of two sums. 0.125 gives 0.13.",
    )
    FRESHNESS = "all that is loaded", Standing.CHOSEN, "The facts that a report reads when it is made."

    def __init__(self, value: str, standing: Standing, sentence: str) -> None:
        self.says = value
        self.standing = standing
        self.sentence = sentence
