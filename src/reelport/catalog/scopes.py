"""Every scope: a permission that a key can hold; and which of them metrics need."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from reelport.catalog.row_types import Standing
from reelport.language import N_

_DOCUMENTED, _, _INFERRED, _CHOSEN = Standing


class Scope(StrEnum):
    """A permission of keys and tokens: word and sentence, and how well each is known."""

    sentence: str
    standing: Standing
    meaning: Standing

    CREATE_REPORTS = "create_reports", N_("Ask for reports, query their status and fetch them."), _DOCUMENTED, _INFERRED
    READ_REPORTS = (
        "read_reports",
        N_("Query the status of earlier reports, and fetch them."),
        _DOCUMENTED,
        _DOCUMENTED,
    )
    DELETE_REPORTS = (
        "delete_reports",
        N_("Delete earlier reports. No known operation needs it."),
        _DOCUMENTED,
        _DOCUMENTED,
    )
    ACCESS_ADS = "access_ads", N_("Ask for ad metrics."), _DOCUMENTED, _DOCUMENTED
    ACCESS_REVENUE = "access_revenue", N_("Ask for earnings."), _DOCUMENTED, _DOCUMENTED
    MANAGE_REPORTS = (
        "manage_reports",
        N_("Every report scope of the key, even if the key lacks this scope. A client in production requests it."),
        _INFERRED,
        _CHOSEN,
    )

    def __new__(cls, word: str, sentence: str, standing: Standing, meaning: Standing) -> Self:
        """Make a scope of the wire's word, its sentence and the standing of both."""
        scope = str.__new__(cls, word)
        scope._value_ = word
        scope.sentence = sentence
        scope.standing = standing
        scope.meaning = meaning
        return scope


# The words of scopes in a list, marked here to be translated.
_WORDS = (
    *(N_("create reports"), N_("read reports"), N_("delete reports")),
    *(N_("access ads"), N_("access revenue"), N_("manage reports")),
)

# What families of metrics need, beside the scope to ask for reports.
FOR_ADS = frozenset({Scope.ACCESS_ADS})
FOR_EARNINGS = frozenset({Scope.ACCESS_REVENUE})
FOR_EARNINGS_PER_THOUSAND = FOR_EARNINGS | FOR_ADS
