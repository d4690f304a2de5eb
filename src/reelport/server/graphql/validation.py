"""Validates a document against the schema; errors of values come in our own words."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from graphql import (
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    MaxIntrospectionDepthRule,
    TypeInfo,
    TypeInfoVisitor,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    Visitor,
    VisitorAction,
    specified_rules,
    validate,
    visit,
)
from graphql.language import SKIP

from reelport.errors import Problem
from reelport.server.graphql.values import ValueChecker
from reelport.server.limits.document_limits import MAX_INVALID, MAX_LISTED


class LiteralProblem(NamedTuple):
    """A problem in the document: `whole` is an argument's value or a default, `part` is wrong."""

    problem: Problem
    whole: ValueNode
    part: ValueNode


class _LiteralVisitor(Visitor):
    """Collects problems of a document's values, each visited once; one more than are listed."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types
        self._checker = ValueChecker()
        self.found: list[LiteralProblem] = []

    def enter_argument(self, node: ArgumentNode, *_: object) -> VisitorAction:
        """Check the value of an argument."""
        self._check(node.value)
        return SKIP

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: object) -> None:
        """Check the default value of a variable."""
        if node.default_value is not None:
            self._check(node.default_value)

    def _check(self, value: ValueNode) -> None:
        type_ = self._types.get_input_type()
        if type_ is not None:
            problems = self._checker.find_problems(value, type_)
            left = MAX_LISTED + 1 - len(self.found)
            self.found += [LiteralProblem(problem, value, part) for problem, part in islice(problems, left)]


_RULES = (*(rule for rule in specified_rules if rule is not ValuesOfCorrectTypeRule), MaxIntrospectionDepthRule)


def find_errors(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """List every error of a document, apart from its values, that doesn't depend on variables."""
    return validate(schema, document, _RULES, max_errors=MAX_INVALID)


def find_literal_problems(schema: GraphQLSchema, document: DocumentNode) -> list[LiteralProblem]:
    """List the problems of a document's values."""
    types = TypeInfo(schema)
    visitor = _LiteralVisitor(types)
    visit(document, TypeInfoVisitor(types, visitor))
    return visitor.found
