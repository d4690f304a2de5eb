"""Size limits of a GraphQL document: characters, depth, aliases, fields, fragments, values.

They are far above what programs send, and low enough that no document takes more than a tenth of a second.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

MAX_CHARACTERS = 100_000
"""Longest document, white space included."""
MAX_LINES = 2000
"""Most lines of a document: finding the line of an error takes time in proportion to them."""
MAX_COMMENTS = 500
MAX_DEFINITIONS = 100
"""Most operations and fragments of one document."""
MAX_FIELDS = 1000
"""Most fields of one document, fragments expanded."""
MAX_REPEATS = 20
"""Most selections that share one name in the answer: comparing them takes quadratic time."""
MAX_FRAGMENT_SPREADS = 40
"""Most fragment spreads: comparing them takes quadratic time too."""
MAX_INTROSPECTION_ALIASES = 5
"""Most aliased fields of an introspection query: each may return the whole schema."""
MAX_LIST_ITEMS = 100
"""Longest list in a value: longer than the lists of all metrics or all dimensions."""
MAX_TEXT_LENGTH = 1000
"""Longest text in a value."""
MAX_LISTED = 100
"""Most errors that one answer lists."""
MAX_INVALID = 20
"""Most validation errors of a document, apart from its values, that one answer lists."""
MAX_SUGGESTIONS = 20
"""Most wrong names of one request for which a similar right one is searched."""

_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """Most tokens, nested levels and aliased fields of one document, with fragments expanded."""

    tokens: int = 4000
    depth: int = 15
    aliases: int = 50


Selection = tuple[FieldNode | FragmentSpreadNode, tuple[str, ...]]
"""A field with its path in the answer, or a use of a fragment with the path of the field that it stands in."""


def expand(document: DocumentNode, operation: OperationDefinitionNode, limits: DocumentLimits) -> Iterator[Selection]:
    """Yield the selections of an operation with its fragments expanded.

    GraphQLError as soon as the document exceeds a limit. Its other definitions count too: they are validated with the
    operation.
    """
    if (count := len(document.definitions)) > MAX_DEFINITIONS:
        raise GraphQLError(f"The document has {count} definitions: at most {MAX_DEFINITIONS} are taken.")
    definitions = [each for each in document.definitions if isinstance(each, ExecutableDefinitionNode)]
    fragments = [each for each in definitions if isinstance(each, FragmentDefinitionNode)]
    expansion = _Expansion(fragments, limits)
    try:
        yield from expansion.expand(operation)
        # Fragments last, and only those that no operation uses.
        for other in sorted(definitions, key=lambda each: isinstance(each, FragmentDefinitionNode)):
            if id(other) not in expansion.expanded:
                deque(expansion.expand(other), 0)
    except RecursionError:
        raise GraphQLError(f"The document is nested deeper than {limits.depth} levels.") from None


class _Expansion:
    """Expands definitions, and counts what all of them have."""

    def __init__(self, fragments: Sequence[FragmentDefinitionNode], limits: DocumentLimits) -> None:
        self._limits = limits
        self._fragments = {each.name.value: each for each in fragments}
        self.expanded: set[int] = set()
        """The `id` of each definition that was expanded."""
        self._expanding: set[str] = set()
        self._spreads: set[int] = set()
        self._fields = self._aliases = 0
        self._introspects = False
        self._repeats: Counter[tuple[str, ...]] = Counter()

    def expand(self, definition: ExecutableDefinitionNode) -> Iterator[Selection]:
        self.expanded.add(id(definition))
        self._repeats.clear()
        return self._expand(definition.selection_set, ())

    def _expand(self, selection: SelectionSetNode, path: tuple[str, ...]) -> Iterator[Selection]:
        for node in selection.selections:
            match node:
                case FieldNode():
                    inner = (*path, (node.alias or node.name).value)
                    self._count_field(node, inner)
                    yield node, inner
                    if node.selection_set:
                        yield from self._expand(node.selection_set, inner)
                case FragmentSpreadNode():
                    yield from self._expand_fragment(node, path)
                case InlineFragmentNode():
                    yield from self._expand(node.selection_set, path)

    def _expand_fragment(self, node: FragmentSpreadNode, path: tuple[str, ...]) -> Iterator[Selection]:
        name = node.name.value
        self._spreads.add(id(node))
        self._refuse_more(len(self._spreads), MAX_FRAGMENT_SPREADS, "spreads of fragments")
        if name in self._expanding:
            raise GraphQLError(f"The fragment {name[:80]!r} leads back to itself.")
        fragment = self._fragments.get(name)
        if fragment is None:
            self._fields += 1  # Counts, so that fragments without a field are bounded too.
            self._refuse_more(self._fields, MAX_FIELDS, "fields")
            return
        yield node, path
        self.expanded.add(id(fragment))
        self._expanding.add(name)
        yield from self._expand(fragment.selection_set, path)
        self._expanding.remove(name)

    def _count_field(self, node: FieldNode, path: tuple[str, ...]) -> None:
        self._fields += 1
        self._aliases += node.alias is not None
        self._introspects |= node.name.value in _INTROSPECTION
        self._repeats[path] += 1
        aliases = min(self._limits.aliases, MAX_INTROSPECTION_ALIASES) if self._introspects else self._limits.aliases
        self._refuse_more(len(path), self._limits.depth, "nested levels")
        self._refuse_more(self._aliases, aliases, "aliases")
        self._refuse_more(self._fields, MAX_FIELDS, "fields")
        if self._repeats[path] > MAX_REPEATS:
            raise GraphQLError(f"{'.'.join(path)[:80]} is asked for more than {MAX_REPEATS} times.")

    def _refuse_more(self, count: int, most: int, noun: str) -> None:
        if count > most:
            raise GraphQLError(f"The document has more than {most} {noun}, with fragments expanded.")
