"""From a request to its answer: parse, limits, validation, values, and only then execution.

Whatever is wrong with a document is told at once, in the form of `faults`; nothing
of a document that is refused is executed. It refuses to know HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import structlog
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    MaxIntrospectionDepthRule,
    Node,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    UniqueDirectivesPerLocationRule,
    ValidationContext,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VisitorAction,
    execute_sync,
    parse,
    specified_rules,
    type_from_ast,
    validate,
    visit,
)
from graphql.language import BREAK, SKIP
from graphql.language.visitor import EnterLeaveVisitor

from reelport.errors import Problem
from reelport.server import limits, reports
from reelport.server.graphql import judgement, values
from reelport.server.graphql.context import Context
from reelport.server.graphql.faults import CODES, Fault, Path, entries, location_of, locations_of, refusal
from reelport.server.graphql.places import Places
from reelport.server.graphql.request import Request
from reelport.server.graphql.values import Guesses
from reelport.server.limits import LISTED, DocumentLimits
from reelport.wire import Code

_LOG = structlog.get_logger(__name__)
_ABORTED = "Parsing aborted."
_LINE_END = re.compile(r"\r\n|[\n\r]")
_NAMES = frozenset({Code.UNKNOWN_METRIC, Code.UNKNOWN_DIMENSION, Code.UNKNOWN_PRODUCT, Code.UNKNOWN_FILTER})
_NAMES |= {Code.UNKNOWN_FILTER_VALUE, Code.BAD_DATE}
"""Problems of names: the shape around them is right."""


class _ValueError(GraphQLError):
    """A value of the document doesn't fit; `problem` says how."""

    def __init__(self, problem: Problem, node: ValueNode) -> None:
        # Without the node: the library would count the lines up to it, which costs time in the document's length.
        super().__init__(problem.sentence)
        self.problem = problem
        self.value = node


class _Literals(ValuesOfCorrectTypeRule):
    """The rule of the specification, telling every problem in our words, up to one more than are listed."""

    def __init__(self, context: ValidationContext, found: list[GraphQLError]) -> None:
        super().__init__(context)
        self.found = found
        self.guesses = Guesses()

    def is_valid_value_node(self, node: ValueNode, input_type: Any) -> VisitorAction:  # noqa: ANN401 - as in the library
        """Note what is wrong with a value, and don't look inside it again."""
        if input_type:
            value = values.from_literal(node)
            for problem in values.problems(value, input_type, literal=True, guesses=self.guesses):
                self.found.append(_ValueError(problem, node))
                if len(self.found) > LISTED:
                    return BREAK
        return SKIP


def _literals(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """What is wrong with the values of a document, in a walk that doesn't go into them a second time."""
    found: list[GraphQLError] = []
    types = TypeInfo(schema)
    context = ValidationContext(schema, document, types, found.append)
    visit(document, TypeInfoVisitor(types, _Literals(context, found)))
    return found


class _Directives(UniqueDirectivesPerLocationRule):
    """The rule of the specification, the only one that asks to see each value: a value has no directives."""

    def get_enter_leave_for_kind(self, kind: str) -> EnterLeaveVisitor:
        """As in the library, but nothing for values, of which there are thousands."""
        return EnterLeaveVisitor(None, None) if kind.endswith("_value") else super().get_enter_leave_for_kind(kind)


_OTHERS = {ValuesOfCorrectTypeRule: None, UniqueDirectivesPerLocationRule: _Directives}
_RULES = (*filter(None, (_OTHERS.get(rule, rule) for rule in specified_rules)), MaxIntrospectionDepthRule)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document that is within the limits, one operation of it, and where its parts belong."""

    document: DocumentNode
    operation: OperationDefinitionNode
    places: Places


def answer(schema: GraphQLSchema, bounds: DocumentLimits, request: Request, context: Context) -> dict[str, Any]:
    """The whole answer, `data` always in it and `errors` only when there are any."""
    prepared = _prepare(bounds, request)
    if not isinstance(prepared, _Prepared):
        return refusal(prepared)
    faults = _faults(schema, request, prepared, context)
    if faults:
        return refusal(faults)
    return _execute(schema, request, prepared, context)


def _prepare(bounds: DocumentLimits, request: Request) -> _Prepared | list[Fault]:
    document = _parsed(bounds, request.query)
    if not isinstance(document, DocumentNode):
        return document
    operation = _operation(document, request.operation)
    if isinstance(operation, str):
        return [Fault(Code.INVALID_DOCUMENT, operation)]
    places = Places(document, operation)
    path, count = places.most_repeated
    if count > limits.REPEATS:
        sentence = f"{'.'.join(map(str, path))[:80]} is asked for {count} times: at most {limits.REPEATS} are taken."
        return [Fault(Code.TOO_LARGE, sentence, path)]
    return _Prepared(document, operation, places)


def _parsed(bounds: DocumentLimits, query: str) -> DocumentNode | list[Fault]:
    """The document when it is one and within the limits."""
    if len(_LINE_END.findall(query)) >= limits.LINES:
        return [Fault(Code.TOO_LARGE, f"The document has more than {limits.LINES} lines.")]
    try:
        document = parse(
            query,
            max_lexical_tokens=bounds.tokens,
            max_comments=limits.COMMENTS,
            max_source_length=limits.CHARACTERS,
            allow_empty_selection_sets=False,
        )
    except GraphQLError as error:
        code = Code.TOO_LARGE if error.message.endswith(_ABORTED) else Code.SYNTAX
        return [Fault(code, error.message, None, locations_of(error))]
    excesses = limits.excesses(document, bounds)
    return [Fault(Code.TOO_LARGE, sentence) for sentence in excesses] or document


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode | str:
    """The operation of that name, or the only one; else what is wrong."""
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if name is None:
        match operations:
            case [only]:
                return only
            case []:
                return "The document has no operation."
            case _:
                return "The document has several operations: say which by `operationName`."
    names = {each.name.value: each for each in operations if each.name}
    if name not in names:
        near = Guesses().nearest(name[:80], names)
        return f"The document has no operation {name[:80]!r}." + (f" Did you mean {near}?" if near else "")
    return names[name]


def _faults(schema: GraphQLSchema, request: Request, prepared: _Prepared, context: Context) -> list[Fault]:
    """Why the document must be refused: empty when only single fields may have to be."""
    errors = _literals(schema, prepared.document)
    if len(errors) <= LISTED:
        errors = [*validate(schema, prepared.document, _RULES, max_errors=limits.INVALID), *errors]
    unfit = [*islice(_of_variables(schema, request, prepared), LISTED + 1)]
    if all(_for_field(error) for error in errors) and not any(problem.fatal for problem, _ in unfit):
        return []
    wrong = [_of_validation(error, prepared.places) for error in errors]
    faults = [*wrong, *(fault for _, fault in unfit)]
    return [*faults, *islice(_foreseen(request, prepared, context, faults), LISTED + 1)]


def _for_field(error: GraphQLError) -> bool:
    return isinstance(error, _ValueError) and not error.problem.fatal


def _of_validation(error: GraphQLError, places: Places) -> Fault:
    nodes: Sequence[Node] = (error.value,) if isinstance(error, _ValueError) else error.nodes or ()
    place = next((place for node in nodes if (place := places.of(node))), None)
    path = place.path if place else None
    if isinstance(error, _ValueError):
        problem = error.problem
        inside = (*(place.input if place else ()), *problem.path)
        where = location_of(values.part_of(error.value, problem.path))
        return Fault(CODES[problem.code], problem.sentence, path, where, inside or None, problem.nearest)
    return Fault(Code.INVALID_DOCUMENT, error.message, path, locations_of(error), (place and place.input) or None)


def _of_variables(schema: GraphQLSchema, request: Request, prepared: _Prepared) -> Iterator[tuple[Problem, Fault]]:
    guesses = Guesses()
    for definition in prepared.operation.variable_definitions or ():
        name = definition.variable.name.value
        type_ = type_from_ast(schema, definition.type)
        if type_ is None or (definition.default_value is not None and name not in request.variables):
            continue
        place = prepared.places.variables.get(name)
        above = place.input if place else ()
        found = values.problems(request.variables.get(name), type_, guesses=guesses)  # type: ignore[arg-type]
        for problem in found:
            sentence = problem.sentence
            if not problem.path and name not in request.variables:
                sentence = f"The variable ${name[:80]} is missing."
            where = location_of(definition)
            inside = (*above, *problem.path) or None
            path = place.path if place else None
            yield problem, Fault(CODES[problem.code], sentence, path, where, inside, problem.nearest, f"${name}")


def _foreseen(request: Request, prepared: _Prepared, context: Context, faults: list[Fault]) -> Iterator[Fault]:
    """What the asks of a refused document would be refused for once their names are right."""
    if len(faults) > LISTED or any(fault.code not in _NAMES for fault in faults):
        return
    told = {(fault.path, fault.input_path) for fault in faults}
    sent = _values(request, prepared.operation)
    for field, path in prepared.places.roots:
        for argument in (field.arguments or ()) if field.name.value == "askPartnerReportFile" else ():
            wire = values.from_literal(argument.value, sent)
            for problem in judgement.foreseen(
                wire, context.caller.scopes, context.now.date(), reports.rules(context.settings)
            ):
                if problem.fatal and (path, problem.path) not in told:
                    yield Fault.of_problem(problem, path, field)


def _values(request: Request, operation: OperationDefinitionNode) -> Mapping[str, Any]:
    defaults = {
        definition.variable.name.value: values.from_literal(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }
    return {**defaults, **request.variables}


def _execute(schema: GraphQLSchema, request: Request, prepared: _Prepared, context: Context) -> dict[str, Any]:
    result = execute_sync(
        schema,
        prepared.document,
        context_value=context,
        variable_values=request.variables,
        operation_name=request.operation,
    )
    faults = [*context.faults, *(_of_execution(error) for error in result.errors or ())]
    body: dict[str, Any] = {"data": result.data}
    if faults:
        body["errors"] = entries(faults)
    return body


def _of_execution(error: GraphQLError) -> Fault:
    """An error that no resolver told itself: our own, unless GraphQL found it in the request."""
    path: Path | None = tuple(error.path) if error.path is not None else None
    if error.original_error is None and not isinstance(error, _ValueError):
        return Fault(Code.INVALID_VALUE, error.message, path, locations_of(error))
    _LOG.error("a field failed", path=path, exc_info=error.original_error)
    return Fault(Code.INTERNAL, "The service failed here; it isn't the request's fault.", path, locations_of(error))
