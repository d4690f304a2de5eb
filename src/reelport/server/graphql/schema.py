"""Reads the public schema, and writes the types of the catalog into it.

`schema.graphql` is the schema: the package ships it and the service reads it. Its fixed types are written by hand;
`make docs` writes the rest, and a test compares that with the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from reelport.catalog import Dimension, Filter, Metric, Product, describe_standings
from reelport.wire import ReportStatus

_CATALOG = "# From here on `make docs` writes what the catalog says.\n"


def read_shipped_sdl() -> str:
    """Read the shipped SDL file."""
    return resources.files(__package__).joinpath("schema.graphql").read_text("utf-8")


def build_sdl() -> str:
    """Build the whole schema as SDL text: the shipped file with the types of today's catalog."""
    fixed, _, _ = read_shipped_sdl().partition(_CATALOG)
    filters = "\n\n".join(f'  """{_describe(row)}"""\n  {row.name}: {row.wire_type}' for row in Filter)
    types = [
        f'"""What to keep. Every filter may be left out."""\ninput PartnerReportFilters {{\n{filters}\n}}\n',
        _format_enum("PartnerReportStatus", "Where a report stands.", ((s.value, s.sentence) for s in ReportStatus)),
        _format_enum("PartnerReportMetric", "What can be counted.", ((m.name, _describe(m)) for m in Metric)),
        _format_enum("PartnerReportDimension", "What it can be split by.", ((d.name, _describe(d)) for d in Dimension)),
        _format_enum("PartnerReportProduct", "Whose data a report keeps.", ((p.name, _describe(p)) for p in Product)),
        *(_format_enum(f.wire_type, f.sentence, ((choice, "") for choice in f.choices)) for f in Filter if f.choices),
    ]
    return "\n".join([fixed + _CATALOG, *types])


def _describe(row: Metric | Dimension | Filter | Product) -> str:
    return f"{row.sentence} ({describe_standings(row.standings)})"


def _format_enum(name: str, sentence: str, values: Iterable[tuple[str, str]]) -> str:
    lines = [f'  """{said}"""\n  {value}' if said else f"  {value}" for value, said in values]
    return f'"""{sentence}"""\nenum {name} {{\n' + "\n".join(lines) + "\n}\n"
