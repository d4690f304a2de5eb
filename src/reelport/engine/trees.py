"""Builds sqlglot trees without copying their parts: pass each tree in only once."""

from __future__ import annotations

from functools import cache

import sqlglot
from sqlglot import exp

DIALECT = "duckdb"
WIDEST_DECIMAL = 38
"""Digits of the widest decimal, of DuckDB as of Arrow and Spark; overflow raises an error."""


@cache
def parse_sql(sql: str) -> exp.Expr:
    """Parse a constant piece of SQL; cached: copy the tree before you change or insert it."""
    return sqlglot.parse_one(sql, read=DIALECT)


def select(*columns: exp.Expr) -> exp.Select:
    """`SELECT columns`."""
    return exp.Select(expressions=list(columns))


def left_join(tree: exp.Select, relation: exp.Expr, on: exp.Expr) -> exp.Select:
    """`tree LEFT JOIN relation ON on`, in place."""
    tree.append("joins", exp.Join(this=relation, side="LEFT", on=on))
    return tree


def alias(tree: exp.Expr, name: str) -> exp.Expr:
    """`tree AS name`."""
    return exp.Alias(this=tree, alias=exp.to_identifier(name))


def cast(tree: exp.Expr, name: str) -> exp.Expr:
    """`CAST(tree AS name)`."""
    return exp.Cast(this=tree, to=_parse_type(name).copy())


def subquery(tree: exp.Expr, name: str | None = None) -> exp.Subquery:
    """`(tree) AS name`."""
    return exp.Subquery(this=tree, alias=exp.TableAlias(this=exp.to_identifier(name)) if name else None)


def call(function: str, *arguments: exp.Expr) -> exp.Expr:
    """`function(arguments)`, by DuckDB's name of the function."""
    return exp.Anonymous(this=function, expressions=list(arguments))


def qualify(sql: str, table: str) -> exp.Expr:
    """Parse a constant expression and qualify each of its columns with the table."""
    tree = parse_sql(sql).copy()
    named = [exp.column(column.name, table) for column in tree.find_all(exp.Column)]
    if isinstance(tree, exp.Column):
        return named[0]
    for column, full in zip(list(tree.find_all(exp.Column)), named, strict=True):
        column.replace(full)
    return tree


def number(value: int) -> exp.Expr:
    """An integer literal."""
    return exp.Literal.number(value)


@cache
def _parse_type(name: str) -> exp.DataType:
    return exp.DataType.build(name, dialect=DIALECT)
