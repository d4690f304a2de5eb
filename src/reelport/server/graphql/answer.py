"""Reads and answers a GraphQL request.

All errors of a document are reported together, in the form of `faults`; nothing of a refused document is executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import structlog
from graphql import (
    GraphQLError,
    GraphQLNonNull,
    GraphQLSchema,
    execute_sync,
    is_input_type,
    type_from_ast,
    value_from_ast_untyped,
)

from reelport.errors import Problem
from reelport.server.graphql import resolvers
from reelport.server.graphql.faults import Fault, Path, format_errors, format_refusal, list_locations
from reelport.server.graphql.resolvers import Context
from reelport.server.graphql.validation import DocumentCache, NodePath, Operation, ValueChecker
from reelport.server.limits.document_limits import MAX_LISTED
from reelport.server.reports import ask
from reelport.server.state.database import StateUnavailable
from reelport.wire import Code

_LOG = structlog.get_logger(__name__)
_NAME_CODES = frozenset({Code.UNKNOWN_METRIC, Code.UNKNOWN_DIMENSION, Code.UNKNOWN_PRODUCT, Code.UNKNOWN_FILTER})
_NAME_CODES |= {Code.UNKNOWN_FILTER_VALUE, Code.BAD_DATE}
"""Codes of wrong names and dates, which leave the shape of the input right."""
_OPTIONAL: dict[str, tuple[type, str]] = {"variables": (dict, "an object"), "operationName": (str, "a text")}
_STRICT: dict[str, tuple[type, str]] = {"extensions": (dict, "an object")}


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed request: document, values of variables, name of the operation."""

    query: str
    variables: dict[str, Any]
    operation: str | None


def parse_body(body: bytes, *, strict: bool = False) -> Request | Fault:
    """Parse a body; return what is wrong with it instead when it is refused.

    Programs in the wild may send any `extensions`, which are ignored; `strict` refuses all but an object.
    """
    try:
        given = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Fault(Code.BAD_BODY, "The body isn't UTF-8.")
    except RecursionError:
        return Fault(Code.BAD_BODY, "The body is JSON that is nested too deeply.")
    except json.JSONDecodeError as error:
        return Fault(Code.BAD_BODY, f"The body isn't JSON: {error.msg}, at line {error.lineno}, column {error.colno}.")
    except ValueError:
        return Fault(Code.BAD_BODY, "The body holds a number with too many digits.")
    return _parse_request(given, strict=strict)


def _parse_request(given: Any, *, strict: bool) -> Request | Fault:  # noqa: ANN401 - JSON
    match given:
        case list():
            return Fault(
                Code.BAD_BODY, "The body is a list: send one object a request, with as many aliased fields as you need."
            )
        case {"query": str(query)} if query.strip():
            pass
        case dict():
            return Fault(Code.BAD_BODY, "The body has no `query`: send the document as a text of that name.")
        case _:
            return Fault(Code.BAD_BODY, "The body isn't an object: send one with a `query`.")
    for name, (kind, noun) in (_OPTIONAL | _STRICT if strict else _OPTIONAL).items():
        if not isinstance(given.get(name), kind | None):
            return Fault(Code.BAD_BODY, f"`{name}` isn't {noun}.")
    return Request(query, given.get("variables") or {}, given.get("operationName") or None)


def answer_request(documents: DocumentCache, request: Request, context: Context) -> dict[str, Any]:
    """Return the answer, with `data` always; StateUnavailable when the state was away."""
    prepared = documents.prepare(request.query, request.operation)
    if not isinstance(prepared, Operation):
        return format_refusal(prepared)
    faults = _find_faults(documents.schema, request, prepared, context)
    if faults:
        return format_refusal(faults)
    return _execute(documents.schema, request, prepared, context)


def _find_faults(schema: GraphQLSchema, request: Request, prepared: Operation, context: Context) -> list[Fault]:
    """List why the whole document is refused; empty when at most single fields will be refused."""
    faults = [*prepared.faults, *islice(_check_variables(schema, request, prepared), MAX_LISTED + 1)]
    if all(fault.code is Code.BAD_DATE for fault in faults):  # Fields with a wrong date are refused one by one.
        return []
    return [*faults, *islice(_foresee_faults(request, prepared, context, faults), MAX_LISTED + 1)]


def _check_variables(schema: GraphQLSchema, request: Request, prepared: Operation) -> Iterator[Fault]:
    checker = ValueChecker()
    for definition in prepared.node.variable_definitions or ():
        name, type_ = definition.variable.name.value, type_from_ast(schema, definition.type)
        place = prepared.paths.variables.get(name, NodePath())
        found: Iterable[Problem] = ()
        if name in request.variables and is_input_type(type_):
            found = (problem for problem, _ in checker.find_problems(request.variables[name], type_))
        elif name not in request.variables and definition.default_value is None and isinstance(type_, GraphQLNonNull):
            found = [Problem(Code.INVALID_VALUE, (), f"The variable ${name[:80]} is missing.")]
        for problem in found:
            yield Fault.from_problem(problem, place.path, definition, place.input, f"${name}")


def _foresee_faults(request: Request, prepared: Operation, context: Context, faults: list[Fault]) -> Iterator[Fault]:
    """Yield further problems that a refused document's queries would have with right names."""
    if len(faults) > MAX_LISTED or any(fault.code not in _NAME_CODES for fault in faults):
        return
    reported = {(fault.path, fault.input_path) for fault in faults}
    definitions = prepared.node.variable_definitions or ()
    defaults = {each.variable.name.value: each.default_value for each in definitions if each.default_value is not None}
    variables = {name: value_from_ast_untyped(value) for name, value in defaults.items()} | request.variables
    for field, path in prepared.paths.roots:
        for argument in (field.arguments or ()) if field.name.value == "askPartnerReportFile" else ():
            wire = value_from_ast_untyped(argument.value, variables)
            for problem in resolvers.foresee_problems(
                wire, context.caller.scopes, context.now.date(), ask.make_rules(context.settings)
            ):
                if (path, problem.path) not in reported:
                    yield Fault.from_problem(problem, path, field)


def _execute(schema: GraphQLSchema, request: Request, prepared: Operation, context: Context) -> dict[str, Any]:
    result = execute_sync(
        schema,
        prepared.document,
        context_value=context,
        variable_values=request.variables,
        operation_name=request.operation,
    )
    for error in result.errors or ():
        if isinstance(error.original_error, StateUnavailable):
            raise error.original_error
    faults = [*context.faults, *(_convert_execution_error(error) for error in result.errors or ())]
    body: dict[str, Any] = {"data": result.data}
    if faults:
        body["errors"] = format_errors(faults)
    return body | context.format_extensions()


def _convert_execution_error(error: GraphQLError) -> Fault:
    """Convert an error that no resolver caught: our defect, unless graphql-core found it."""
    path: Path | None = tuple(error.path) if error.path is not None else None
    if error.original_error is None:
        return Fault(Code.INVALID_VALUE, error.message, path, list_locations(error))
    _LOG.error("a field failed", path=path, exc_info=error.original_error)
    return Fault(Code.INTERNAL, "The service failed here; it isn't the request's fault.", path, list_locations(error))
