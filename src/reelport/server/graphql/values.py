"""Checks values, of variables and in the document, against their types; finds every problem.

graphql-core checks only shapes; this check also suggests names, and uses the sentences and codes of `check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FloatValueNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    StringValueNode,
    Undefined,
    ValueNode,
    VariableNode,
)

from reelport import check
from reelport.catalog import Filter
from reelport.errors import Problem
from reelport.query import parse_day
from reelport.server.graphql.faults import Path
from reelport.server.limits.request_size import MAX_LIST_ITEMS, MAX_SUGGESTIONS, MAX_TEXT_LENGTH
from reelport.wire import Code

_ENUMS: Final = {
    "PartnerReportMetric": ("metric", Code.UNKNOWN_METRIC),
    "PartnerReportDimension": ("dimension", Code.UNKNOWN_DIMENSION),
    "PartnerReportProduct": ("product", Code.UNKNOWN_PRODUCT),
} | {each.wire_type: (each.name, Code.UNKNOWN_FILTER_VALUE) for each in Filter if each.choices}
_FILTERS = "PartnerReportFilters"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_INT = range(-(2**31), 2**31)
_DIGITS = 18

_SCALARS: Final[dict[str, tuple[type | tuple[type, ...], str]]] = {
    "DateTime": (str, 'a text such as "2023-07-01"'),
    "String": (str, "a text"),
    "ID": ((str, int), "a text"),
    "Int": (int, "a whole number"),
    "Boolean": (bool, "true or false"),
}


class EnumName(str):
    """An enum name in a document, which is written without quotes."""

    __slots__ = ()


class NameSuggestions:
    """Suggests a similar right name for a wrong one; for a limited number of names in one request."""

    def __init__(self, left: int = MAX_SUGGESTIONS) -> None:
        self._left = left

    def nearest(self, name: str, names: Iterable[str]) -> str | None:
        """Return the name that was probably meant, or None."""
        known = list(names)
        if name.upper() in known:
            return name.upper()
        if self._left <= 0:
            return None
        self._left -= 1
        return check.nearest(name, known)


def from_literal(node: ValueNode, variables: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401, PLR0911 - JSON; a kind a line
    """Convert a value node to a Python value. A variable that isn't in `variables` becomes Undefined."""
    match node:
        case VariableNode():
            return (variables or {}).get(node.name.value, Undefined)
        case IntValueNode():
            return int(node.value) if len(node.value) <= _DIGITS else 10**_DIGITS
        case FloatValueNode():
            return float(node.value)
        case EnumValueNode():
            return EnumName(node.value)
        case StringValueNode() | BooleanValueNode():
            return node.value
        case ListValueNode():
            return [from_literal(each, variables) for each in node.values]
        case ObjectValueNode():
            return {field.name.value: from_literal(field.value, variables) for field in node.fields}
        case _:
            return None


def find_part(node: ValueNode, path: Path) -> ValueNode:
    """Find the node that a problem's path leads to, or the deepest one on the way that exists."""
    for step in path:
        match node:
            case ObjectValueNode():
                inside = next((field.value for field in node.fields if field.name.value == step), None)
            case ListValueNode():
                inside = node.values[step] if isinstance(step, int) and step < len(node.values) else None
            case _:
                inside = None
        if inside is None:
            break
        node = inside
    return node


def find_problems(
    value: Any,  # noqa: ANN401 - JSON
    type_: GraphQLInputType,
    path: Path = (),
    *,
    literal: bool = False,
    suggestions: NameSuggestions | None = None,
) -> Iterator[Problem]:
    """Yield every problem of a value. Only an invalid date isn't fatal: its field may report it.

    `literal`: the value stands in a document, where enum names have no quotes.
    """
    suggestions = suggestions or NameSuggestions()
    if isinstance(type_, GraphQLNonNull):
        if value is None:
            yield Problem(Code.INVALID_VALUE, path, f"A null is no {_name_type(type_)}: give a value.")
            return
        type_ = type_.of_type
    if value is None or value is Undefined:
        return
    match type_:
        case GraphQLList():
            yield from _check_list(value, type_, path, literal, suggestions)
        case GraphQLInputObjectType():
            yield from _check_object(value, type_, path, literal, suggestions)
        case GraphQLEnumType():
            yield from _check_enum(value, type_, path, literal, suggestions)
        case _:
            yield from _check_scalar(value, type_.name, path)


def _check_list(
    value: Any,  # noqa: ANN401 - JSON
    type_: GraphQLList[Any],
    path: Path,
    literal: bool,
    suggestions: NameSuggestions,
) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield from find_problems(value, type_.of_type, path, literal=literal, suggestions=suggestions)
    elif len(value) > MAX_LIST_ITEMS:
        yield Problem(
            Code.TOO_LARGE, path, f"{len(value)} items are more than the {MAX_LIST_ITEMS} that a list may have."
        )
    else:
        for index, item in enumerate(value):
            yield from find_problems(item, type_.of_type, (*path, index), literal=literal, suggestions=suggestions)


def _check_object(
    value: Any,  # noqa: ANN401 - JSON
    type_: GraphQLInputObjectType,
    path: Path,
    literal: bool,
    suggestions: NameSuggestions,
) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(Code.INVALID_VALUE, path, f"{_show(value)} is no {type_.name}: give an object.")
        return
    for name, field in type_.fields.items():
        if name in value:
            yield from find_problems(value[name], field.type, (*path, name), literal=literal, suggestions=suggestions)
        elif isinstance(field.type, GraphQLNonNull) and field.default_value is Undefined:
            yield Problem(Code.INVALID_VALUE, (*path, name), f"{name} is missing: {type_.name} needs it.")
    unknown = [name for name in value if name not in type_.fields]
    for name in unknown[:MAX_LIST_ITEMS]:
        yield _refuse_unknown_field(name, type_, path, suggestions)


def _refuse_unknown_field(
    name: str, type_: GraphQLInputObjectType, path: Path, suggestions: NameSuggestions
) -> Problem:
    nearest = suggestions.nearest(name, type_.fields)
    advice = check.advice(nearest, type_.fields)
    if type_.name == _FILTERS:
        return Problem(Code.UNKNOWN_FILTER, (*path, name[:80]), f"There is no filter {name[:80]!r}.{advice}", nearest)
    sentence = f"{type_.name} has no field {name[:80]!r}.{advice}"
    return Problem(Code.INVALID_VALUE, (*path, name[:80]), sentence, nearest)


def _check_enum(
    value: Any,  # noqa: ANN401 - JSON
    type_: GraphQLEnumType,
    path: Path,
    literal: bool,
    suggestions: NameSuggestions,
) -> Iterator[Problem]:
    noun, code = _ENUMS.get(type_.name, (type_.name, Code.INVALID_VALUE))
    if not isinstance(value, str):
        yield Problem(Code.INVALID_VALUE, path, f"{_show(value)} is no {noun}: give a name.")
    elif literal and not isinstance(value, EnumName):
        nearest = value if value in type_.values else None
        sentence = f"{_show(value)} is a text and no {noun}: write the name without quotes."
        yield Problem(Code.INVALID_VALUE, path, sentence, nearest)
    elif value not in type_.values:
        nearest = suggestions.nearest(value, type_.values)
        advice = check.advice(nearest, type_.values)
        yield Problem(code, path, f"There is no {noun} {str(value)[:80]!r}.{advice}", nearest)


def _check_scalar(value: Any, name: str, path: Path) -> Iterator[Problem]:  # noqa: ANN401 - JSON
    kind, wanted = _SCALARS[name]
    named = isinstance(value, EnumName) or isinstance(value, bool) is not (name == "Boolean")
    if named or not isinstance(value, kind):
        yield Problem(Code.INVALID_VALUE, path, f"{_show(value)} is no {name}: give {wanted}.")
    elif isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
        yield Problem(
            Code.TOO_LARGE, path, f"{len(value)} characters are more than the {MAX_TEXT_LENGTH} that a text may have."
        )
    elif isinstance(value, str) and _UNSTORABLE.search(value):
        yield Problem(Code.INVALID_VALUE, path, "The text holds a NUL or half a surrogate pair, which no text may.")
    elif name == "Int" and value not in _INT:
        yield Problem(Code.INVALID_VALUE, path, "The number is too large: give one of 32 bits.")
    elif name == "DateTime" and isinstance(value, str):
        yield from _check_date(value, path)


def _check_date(value: str, path: Path) -> Iterator[Problem]:
    try:
        parse_day(value)
    except ValueError:
        sentence = f"{value[:80]!r} is no date: give YYYY-MM-DD, or an ISO 8601 time."
        yield Problem(Code.BAD_DATE, path, sentence, fatal=False)


def _name_type(type_: GraphQLNonNull[Any]) -> str:
    inner = type_.of_type
    return "list" if isinstance(inner, GraphQLList) else str(inner.name)


def _show(value: Any) -> str:  # noqa: ANN401 - JSON
    match value:
        case dict():
            return "An object"
        case list():
            return "A list"
        case bool():
            return str(value).lower()
        case EnumName():
            return value[:80]
        case str():
            return f'"{value[:80]}"'
        case _:
            return str(value)[:80]
