"""The committed reference pages say what the code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from supply_chain.catalog_pages import catalog_page, errors_page
from supply_chain.settings_page import format_settings_page
from supply_chain.tables_page import format_tables_page

from reelport import errors
from reelport.catalog import Convention, Dimension, Filter, Limit, Metric, Product, Scope
from reelport.facts.tables import TABLES
from reelport.report_details import FailureReason
from reelport.wire import Code

DOCS = Path(__file__).parents[1] / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "format_page"),
    [
        ("catalog.md", catalog_page),
        ("errors.md", errors_page),
        ("settings.md", format_settings_page),
        ("tables.md", format_tables_page),
    ],
)
def test_a_committed_page_is_the_one_made_now(name: str, format_page: Callable[[], str]) -> None:
    """A page that was not made anew after a change of what it tells is told; `make docs` makes it."""
    assert (DOCS / name).read_text("utf-8") == format_page()


def test_the_page_of_the_tables_tells_every_column() -> None:
    """No column of any table is left out."""
    page = format_tables_page()
    assert all(f"| `{column.name}` |" in page for table in TABLES.values() for column in table.columns)


def test_every_row_is_on_its_page() -> None:
    """No metric, dimension, filter, product, scope, limit or error code is missing from the pages."""
    page = catalog_page()
    for row in (*Metric, *Dimension, *Filter):
        assert f"| `{row}` [" in page
    for row in (*Product, *Limit, *Convention):
        assert row.sentence in page
    assert all(f"| `{scope}` [" in page for scope in Scope)
    assert all(f"| `{code}` |" in errors_page() for code in Code)
    for reason in FailureReason:
        assert f"| `{reason}` | {reason.sentence} {reason.advice} | `{reason.error.__name__}` |" in errors_page()
    raised = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.ReelportError)
    ]
    assert all(f"`{each.__name__}` | `{each.code}` |" in errors_page() for each in raised)
