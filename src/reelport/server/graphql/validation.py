"""What is wrong with a document against the schema, its values in our own words."""

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
    """A value of the document doesn't fit; `problem` says how."""

    def __init__(self, problem: Problem, node: ValueNode) -> None:
        # Without the node: the library would count the lines up to it, which costs time in the document's length.
        super().__init__(problem.sentence)
        self.problem = problem
        self.value = node


class _LiteralRule(ValuesOfCorrectTypeRule):
    """The rule of the specification, telling every problem in our words, up to one more than are listed."""

    def __init__(self, context: ValidationContext, found: list[GraphQLError]) -> None:
        super().__init__(context)
        self.found = found
        self.guesses = NameSuggestions()

    def is_valid_value_node(self, node: ValueNode, input_type: Any) -> VisitorAction:  # noqa: ANN401 - as in the library
        """Note what is wrong with a value, and don't look inside it again."""
        if input_type:
            value = values.from_literal(node)
            for problem in values.find_problems(value, input_type, literal=True, guesses=self.guesses):
                self.found.append(ValueProblem(problem, node))
                if len(self.found) > MAX_LISTED:
                    return BREAK
        return SKIP


class _DirectiveRule(UniqueDirectivesPerLocationRule):
    """The rule of the specification, the only one that asks to see each value: a value has no directives."""

    def get_enter_leave_for_kind(self, kind: str) -> EnterLeaveVisitor:
        """As in the library, but nothing for values, of which there are thousands."""
        return EnterLeaveVisitor(None, None) if kind.endswith("_value") else super().get_enter_leave_for_kind(kind)


_REPLACED_RULES = {ValuesOfCorrectTypeRule: None, UniqueDirectivesPerLocationRule: _DirectiveRule}
_RULES = (*filter(None, (_REPLACED_RULES.get(rule, rule) for rule in specified_rules)), MaxIntrospectionDepthRule)


def validate_document(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """Everything that is wrong with a document whatever its variables are; its values come last."""
    errors = _find_literal_problems(schema, document)
    if len(errors) > MAX_LISTED:
        return errors
    return [*validate(schema, document, _RULES, max_errors=request_size.MAX_INVALID), *errors]


def _find_literal_problems(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """What is wrong with the values of a document, in a walk that doesn't go into them a second time."""
    found: list[GraphQLError] = []
    types = TypeInfo(schema)
    context = ValidationContext(schema, document, types, found.append)
    visit(document, TypeInfoVisitor(types, _LiteralRule(context, found)))
    return found
