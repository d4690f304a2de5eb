"""Validates a document against the schema; errors of values come in our own words and codes."""

from __future__ import annotations

from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    MaxIntrospectionDepthRule,
    TypeInfo,
    TypeInfoVisitor,
    UniqueDirectivesPerLocationRule,
    ValidationContext,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VisitorAction,
    specified_rules,
    validate,
    visit,
)
from graphql.language import BREAK, SKIP
from graphql.language.visitor import EnterLeaveVisitor

from reelport.errors import Problem
from reelport.server.graphql import values
from reelport.server.graphql.values import NameSuggestions
from reelport.server.limits import request_size
from reelport.server.limits.request_size import MAX_LISTED


class ValueProblem(GraphQLError):
    """A value in the document doesn't fit its type; `problem` says why."""

    def __init__(self, problem: Problem, node: ValueNode) -> None:
        # Not with the node: the library would count the lines up to it, which takes linear time for each error.
        super().__init__(problem.sentence)
        self.problem = problem
        self.value = node


class _LiteralRule(ValuesOfCorrectTypeRule):
    """The specification's rule for values, with all problems in our words, up to one more than are listed."""

    def __init__(self, context: ValidationContext, found: list[GraphQLError]) -> None:
        super().__init__(context)
        self.found = found
        self.suggestions = NameSuggestions()

    def is_valid_value_node(self, node: ValueNode, input_type: Any) -> VisitorAction:  # noqa: ANN401 - as in the library
        """Collect the problems of a value and everything in it; then skip its children."""
        if input_type:
            value = values.from_literal(node)
            for problem in values.find_problems(value, input_type, literal=True, suggestions=self.suggestions):
                self.found.append(ValueProblem(problem, node))
                if len(self.found) > MAX_LISTED:
                    return BREAK
        return SKIP


class _DirectiveRule(UniqueDirectivesPerLocationRule):
    """The specification's rule for repeated directives, without visiting values: they have no directives."""

    def get_enter_leave_for_kind(self, kind: str) -> EnterLeaveVisitor:
        """Return the library's visitor, and an empty one for values, of which there may be thousands."""
        return EnterLeaveVisitor(None, None) if kind.endswith("_value") else super().get_enter_leave_for_kind(kind)


_REPLACED_RULES = {ValuesOfCorrectTypeRule: None, UniqueDirectivesPerLocationRule: _DirectiveRule}
_RULES = (*filter(None, (_REPLACED_RULES.get(rule, rule) for rule in specified_rules)), MaxIntrospectionDepthRule)


def validate_document(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """List every error of a document that doesn't depend on variables; errors of values come last."""
    errors = _find_literal_problems(schema, document)
    if len(errors) > MAX_LISTED:
        return errors
    return [*validate(schema, document, _RULES, max_errors=request_size.MAX_INVALID), *errors]


def _find_literal_problems(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """List the errors of a document's values in a walk of its own, which visits each value once."""
    found: list[GraphQLError] = []
    types = TypeInfo(schema)
    context = ValidationContext(schema, document, types, found.append)
    visit(document, TypeInfoVisitor(types, _LiteralRule(context, found)))
    return found
