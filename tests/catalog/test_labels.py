"""Labels of cells' codes: they are of the codes that tables hold."""

from __future__ import annotations

from reelport.catalog import Dimension
from reelport.catalog.labels import VALUE_LABELS, find_cells, label_value
from reelport.facts.tables import TABLES


def test_each_labelled_code_is_one_that_a_table_takes() -> None:
    """Of a closed list each text has its label, and nothing else has one: a filter by it would find no row."""
    lists = {column.name.upper(): set(column.choices) for table in TABLES.values() for column in table.columns}
    closed = {name: choices for name, choices in lists.items() if choices}
    labelled = {dimension.name: set(labels) for dimension, labels in VALUE_LABELS.items() if dimension.name in closed}
    assert labelled
    assert labelled == {name: closed[name] for name in labelled}


def test_a_cell_is_shown_and_found_by_its_label() -> None:
    """Facts spell the positions of ads with a hyphen, and outcomes with a blank."""
    assert label_value(Dimension.OUTCOME, "no fills") == "No ad"
    assert find_cells(Dimension.INVENTORY_POSITION, "Mid-roll") == ("mid-roll",)
