"""Row lineage of a mapping: rewrite its SELECT to return the input row of each output row.

Works only if the mapping keeps rows one to one. The rewriting changes DuckDB's JSON syntax tree of the statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from reelport.facts.input.load_query import FILE, LINE

Node = dict[str, Any]
"""A node of DuckDB's syntax tree of a statement."""
_PLACES = (FILE, LINE)


def trace_rows(session: duckdb.DuckDBPyConnection, text: str, name: str, numbered: str) -> str | None:
    """Add to the SELECT over `name` the file and line of the input row behind each row.

    They come from `numbered`, the same rows with `FILE` and `LINE`. Rows that the SELECT's own ORDER BY leaves even
    are in the order of their files. Returns None if a row isn't made of exactly one input row: if the SELECT groups,
    joins, unions or drops repeated rows.
    """
    tree: Node = json.loads(_convert(session, "json_serialize_sql", text))
    if tree["error"] or len(tree["statements"]) != 1:
        return None
    if _reads_whole_rows(tree, name) or not _trace_select(tree["statements"][0]["node"], tree, {}, name, numbered):
        return None
    for orders in _list_orders(tree):
        if not any(_is_all(order["expression"]) for order in orders):  # which has the places already
            orders += [_make_order(place) for place in _PLACES]
    return _convert(session, "json_deserialize_sql", json.dumps(tree))


def is_ordered(session: duckdb.DuckDBPyConnection, text: str) -> bool:
    """Whether the SELECT itself, and not only a part of it, puts its rows in an order."""
    tree: Node = json.loads(_convert(session, "json_serialize_sql", text))
    return bool(_list_orders(tree))


def _list_orders(tree: Node) -> list[list[Node]]:
    """List what the SELECT itself orders by, once at most."""
    modifiers = [each for part in tree.get("statements", ()) for each in part["node"]["modifiers"]]
    return [each["orders"] for each in modifiers if each["type"] == "ORDER_MODIFIER"]


def _convert(session: duckdb.DuckDBPyConnection, function: str, text: str) -> str:
    return str(session.execute(f"SELECT {function}(?)", [text]).fetchall()[0][0])


def _reads_whole_rows(tree: Node, name: str) -> bool:
    """Whether an expression uses a whole row as one value: two more columns would change it.

    Such an expression names a table in place of a column (`to_json(input)`), or contains a star (`hash(COLUMNS(*))`).
    """
    called = {name, *(part["alias"].lower() for part in _walk(tree) if "alias" in part and "table_name" in part)}
    called |= {part["alias"].lower() for part in _walk(tree) if part.get("type") == "SUBQUERY" and "alias" in part}
    called |= {entry["key"].lower() for part in _walk(tree) for entry in part.get("cte_map", {}).get("map", ())}
    for part in _walk(tree):
        if part.get("class") == "COLUMN_REF" and part["column_names"][-1].lower() in called:
            return True
    stars = sum(part.get("class") == "STAR" for part in _walk(tree))
    listed = [item for part in _walk(tree) for item in part.get("select_list", ()) if item["class"] == "STAR"]
    orders = [order["expression"] for part in _walk(tree) for order in part.get("orders", ())]
    ordered = [item for item in orders if item["class"] == "STAR"]
    return bool(stars > len(listed) + len(ordered))


def _walk(part: object) -> Iterator[Node]:
    """Yield every node of the tree."""
    if isinstance(part, list):
        for each in part:
            yield from _walk(each)
    elif isinstance(part, dict):
        yield part
        for each in part.values():
            yield from _walk(each)


def _trace_select(node: Node, tree: Node, known: dict[str, Node], name: str, numbered: str) -> bool:
    """Change the SELECT to return the file and line of its rows; False if that isn't possible."""
    if not _is_one_to_one(node):
        return False
    known = known | {entry["key"].lower(): entry["value"] for entry in node["cte_map"]["map"]}
    if not _trace_table(node["from_table"], tree, known, name, numbered):
        return False
    for star in (item for item in node["select_list"] if item["class"] == "STAR"):
        star["exclude_list"] += _PLACES
    node["select_list"] += [_column_reference(place) for place in _PLACES]
    return True


def _is_one_to_one(node: Node) -> bool:
    """Whether the SELECT makes each row of one row; DuckDB finds a sum without GROUP BY later."""
    if node["type"] != "SELECT_NODE" or node["group_expressions"] or node["having"]:
        return False
    if node["aggregate_handling"] != "STANDARD_HANDLING":
        return False
    if any(modifier["type"] == "DISTINCT_MODIFIER" for modifier in node["modifiers"]):
        return False
    return not any(item["class"] == "STAR" and item["columns"] for item in node["select_list"])


def _trace_table(table: Node, tree: Node, known: dict[str, Node], name: str, numbered: str) -> bool:
    """Make the one table that the SELECT reads return file and line; False if it can't."""
    if table.get("column_name_alias") or table.get("sample"):
        return False
    if table["type"] == "SUBQUERY":
        return _trace_select(table["subquery"]["node"], tree, known, name, numbered)
    called = table["table_name"].lower() if table["type"] == "BASE_TABLE" and not table["schema_name"] else None
    if called in known:
        return _trace_cte(called, tree, known, name, numbered)
    if called != name:
        return False
    table["alias"] = table["alias"] or table["table_name"]
    table["table_name"] = numbered
    table["qualified_name"] = {"path": [numbered]}
    return True


def _trace_cte(called: str, tree: Node, known: dict[str, Node], name: str, numbered: str) -> bool:
    """Make a CTE (WITH) return file and line; False if it is read twice or renames columns."""
    part = known[called]
    tables = (each["table_name"].lower() for each in _walk(tree) if each.get("type") == "BASE_TABLE")
    if part["aliases"] or sum(table == called for table in tables) > 1:
        return False
    others = {key: value for key, value in known.items() if key != called}
    return _trace_select(part["query_node"], tree, others, name, numbered)


def _column_reference(column: str) -> Node:
    return {
        "class": "COLUMN_REF",
        "type": "COLUMN_REF",
        "alias": "",
        "query_location": 0,
        "query_location_length": 0,
        "column_names": [column],
    }


def _is_all(item: Node) -> bool:
    """Whether an ORDER BY names all columns, and not those of a pattern (`COLUMNS('day.*')`)."""
    return item["class"] == "STAR" and item["expr"] is None


def _make_order(column: str) -> Node:
    return {"type": "ORDER_DEFAULT", "null_order": "ORDER_DEFAULT", "expression": _column_reference(column)}
