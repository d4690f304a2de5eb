"""Checks the values of a request; finds every problem with its place.

graphql-core checks scalars. This check also limits sizes, and refuses names with the sentences and codes of `check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from graphql import (
    EnumValueNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    ListValueNode,
    Node,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    Undefined,
    VariableNode,
    validate_input_literal,
    validate_input_value,
)

from reelport import check
from reelport.catalog import Filter
from reelport.errors import Problem
from reelport.query import parse_day
from reelport.server.graphql.faults import Path
from reelport.server.limits.document_limits import (
    MAX_LIST_ITEMS,
    MAX_SUGGESTIONS,
    MAX_TEXT_LENGTH,
)
from reelport.wire import Code

Value = Any
"""A value as JSON, from a variable, or its node in a document."""
Found = Iterator[tuple[Problem, Value]]
"""Problems, each with the value that it is about, or with the object that lacks a field."""

_ENUMS: Final = {
    "PartnerReportMetric": ("metric", Code.UNKNOWN_METRIC),
    "PartnerReportDimension": ("dimension", Code.UNKNOWN_DIMENSION),
    "PartnerReportProduct": ("product", Code.UNKNOWN_PRODUCT),
} | {each.wire_type: (each.name, Code.UNKNOWN_FILTER_VALUE) for each in Filter if each.choices}
_FILTERS = "PartnerReportFilters"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class ValueChecker:
    """Checks a request's values; suggests right names for a limited number of wrong ones."""

    def __init__(self) -> None:
        self._suggestions = MAX_SUGGESTIONS

    def find_problems(self, value: Value, type_: GraphQLInputType, path: Path = ()) -> Found:
        """Yield every problem of a value. Variables in it are not looked at."""
        if isinstance(type_, GraphQLNonNull):
            if value is None or isinstance(value, NullValueNode):
                yield Problem(Code.INVALID_VALUE, path, f"A null is no {type_.of_type}: give a value."), value
                return
            type_ = type_.of_type
        if value is None or isinstance(value, (NullValueNode, VariableNode)):
            return
        match type_:
            case GraphQLList():
                yield from self._check_list(value, type_, path)
            case GraphQLInputObjectType():
                yield from self._check_object(value, type_, path)
            case GraphQLEnumType():
                yield from ((problem, value) for problem in self._check_enum(value, type_, path))
            case _:
                yield from ((problem, value) for problem in _check_scalar(value, type_, path))

    def _check_list(self, value: Value, type_: GraphQLList[Any], path: Path) -> Found:
        items = value.values if isinstance(value, ListValueNode) else value
        if not isinstance(items, (list, tuple)):  # GraphQL takes one value for a list of one.
            yield from self.find_problems(value, type_.of_type, path)
        elif len(items) > MAX_LIST_ITEMS:
            sentence = f"{len(items)} items are more than the {MAX_LIST_ITEMS} that a list may have."
            yield Problem(Code.TOO_LARGE, path, sentence), value
        else:
            for index, item in enumerate(items):
                yield from self.find_problems(item, type_.of_type, (*path, index))

    def _check_object(self, value: Value, type_: GraphQLInputObjectType, path: Path) -> Found:
        given = {each.name.value: each.value for each in value.fields} if isinstance(value, ObjectValueNode) else value
        if not isinstance(given, dict):
            yield Problem(Code.INVALID_VALUE, path, f"{type_.name} is an object: give its fields in braces."), value
            return
        for name, field in type_.fields.items():
            if name in given:
                yield from self.find_problems(given[name], field.type, (*path, name))
            elif isinstance(field.type, GraphQLNonNull) and field.default_value is Undefined:
                sentence = f"{name} is missing: {type_.name} needs it."
                yield Problem(Code.INVALID_VALUE, (*path, name), sentence), value
        is_filters = type_.name == _FILTERS
        code = Code.UNKNOWN_FILTER if is_filters else Code.INVALID_VALUE
        for name in [name for name in given if name not in type_.fields][:MAX_LIST_ITEMS]:
            nearest = self._suggest(name, type_.fields)
            what = f"There is no filter {name[:80]!r}." if is_filters else f"{type_.name} has no field {name[:80]!r}."
            yield Problem(code, (*path, name[:80]), what + check.advice(nearest, type_.fields), nearest), given[name]

    def _check_enum(self, value: Value, type_: GraphQLEnumType, path: Path) -> Iterator[Problem]:
        noun, code = _ENUMS.get(type_.name, (type_.name, Code.INVALID_VALUE))
        name = value.value if isinstance(value, EnumValueNode) else value
        if isinstance(value, StringValueNode):
            sentence = f'"{value.value[:80]}" is a text and no {noun}: write the name without quotes.'
            yield Problem(Code.INVALID_VALUE, path, sentence, value.value if value.value in type_.values else None)
        elif not isinstance(name, str):
            yield Problem(Code.INVALID_VALUE, path, f"A {noun} is a name such as {next(iter(type_.values))}.")
        elif name not in type_.values:
            nearest = self._suggest(name, type_.values)
            advice = check.advice(nearest, type_.values)
            yield Problem(code, path, f"There is no {noun} {name[:80]!r}.{advice}", nearest)

    def _suggest(self, name: str, names: Iterable[str]) -> str | None:
        known = list(names)
        if name.upper() in known:
            return name.upper()
        self._suggestions -= 1
        return check.suggest_name(name, known) if self._suggestions >= 0 else None


def _check_scalar(value: Value, type_: GraphQLScalarType, path: Path) -> Iterator[Problem]:
    text = value.value if isinstance(value, (EnumValueNode, StringValueNode)) else value
    if isinstance(value, (list, dict, ListValueNode, ObjectValueNode)):
        yield Problem(Code.INVALID_VALUE, path, f"A list or an object is no {type_}: give a single value.")
    elif isinstance(text, str) and len(text) > MAX_TEXT_LENGTH:
        sentence = f"{len(text)} characters are more than the {MAX_TEXT_LENGTH} that a text may have."
        yield Problem(Code.TOO_LARGE, path, sentence)
    elif isinstance(text, str) and _UNSTORABLE.search(text):
        yield Problem(Code.INVALID_VALUE, path, "The text holds a NUL or half a surrogate pair, which no text may.")
    else:
        errors: list[GraphQLError] = []
        validate = validate_input_literal if isinstance(value, Node) else validate_input_value
        validate(value, type_, lambda error, _: errors.append(error))
        if errors:
            yield Problem(Code.INVALID_VALUE, path, errors[0].message)
        elif type_.name == "DateTime":
            try:
                parse_day(text)
            except ValueError:
                sentence = f"{text[:80]!r} is no date: give YYYY-MM-DD, or an ISO 8601 time."
                yield Problem(Code.BAD_DATE, path, sentence)
