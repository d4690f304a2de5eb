"""Maps each node of a GraphQL document to its path in the answer, for errors."""

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
    """A field's path in the answer (None: of no field), and the path within its `input`."""

    path: Path | None = None
    input: Path = ()


class NodePaths:
    """The paths of one operation's fields, values and variables, with fragments expanded.

    Only for documents within the limits: without cycles, and with a bounded number of fields. Where a node or variable
    is used several times, its first use counts.
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

    def find(self, *nodes: Node) -> NodePath:
        """Return the path of the first of these nodes that belongs to a field."""
        return next((self._nodes[id(node)] for node in nodes if id(node) in self._nodes), NodePath())

    @property
    def field_count(self) -> int:
        """Number of fields, with fragments expanded."""
        return self._repeats.total()

    @property
    def most_repeated(self) -> tuple[Path, int]:
        """The path that most fields share, and the number of those fields."""
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

    def _visit_field(self, node: FieldNode, parent_path: Path) -> None:
        path = (*parent_path, (node.alias or node.name).value)
        self._repeats[path] += 1
        if not parent_path:
            self.roots.append((node, path))
        if id(node) not in self._nodes:
            self._nodes[id(node)] = NodePath(path)
            for argument in node.arguments or ():
                name = argument.name.value
                input_path = () if name == _INPUT else (name,)
                self._nodes[id(argument)] = NodePath(path, input_path)
                self._visit_value(argument.value, NodePath(path, input_path))
        if node.selection_set:
            self._visit_selection(node.selection_set, path)

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
