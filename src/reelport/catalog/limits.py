"""Every limit that the reference names, as a default: a service can be set otherwise."""

from __future__ import annotations

from enum import unique

from reelport.catalog.rules import Row, Standing


@unique
class Limit(Row):
    """One limit: its default, its unit, how well it is known."""

    RUNNING_REPORTS = 2, "reports", Standing.DOCUMENTED, "Reports of one partner that are generated at the same time."
    DIMENSIONS = 8, "dimensions", Standing.DOCUMENTED, "Dimensions of one report."
    RANGE_DAYS = 180, "days", Standing.DOCUMENTED, "Days that one report covers, both ends included; at least 1."
    GENERATION_SECONDS = 7200, "seconds", Standing.DOCUMENTED, "Time that the original may take for one report."
    RETENTION_HOURS = 48, "hours", Standing.DOCUMENTED, "Life of a report, counted from the ask."
    TOKEN_SECONDS = 3600, "seconds", Standing.INFERRED, "Life of an access token of a private key."
    PUBLIC_TOKEN_SECONDS = 36000, "seconds", Standing.DOCUMENTED, "Life of an access token of a public key."

    def __init__(self, default: int, unit: str, standing: Standing, sentence: str) -> None:
        self.default = default
        self.unit = unit
        self.standing = standing
        self.sentence = sentence
