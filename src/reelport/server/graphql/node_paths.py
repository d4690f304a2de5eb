"""Where in the answer each part of a document belongs, so that an error can say which field it is about."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

from reelport.server.graphql.faults import Path

_INPUT = "input"


@dataclass(frozen=True, slots=True)
class NodePath:
    """A field by its path in the answer, and the way into its input."""

    path: Path
    input: Path = ()


class NodePaths:
    """The places of one operation's fields, values and variables, fragments expanded.

    Made for documents that are within the limits: without circles, and with a bounded
    number of fields. Of several uses of one node or variable the first counts.
    """

    def __init__(self, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._nodes: dict[int, NodePath] = {}
        self._repeats: Counter[Path] = Counter()
        self.variables: dict[str, NodePath] = {}
        self.roots: list[tuple[FieldNode, Path]] = []
        self._visit_selection(operation.selection_set, ())

    def find(self, node: Node | None) -> NodePath | None:
        """The place of a node; None when it belongs to no field."""
        return self._nodes.get(id(node))

    @property
    def field_count(self) -> int:
        """How many fields there are, fragments expanded."""
        return self._repeats.total()

    @property
    def most_repeated(self) -> tuple[Path, int]:
        """The path that most fields share, and how many they are."""
        return max(self._repeats.items(), key=lambda item: item[1], default=((), 0))

    def _visit_selection(self, selection: SelectionSetNode, path: Path) -> None:
        for node in selection.selections:
            match node:
                case FieldNode():
                    self._visit_field(node, path)
                case FragmentSpreadNode():
                    fragment = self._fragments.get(node.name.value)
                    if fragment is not None:
                        self._nodes.setdefault(id(node), NodePath(path))
                        self._visit_selection(fragment.selection_set, path)
                case _:
                    self._visit_selection(node.selection_set, path)  # type: ignore[attr-defined]

    def _visit_field(self, node: FieldNode, above: Path) -> None:
        path = (*above, (node.alias or node.name).value)
        self._repeats[path] += 1
        if not above:
            self.roots.append((node, path))
        if id(node) not in self._nodes:
            self._nodes[id(node)] = NodePath(path)
            for argument in node.arguments or ():
                name = argument.name.value
                inside = () if name == _INPUT else (name,)
                self._nodes[id(argument)] = NodePath(path, inside)
                self._visit_value(argument.value, NodePath(path, inside))
        if node.selection_set:
            self._visit_selection(node.selection_set, path)

    def _visit_value(self, node: ValueNode, place: NodePath) -> None:
        self._nodes[id(node)] = place
        match node:
            case VariableNode():
                self.variables.setdefault(node.name.value, place)
            case ListValueNode():
                for index, each in enumerate(node.values):
                    self._visit_value(each, NodePath(place.path, (*place.input, index)))
            case ObjectValueNode():
                for field in node.fields:
                    inside = NodePath(place.path, (*place.input, field.name.value))
                    self._nodes[id(field)] = inside
                    self._visit_value(field.value, inside)
