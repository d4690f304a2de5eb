"""Answers a GraphQL request: prepares the document, checks its variables, then executes it.

All errors of a document are reported together, in the form of `faults`; nothing of a refused document is executed.
This module knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSchema, Node, OperationDefinitionNode, execute_sync

from reelport.errors import Problem
from reelport.server.graphql import query_problems, values
from reelport.server.graphql.context import Context
from reelport.server.graphql.document_cache import DocumentCache, Operation
from reelport.server.graphql.faults import (
    CODES,
    Fault,
    Path,
    format_errors,
    format_refusal,
    list_locations,
    locate_node,
)
from reelport.server.graphql.node_paths import NodePaths
from reelport.server.graphql.request import Request
from reelport.server.graphql.validation import ValueProblem
from reelport.server.graphql.values import NameSuggestions
from reelport.server.limits.request_size import MAX_LISTED
from reelport.server.reports import use_cases
from reelport.server.state.database import StateBusy
from reelport.wire import Code

_LOG = structlog.get_logger(__name__)
_NAME_CODES = frozenset({Code.UNKNOWN_METRIC, Code.UNKNOWN_DIMENSION, Code.UNKNOWN_PRODUCT, Code.UNKNOWN_FILTER})
_NAME_CODES |= {Code.UNKNOWN_FILTER_VALUE, Code.BAD_DATE}
"""Codes of wrong names and dates, which leave the shape of the input right."""


def answer_request(documents: DocumentCache, request: Request, context: Context) -> dict[str, Any]:
    """Return the answer: always with `data`, and with `errors` only when there are any."""
    prepared = documents.prepare(request.query, request.operation)
    if not isinstance(prepared, Operation):
        return format_refusal(prepared)
    faults = _find_faults(request, prepared, context)
    if faults:
        return format_refusal(faults)
    return _execute(documents.schema, request, prepared, context)


def _find_faults(request: Request, prepared: Operation, context: Context) -> list[Fault]:
    """List why the whole document is refused; empty when at most single fields will be refused."""
    errors = prepared.errors
    variable_problems = [*islice(_check_variables(request, prepared), MAX_LISTED + 1)]
    if all(_is_left_to_field(error) for error in errors) and not any(problem.fatal for problem, _ in variable_problems):
        return []
    wrong = [_convert_validation_error(error, prepared.paths) for error in errors]
    faults = [*wrong, *(fault for _, fault in variable_problems)]
    return [*faults, *islice(_foresee_faults(request, prepared, context, faults), MAX_LISTED + 1)]


def _is_left_to_field(error: GraphQLError) -> bool:
    return isinstance(error, ValueProblem) and not error.problem.fatal


def _convert_validation_error(error: GraphQLError, paths: NodePaths) -> Fault:
    nodes: Sequence[Node] = (error.value,) if isinstance(error, ValueProblem) else error.nodes or ()
    node_path = next((node_path for node in nodes if (node_path := paths.find(node))), None)
    path = node_path.path if node_path else None
    if isinstance(error, ValueProblem):
        problem = error.problem
        input_path = (*(node_path.input if node_path else ()), *problem.path)
        where = locate_node(values.find_part(error.value, problem.path))
        return Fault(CODES[problem.code], problem.sentence, path, where, input_path or None, problem.nearest)
    return Fault(
        Code.INVALID_DOCUMENT, error.message, path, list_locations(error), (node_path and node_path.input) or None
    )


def _check_variables(request: Request, prepared: Operation) -> Iterator[tuple[Problem, Fault]]:
    suggestions = NameSuggestions()
    for definition, type_ in prepared.variables:
        name = definition.variable.name.value
        if definition.default_value is not None and name not in request.variables:
            continue
        node_path = prepared.paths.variables.get(name)
        above = node_path.input if node_path else ()
        found = values.find_problems(request.variables.get(name), type_, suggestions=suggestions)
        for problem in found:
            sentence = problem.sentence
            if not problem.path and name not in request.variables:
                sentence = f"The variable ${name[:80]} is missing."
            where = locate_node(definition)
            input_path = (*above, *problem.path) or None
            path = node_path.path if node_path else None
            yield problem, Fault(CODES[problem.code], sentence, path, where, input_path, problem.nearest, f"${name}")


def _foresee_faults(request: Request, prepared: Operation, context: Context, faults: list[Fault]) -> Iterator[Fault]:
    """Yield the further problems that the report queries of a refused document would have with right names."""
    if len(faults) > MAX_LISTED or any(fault.code not in _NAME_CODES for fault in faults):
        return
    reported = {(fault.path, fault.input_path) for fault in faults}
    variables = _read_variables(request, prepared.node)
    for field, path in prepared.paths.roots:
        for argument in (field.arguments or ()) if field.name.value == "askPartnerReportFile" else ():
            wire = values.from_literal(argument.value, variables)
            for problem in query_problems.foresee_problems(
                wire, context.caller.scopes, context.now.date(), use_cases.make_rules(context.settings)
            ):
                if problem.fatal and (path, problem.path) not in reported:
                    yield Fault.from_problem(problem, path, field)


def _read_variables(request: Request, operation: OperationDefinitionNode) -> Mapping[str, Any]:
    defaults = {
        definition.variable.name.value: values.from_literal(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }
    return {**defaults, **request.variables}


def _execute(schema: GraphQLSchema, request: Request, prepared: Operation, context: Context) -> dict[str, Any]:
    result = execute_sync(
        schema,
        prepared.document,
        context_value=context,
        variable_values=request.variables,
        operation_name=request.operation,
    )
    for error in result.errors or ():
        if context.repeatable and isinstance(error.original_error, StateBusy):
            raise error.original_error
    faults = [*context.faults, *(_convert_execution_error(error) for error in result.errors or ())]
    body: dict[str, Any] = {"data": result.data}
    if faults:
        body["errors"] = format_errors(faults)
    return body


def _convert_execution_error(error: GraphQLError) -> Fault:
    """Convert an error that no resolver caught: a defect of ours, unless graphql-core found it in the request."""
    path: Path | None = tuple(error.path) if error.path is not None else None
    if error.original_error is None and not isinstance(error, ValueProblem):
        return Fault(Code.INVALID_VALUE, error.message, path, list_locations(error))
    _LOG.error("a field failed", path=path, exc_info=error.original_error)
    return Fault(Code.INTERNAL, "The service failed here; it isn't the request's fault.", path, list_locations(error))
