"""The catalog: all that can be asked, as data, shared by client and service."""

from reelport.catalog.dimensions import Dimension
from reelport.catalog.families import Family
from reelport.catalog.filters import Filter
from reelport.catalog.limits import Convention, Limit
from reelport.catalog.meanings import Meaning
from reelport.catalog.metrics import Metric
from reelport.catalog.products_and_payees import Payee, Product
from reelport.catalog.row_types import (
    CellType,
    Difference,
    Distinct,
    Grain,
    Known,
    Ratio,
    Role,
    Rule,
    Standing,
    Standings,
    Statement,
    Stock,
    Sum,
    Total,
    Unit,
    describe_standings,
    measures,
    round_ratio,
)
from reelport.catalog.scopes import Scope
from reelport.catalog.synonyms import find_synonyms

__all__ = [
    "CellType",
    "Convention",
    "Difference",
    "Dimension",
    "Distinct",
    "Family",
    "Filter",
    "Grain",
    "Known",
    "Limit",
    "Meaning",
    "Metric",
    "Payee",
    "Product",
    "Ratio",
    "Role",
    "Rule",
    "Scope",
    "Standing",
    "Standings",
    "Statement",
    "Stock",
    "Sum",
    "Total",
    "Unit",
    "describe_standings",
    "find_synonyms",
    "measures",
    "round_ratio",
]
