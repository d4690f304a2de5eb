"""Every scope: what a key may be allowed to do."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from reelport.catalog.rules import Standing


class Scope(StrEnum):
    """A permission that a key holds and a token is granted; each with its sentence and its standing."""

    sentence: str
    standing: Standing

    CREATE_REPORTS = "create_reports", "Ask for reports, look at them and fetch them.", Standing.DOCUMENTED
    READ_REPORTS = "read_reports", "Look at reports that were asked for earlier, and fetch them.", Standing.DOCUMENTED
    DELETE_REPORTS = (
        "delete_reports",
        "Delete earlier reports; no operation of the wire is known to need it.",
        Standing.DOCUMENTED,
    )
    ACCESS_ADS = "access_ads", "Ask for ad metrics.", Standing.DOCUMENTED
    ACCESS_REVENUE = "access_revenue", "Ask for earnings.", Standing.DOCUMENTED
    MANAGE_REPORTS = (
        "manage_reports",
        "Stands for every report scope of the key, also of one made without it; a client in production asks for it.",
        Standing.INFERRED,
    )

    def __new__(cls, word: str, sentence: str, standing: Standing) -> Self:
        """A scope is the word that the wire uses, and knows more about itself."""
        scope = str.__new__(cls, word)
        scope._value_ = word
        scope.sentence = sentence
        scope.standing = standing
        return scope
