"""Which row of its input each row of a mapping comes from, where the mapping keeps rows one to one.

It works on the tree that the engine makes of a statement, and knows nothing of files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from reelport.facts.input.checking import FILE, LINE

Node = dict[str, Any]
"""A part of the engine's tree of a statement."""
_PLACES = (FILE, LINE)


def trace_rows(session: duckdb.DuckDBPyConnection, text: str, name: str, numbered: str) -> str | None:
    """The SELECT over `name`, with two more columns: the file and the line of the row that each of its rows is made of.

    It reads them from `numbered`, the same rows with `FILE` and `LINE`. None where a row isn't made of one row: where
    the SELECT groups, joins, unites or leaves out repeated rows.
    """
    tree: Node = json.loads(_convert(session, "json_serialize_sql", text))
    if tree["error"] or len(tree["statements"]) != 1:
        return None
    if _reads_whole_rows(tree, name) or not _trace_select(tree["statements"][0]["node"], tree, {}, name, numbered):
        return None
    return _convert(session, "json_deserialize_sql", json.dumps(tree))


def _convert(session: duckdb.DuckDBPyConnection, function: str, text: str) -> str:
    return str(session.execute(f"SELECT {function}(?)", [text]).fetchall()[0][0])


def _reads_whole_rows(tree: Node, name: str) -> bool:
    """Whether an expression takes all columns of a row as one value, so that two more would change it.

    It names a table where a column would stand (`to_json(input)`), or has a star inside (`hash(COLUMNS(*))`).
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
    """Each node of the tree."""
    if isinstance(part, list):
        for each in part:
            yield from _walk(each)
    elif isinstance(part, dict):
        yield part
        for each in part.values():
            yield from _walk(each)


def _trace_select(node: Node, tree: Node, known: dict[str, Node], name: str, numbered: str) -> bool:
    """Have the SELECT give the places of its rows; False where it can't."""
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
    """Whether the SELECT makes each row of one row; a sum without GROUP BY is found by the engine, later."""
    if node["type"] != "SELECT_NODE" or node["group_expressions"] or node["having"]:
        return False
    if node["aggregate_handling"] != "STANDARD_HANDLING":
        return False
    if any(modifier["type"] == "DISTINCT_MODIFIER" for modifier in node["modifiers"]):
        return False
    return not any(item["class"] == "STAR" and item["columns"] for item in node["select_list"])


def _trace_table(table: Node, tree: Node, known: dict[str, Node], name: str, numbered: str) -> bool:
    """Have the one table that the SELECT reads give the places of its rows; False where it can't."""
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
    """Have a named part (WITH) give the places of its rows; not where something else reads it too, and its columns."""
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
