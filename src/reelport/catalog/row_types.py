"""What rows of the catalog are made of, and how well each statement is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from reelport.language import N_

if TYPE_CHECKING:
    from decimal import Decimal


class Standing(StrEnum):
    """How well a fact of the wire is known: the kind of its source."""

    DOCUMENTED = "documented"
    """Dailymotion's own documentation states it."""
    SCHEMA = "schema"
    """A public copy of the real GraphQL schema shows it, without explaining it."""
    INFERRED = "inferred"
    """Public client code uses it, or it was reasoned out from a source: the weakest standing with a source."""
    CHOSEN = "chosen"
    """No source tells: this project chose it."""


class Grain(IntEnum):
    """A unit of time by which rows are grouped, from fine to coarse.

    No report goes by weeks: views do.
    """

    MINUTE = 1
    HOUR = 2
    DAY = 3
    WEEK = 4
    MONTH = 5


class CellType(StrEnum):
    """What a cell of the CSV holds."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MINUTE = "minute, 2023-07-01T05:04:00Z"
    HOUR = "hour, 2023-07-01T05:00:00Z"
    DAY = "day, 2023-07-01"
    MONTH = "month, 2023-07"


class Unit(StrEnum):
    """What a metric counts."""

    VIEWS = N_("views")
    SECONDS = N_("seconds")
    SECONDS_PER_VIEW = N_("seconds per view")
    PERCENT = N_("percent")
    SHARE = N_("share")
    VIDEOS = N_("videos")
    VIEWERS = N_("viewers")
    EUR = "EUR"
    USD = "USD"
    EUR_PER_1000_IMPRESSIONS = N_("EUR per 1000 impressions")
    USD_PER_1000_IMPRESSIONS = N_("USD per 1000 impressions")
    EUR_PER_1000_OPPORTUNITIES = N_("EUR per 1000 sellable ad opportunities")
    USD_PER_1000_OPPORTUNITIES = N_("USD per 1000 sellable ad opportunities")
    AD_OPPORTUNITIES = N_("ad opportunities")
    AD_REQUESTS = N_("ad requests")
    IMPRESSIONS = N_("impressions")
    BYTES = N_("bytes")
    MEDIA = N_("media")
    RENDITIONS = N_("renditions")
    CREDITS = N_("credits")

    @property
    def is_money(self) -> bool:
        """Whether it is counted in a currency."""
        return self.value.partition(" ")[0] in {Unit.EUR, Unit.USD}


class Role(StrEnum):
    """A channel's role in a fact."""

    OWNER = "owner"
    PUBLISHER = "publisher"
    CLAIMER = "claimer"


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of one measure; adds up over rows. `digits` are decimal digits, 0 for a count."""

    measure: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of several measures together; adds up over rows."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """The sum of one measure minus that of another; adds up over rows."""

    minuend: str
    subtrahend: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """`scale` times a measure's sum divided by the sum of others; empty where those are 0.

    Never adds up: it is computed from its sums at every grain, and rounded to `digits` decimal digits (`round_ratio`).
    """

    numerator: str
    denominator: tuple[str, ...]
    scale: int = 1
    digits: int = 4


@dataclass(frozen=True, slots=True)
class Distinct:
    """The exact number of distinct values; absent ones don't count; doesn't add up."""

    of: str


@dataclass(frozen=True, slots=True)
class Stock:
    """The sum on one day of each time bucket.

    That day is the latest on which the tenant has any row of the source. Adds up over rows, not over time.
    """

    measure: str


Rule = Sum | Total | Difference | Ratio | Distinct | Stock


def round_ratio(above: int | Decimal, below: int | Decimal, scale: int, digits: int) -> int | None:
    """Divide `scale` times a sum by a sum, and round half away from zero.

    The division is exact; the result has `digits` decimal digits.

    The result is in units of the last digit: 125 with two digits is 1.25. None where there is nothing to divide by.
    """
    if not below:
        return None
    (one, unit), (other, part) = above.as_integer_ratio(), below.as_integer_ratio()
    top, bottom = abs(one) * part * scale * 10**digits, unit * abs(other)
    whole: int = (2 * top + bottom) // (2 * bottom)
    return -whole if (one < 0) != (other < 0) else whole


def measures(rule: Rule) -> tuple[str, ...]:
    """The measures that a rule uses, in the rule's order."""
    match rule:
        case Sum(measure) | Stock(measure):
            return (measure,)
        case Total(parts):
            return parts
        case Difference(minuend, subtrahend):
            return (minuend, subtrahend)
        case Ratio(numerator, denominator):
            return (numerator, *denominator)
        case Distinct(of):
            return (of,)


class Row(Enum):
    """An enum whose members are rows of the catalog; a member prints as its name."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __str__(self) -> str:
        return self.name


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
    """Describe the statements by standing, such as "Documented: name. Inferred: adding up."."""
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
