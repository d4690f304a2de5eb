"""Parses and validates GraphQL documents with their values, and caches them by their text.

Programs send the same few documents again and again with other variables. Only documents within the hard limits are
cached, so the limits hold for every request. graphql-core checks scalars and the document. The check of values also
limits sizes, and refuses names with the sentences and codes of `check`.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from graphql import (
    ArgumentNode,
    DocumentNode,
    EnumValueNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    ListValueNode,
    MaxIntrospectionDepthRule,
    Node,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    StringValueNode,
    TypeInfo,
    TypeInfoVisitor,
    Undefined,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    VisitorAction,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
    validate_input_literal,
    validate_input_value,
    visit,
)
from graphql.language import SKIP

from reelport import similar_names
from reelport.catalog import Filter
from reelport.errors import Problem
from reelport.query import parse_day
from reelport.server.graphql.faults import Fault, Path, list_locations
from reelport.server.limits import document_limits
from reelport.server.limits.document_limits import (
    MAX_LIST_ITEMS,
    MAX_SUGGESTIONS,
    MAX_TEXT_LENGTH,
    DocumentLimits,
)
from reelport.wire import Code

MAX_DOCUMENTS = 500
"""Most cached documents; the least recently used are dropped first."""
MAX_CACHED_CHARACTERS = 100_000
"""Most characters of all cached documents: a parsed document takes up to 250 bytes of memory a character."""
_ABORTED = "Parsing aborted."
_LINE_END = re.compile(r"\r\n|[\n\r]")
_INPUT = "input"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, and the answer paths of its nodes."""

    document: DocumentNode
    node: OperationDefinitionNode
    paths: NodePaths
    faults: Sequence[Fault]
    """What is wrong with the document, whatever its variables are."""


class DocumentCache:
    """LRU cache of a process's operations, by text and operation name. Thread-safe."""

    def __init__(self, schema: GraphQLSchema, bounds: DocumentLimits) -> None:
        self.schema = schema
        self._bounds = bounds
        self._lock = threading.Lock()
        self._cached: OrderedDict[tuple[str, str | None], Operation] = OrderedDict()
        self.characters = 0
        """Characters of all cached documents."""

    def __len__(self) -> int:
        return len(self._cached)

    def find_prepared(self, text: str, name: str | None) -> Operation | None:
        """Return the cached operation of a document; None when it isn't prepared yet."""
        with self._lock:
            if (text, name) in self._cached:
                self._cached.move_to_end((text, name))
            return self._cached.get((text, name))

    def prepare(self, text: str, name: str | None) -> Operation | list[Fault]:
        """Return the operation of that name (None: the only one), or why it is refused."""
        if operation := self.find_prepared(text, name):
            return operation
        document = _parse(self._bounds, text)
        if not isinstance(document, DocumentNode):
            return document
        found = _find_operation(self.schema, self._bounds, document, name)
        # A document that would take more than a quarter of the cache isn't kept.
        if isinstance(found, Operation) and len(text) <= MAX_CACHED_CHARACTERS // 4:
            with self._lock:
                if (text, name) not in self._cached:
                    self._cached[text, name] = found
                    self.characters += len(text)
                while len(self._cached) > MAX_DOCUMENTS or self.characters > MAX_CACHED_CHARACTERS:
                    (dropped, _), _ = self._cached.popitem(last=False)
                    self.characters -= len(dropped)
        return found


def _parse(bounds: DocumentLimits, text: str) -> DocumentNode | list[Fault]:
    if len(_LINE_END.findall(text)) >= document_limits.MAX_LINES:
        return [Fault(Code.TOO_LARGE, f"The document has more than {document_limits.MAX_LINES} lines.")]
    try:
        document = parse(
            text,
            max_lexical_tokens=bounds.tokens,
            max_comments=document_limits.MAX_COMMENTS,
            max_source_length=document_limits.MAX_CHARACTERS,
            allow_empty_selection_sets=False,
        )
    except GraphQLError as error:
        code = Code.TOO_LARGE if error.message.endswith(_ABORTED) else Code.SYNTAX
        return [Fault(code, error.message, None, list_locations(error))]
    return document


def _find_operation(
    schema: GraphQLSchema, bounds: DocumentLimits, document: DocumentNode, name: str | None
) -> Operation | list[Fault]:
    node = get_operation_ast(document, name)
    if node is None:
        operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        names = ", ".join(each.name.value for each in operations if each.name) or "none has one"
        named = f"`operationName` must be the name of an operation in the document: {names}."
        return [Fault(Code.INVALID_DOCUMENT, named if operations else "The document has no operation.")]
    try:
        paths = NodePaths(document_limits.expand(document, node, bounds))
    except GraphQLError as excess:
        return [Fault(Code.TOO_LARGE, excess.message)]
    return Operation(document, node, paths, _find_faults(schema, document, paths))


_RULES = (*(rule for rule in specified_rules if rule is not ValuesOfCorrectTypeRule), MaxIntrospectionDepthRule)


def _find_faults(schema: GraphQLSchema, document: DocumentNode, paths: NodePaths) -> list[Fault]:
    types = TypeInfo(schema)
    literals = _LiteralVisitor(types, paths)
    visit(document, TypeInfoVisitor(types, literals))
    faults = []
    if len(literals.faults) <= document_limits.MAX_LISTED:
        for error in validate(schema, document, _RULES, max_errors=document_limits.MAX_INVALID):
            place = paths.find(*error.nodes or ())
            where = list_locations(error)
            faults.append(Fault(Code.INVALID_DOCUMENT, error.message, place.path, where, place.input or None))
    return [*faults, *literals.faults]


class _LiteralVisitor(Visitor):
    def __init__(self, types: TypeInfo, paths: NodePaths) -> None:
        super().__init__()
        self._types = types
        self._paths = paths
        self._checker = ValueChecker()
        self.faults: list[Fault] = []

    def enter_argument(self, node: ArgumentNode, *_: object) -> VisitorAction:
        self._check(node.value)
        return SKIP

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: object) -> None:
        if node.default_value is not None:
            self._check(node.default_value)

    def _check(self, value: ValueNode) -> None:
        type_, place = self._types.get_input_type(), self._paths.find(value)
        if type_ is not None:
            found = self._checker.find_problems(value, type_)
            left = document_limits.MAX_LISTED + 1 - len(self.faults)
            self.faults += [
                Fault.from_problem(each, place.path, part, place.input) for each, part in islice(found, left)
            ]


@dataclass(frozen=True, slots=True)
class NodePath:
    """A field's path in the answer (None: of no field), and the path within its `input`."""

    path: Path | None = None
    input: Path = ()


class NodePaths:
    """The paths of one operation's fields, values and variables, with fragments expanded.

    Where a node or variable is used several times, its first use counts.
    """

    def __init__(self, selections: Iterable[tuple[FieldNode | FragmentSpreadNode, Path]]) -> None:
        self._nodes: dict[int, NodePath] = {}
        self.variables: dict[str, NodePath] = {}
        self.roots: list[tuple[FieldNode, Path]] = []
        for node, path in selections:
            if isinstance(node, FieldNode) and len(path) == 1:
                self.roots.append((node, path))
            if id(node) not in self._nodes:
                self._nodes[id(node)] = NodePath(path)
                for argument in node.arguments or ():
                    name = argument.name.value
                    place = NodePath(path, () if name == _INPUT else (name,))
                    self._nodes[id(argument)] = place
                    self._visit_value(argument.value, place)

    def find(self, *nodes: Node) -> NodePath:
        """Return the path of the first of these nodes that belongs to a field."""
        return next((self._nodes[id(node)] for node in nodes if id(node) in self._nodes), NodePath())

    def _visit_value(self, node: ValueNode, node_path: NodePath) -> None:
        self._nodes[id(node)] = node_path
        match node:
            case VariableNode():
                self.variables.setdefault(node.name.value, node_path)
            case ListValueNode():
                for index, each in enumerate(node.values):
                    self._visit_value(each, NodePath(node_path.path, (*node_path.input, index)))
            case ObjectValueNode():
                for field in node.fields:
                    field_path = NodePath(node_path.path, (*node_path.input, field.name.value))
                    self._nodes[id(field)] = field_path
                    self._visit_value(field.value, field_path)


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
            yield (
                Problem(code, (*path, name[:80]), what + similar_names.advice(nearest, type_.fields), nearest),
                given[name],
            )

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
            advice = similar_names.advice(nearest, type_.values)
            yield Problem(code, path, f"There is no {noun} {name[:80]!r}.{advice}", nearest)

    def _suggest(self, name: str, names: Iterable[str]) -> str | None:
        known = list(names)
        if name.upper() in known:
            return name.upper()
        self._suggestions -= 1
        return similar_names.suggest_name(name, known) if self._suggestions >= 0 else None


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
