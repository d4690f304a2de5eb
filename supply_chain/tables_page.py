"""Generate the reference page of the tables from their definition."""

from __future__ import annotations

from collections import Counter

from reelport.facts.allowed_values import COUNTRIES
from reelport.facts.row_rules import END_DAY, FIRST_DAY, LONGEST_TEXT
from reelport.facts.tables import BATCH, TABLES, Column, Kind, Table, sort_keys
from reelport.wording import format_markdown_table

_KINDS = {
    Kind.TEXT: f"UTF-8, up to {LONGEST_TEXT:,} bytes. An empty text is an empty cell.",
    Kind.COUNT: "A whole number from 0 to 9223372036854775807, also written as `5.0`. The text `5.000` is refused, "
    "because it may mean 5 or 5000. A binary floating-point number from 2^53 on (32 bits: 2^24, 16 bits: 2^11) is "
    "refused, because it may have been rounded.",
    Kind.MONEY: "A decimal number with up to 12 digits before the point and 6 after the point. It may be negative. "
    "A row with a seventh digit is refused. A binary floating-point number is rounded, half up.",
    Kind.DAY: f"`2023-07-01`, from {FIRST_DAY} to the day before {END_DAY}. From a time, only the UTC day is taken.",
    Kind.MOMENT: "ISO 8601: `2023-07-01T05:00:00Z`, `2023-07-01 07:00+02:00`, `2023-07-01`. A time with an offset is "
    "converted to UTC. A time without an offset is UTC. Digits after the microsecond are cut, not rounded.",
    Kind.TEXTS: "A Parquet list of texts or whole numbers, or a JSON array of texts or numbers. A JSON array can also "
    "be a text. A text can also have parts divided by `|`. Empty and repeated texts are dropped.",
}

_MEASURED = {"seconds", "bytes"}
"""Units that a count is shown with; a count of things says them in its meaning."""

_LISTS = (
    "Some columns accept only values of a list. A row with another value is refused. If a column's line links here, "
    "`--lenient` keeps and counts the row. The other lists are always checked, because sums depend on them.\n\n"
    f"A country is one of {len(COUNTRIES):,} codes: the assigned alpha-2 codes of ISO 3166-1, and `XK` for Kosovo "
    "([list](../../src/reelport/facts/allowed_values.py)). Withdrawn codes (`AN`), reserved codes (`EU`, `UK`) and "
    "private codes (`ZZ`, `T1`) are refused. If the country is unknown, leave the cell empty "
    "([why](../decisions/0021-what-a-loaded-cell-may-hold.md))."
)


def format_tables_page() -> str:
    """Format the page as Markdown."""
    kinds = ((kind.value, sentence) for kind, sentence in _KINDS.items())
    parts = [
        "<!-- Made by `make docs` from the tables: change the tables, not this page. -->",
        "# The tables",
        (
            "For the engineer who loads facts: the tables and columns that `reelport load` fills. Each table is a "
            "Delta table in `facts/` under the data directory; any tool that reads Delta Lake can read the table. A "
            "file may leave out a column that isn't required. The column is then empty. "
            f"In a fact table, each row has a time, and column `{BATCH}` names the load of the row. In an object "
            "table, a new row replaces the row with the same `id`."
        ),
        "## Types",
        format_markdown_table(("type", "what is taken"), kinds),
        "## Lists",
        _LISTS,
    ]
    shared = _find_shared()
    parts += ["## Columns of several tables", "Each fact table names its shared columns.", _format_columns(shared)]
    for table in TABLES.values():
        own = tuple(column for column in table.columns if column not in shared)
        parts += [f"## {table.name}", table.sentence, _format_layout(table), _format_columns(own)]
        if named := [f"`{column.name}`" for column in table.columns if column in shared]:
            parts += [f"And [columns of several tables](#columns-of-several-tables): {', '.join(named)}."]
    return "\n\n".join(parts) + "\n"


def _find_shared() -> tuple[Column, ...]:
    uses = Counter(column for table in TABLES.values() if table.key is None for column in table.columns)
    most = {column.name: column for column, _ in reversed(uses.most_common())}
    return tuple(column for column, count in uses.items() if count > 1 and most[column.name] is column)


def _format_layout(table: Table) -> str:
    if table.key is not None:
        return "An object table."
    keys = ", ".join(f"`{key}`" for key in sort_keys(table))
    zero = (
        " The counts below are 0 if a file leaves them out."
        if any(column.default == 0 for column in table.columns)
        else ""
    )
    return f"A fact table with time `{table.time}`, sorted by {keys}.{zero}"


def _format_columns(columns: tuple[Column, ...]) -> str:
    return format_markdown_table(("column", "type", "meaning"), map(_format_row, columns))


def _format_row(column: Column) -> tuple[str, ...]:
    unit = f" ({column.unit})" if column.unit in _MEASURED or column.kind is Kind.MONEY else ""
    required = ", **required**" if column.required else ""
    return f"`{column.name}`", f"{column.kind.value}{unit}{required}", column.sentence + _format_choices(column)


def _format_choices(column: Column) -> str:
    if not column.choices:
        return ""
    listed = f"A {column.called}" if column.called else f"One of: {', '.join(f'`{one}`' for one in column.choices)}"
    return f" {listed}." if column.decisive else f" {listed} ([lists](#lists))."
