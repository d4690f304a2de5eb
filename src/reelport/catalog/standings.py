"""Standings: how well each statement is known (a name, its meaning, its formula …)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from reelport.catalog.row_types import Row, Standing

_DOCUMENTED, _SCHEMA, _INFERRED, _CHOSEN = Standing


class Statement(StrEnum):
    """A kind of statement about a name; each has a standing of its own."""

    NAME = "name"
    MEANING = "meaning"
    VALUES = "values"
    FORMULA = "formula"
    UNIT = "unit"
    SCALE = "digits and scale"
    ADDING = "adding up"


Standings = Mapping[Statement, Standing]


@dataclass(frozen=True, slots=True)
class Known:
    """The standing of each statement about one name; None where nothing is stated.

    A statement that combines several has the weakest of their standings.
    """

    name: Standing
    meaning: Standing
    values: Standing | None = None
    formula: Standing | None = None
    unit: Standing | None = None
    scale: Standing | None = None
    adding: Standing | None = None

    def but(self, **standings: Standing) -> Known:
        """Copy with other standings for some statements."""
        return replace(self, **standings)

    @property
    def standings(self) -> Standings:
        """The standing of each statement that is made."""
        found = {statement: getattr(self, statement.name.lower()) for statement in Statement}
        return MappingProxyType({statement: standing for statement, standing in found.items() if standing})


class KnownRow(Row):
    """A row of the catalog that says how well each statement about it is known."""

    known: Known

    @property
    def standing(self) -> Standing:
        """How well its name is known."""
        return self.known.name

    @property
    def standings(self) -> Standings:
        """How well each statement about it is known."""
        return self.known.standings


def describe_standings(standings: Standings) -> str:
    """Describe the statements by standing, the best known first.

    For example "Documented: name, meaning. Inferred: adding up.".
    """
    by_standing = {rank: [each for each, standing in standings.items() if standing is rank] for rank in Standing}
    return " ".join(f"{rank.capitalize()}: {', '.join(found)}." for rank, found in by_standing.items() if found)


DOCUMENTED_COUNT = Known(_DOCUMENTED, _DOCUMENTED, unit=_DOCUMENTED, scale=_INFERRED, adding=_INFERRED)
"""A count whose meaning is documented; client code shows that its cells are integers."""
SCHEMA_COUNT = Known(_SCHEMA, _INFERRED, unit=_INFERRED, scale=_INFERRED, adding=_INFERRED)
"""A count of which only the name is known; meaning and unit are inferred from the name."""
DOCUMENTED_RATE = Known(_DOCUMENTED, _DOCUMENTED, None, _DOCUMENTED, _DOCUMENTED, _CHOSEN, _INFERRED)
"""A rate whose meaning and formula are documented, but not its digits, nor whether it is 0 to 1 or 0 to 100."""
SCHEMA_RATE = Known(_SCHEMA, _INFERRED, None, _INFERRED, _INFERRED, _CHOSEN, _INFERRED)
"""A rate of which only the name is known."""
STOCK = Known(_SCHEMA, _CHOSEN, None, _CHOSEN, _INFERRED, _INFERRED, _CHOSEN)
"""A stock: the unit is in the name; no source tells on which day it is taken, or how days add up."""

DOCUMENTED_NAME = Known(_DOCUMENTED, _INFERRED, _CHOSEN, adding=_INFERRED)
"""A dimension that the documentation names; its meaning is inferred from the name, its cells are what is loaded."""
SCHEMA_NAME = DOCUMENTED_NAME.but(name=_SCHEMA)
"""A dimension of which only the name in the schema is known."""
DESCRIBED_NAME = SCHEMA_NAME.but(meaning=_SCHEMA)
"""A dimension that the schema describes."""
