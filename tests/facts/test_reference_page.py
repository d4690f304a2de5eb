"""The committed page of the tables is what the tables say."""

from __future__ import annotations

from pathlib import Path

from supply_chain.tables_page import format_tables_page

from reelport.facts.tables import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tables.md"


def test_the_reference_page_of_the_tables_is_up_to_date() -> None:
    """`make docs` has been run after the last change of a table."""
    assert PAGE.read_text("utf-8") == format_tables_page()


def test_the_reference_page_tells_every_column() -> None:
    """No column of any table is left out."""
    page = format_tables_page()
    assert all(f"| `{column.name}` |" in page for table in TABLES.values() for column in table.columns)
