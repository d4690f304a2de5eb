"""Size limits of a request: body and document (depth, aliases, fields, fragments).

They are far above what programs send, and low enough that no document takes more than a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphql import DocumentNode, FieldNode, FragmentDefinitionNode, FragmentSpreadNode, Node, SelectionSetNode

BODY_BYTES = 1_048_576
"""Longest request body: ten times the longest document with its variables."""
TOKEN_BODY_BYTES = 16_384
"""Longest body of a token request: its sender isn't authenticated yet, and it is parsed on the event loop."""
TOKEN_BODIES_BYTES = 4 * 1_048_576
"""Most bytes of token request bodies in memory, of all clients."""
ADDRESS_TOKEN_BODIES_BYTES = 1_048_576
"""Most bytes of token request bodies in memory from one IP address."""
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
_MANY = 1_000_000
"""A count from which on its digits say nothing."""


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """Most tokens, nested levels and aliased fields of one document, with fragments expanded."""

    tokens: int = 4000
    depth: int = 15
    aliases: int = 50


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a selection with fragments expanded: depth, aliased fields, fields."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0

    def add(self, other: Size) -> Size:
        """Return the size of one selection that holds both."""
        return Size(max(self.depth, other.depth), self.aliases + other.aliases, self.fields + other.fields)

    def nest(self, field: FieldNode) -> Size:
        """Return the size of a field with this selection."""
        return Size(self.depth + 1, self.aliases + (field.alias is not None), self.fields + 1)


class SizeMeter:
    """Measures a document's selections, each fragment once; detects cycles of fragments."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._known: dict[str, Size | None] = {}
        self.cycle: str | None = None
        self.spreads = 0
        self.introspects = False

    def measure(self, selection: SelectionSetNode) -> Size:
        """Return the size of a selection."""
        size = Size()
        for node in selection.selections:
            size = size.add(self._measure_node(node))
        return size

    def measure_fragment(self, name: str) -> Size:
        """Return a fragment's size; zero if it is missing or being measured (a cycle)."""
        if name not in self._fragments:
            return Size()
        if name not in self._known:
            self._known[name] = None
            self._known[name] = self.measure(self._fragments[name].selection_set)
        size = self._known[name]
        if size is None:
            self.cycle = name
        return size or Size()

    def _measure_node(self, node: Node) -> Size:
        if isinstance(node, FragmentSpreadNode):
            self.spreads += 1
            return self.measure_fragment(node.name.value)
        if isinstance(node, FieldNode) and node.name.value in _INTROSPECTION:
            self.introspects = True
        selection: SelectionSetNode | None = getattr(node, "selection_set", None)
        inner = self.measure(selection) if selection else Size()
        return inner.nest(node) if isinstance(node, FieldNode) else inner


def find_excesses(document: DocumentNode, limits: DocumentLimits) -> tuple[str, ...]:
    """Return a sentence for each limit exceeded. Takes linear time in the document's length."""
    if len(document.definitions) > MAX_DEFINITIONS:
        return (f"The document has {len(document.definitions)} definitions: at most {MAX_DEFINITIONS} are taken.",)
    sizes = SizeMeter(document)
    try:
        parts = [
            sizes.measure_fragment(definition.name.value)
            if isinstance(definition, FragmentDefinitionNode)
            else sizes.measure(definition.selection_set)
            for definition in document.definitions
            if hasattr(definition, "selection_set")
        ]
    except RecursionError:
        return (f"The document is nested deeper than {limits.depth}.",)
    if sizes.cycle is not None:
        return (f"The fragment {sizes.cycle[:80]!r} leads back to itself.",)
    aliases = min(limits.aliases, MAX_INTROSPECTION_ALIASES) if sizes.introspects else limits.aliases
    found = (
        ("nested levels", max((part.depth for part in parts), default=0), limits.depth),
        ("aliases", sum(part.aliases for part in parts), aliases),
        ("fields", sum(part.fields for part in parts), MAX_FIELDS),
        ("spreads of fragments", sizes.spreads, MAX_FRAGMENT_SPREADS),
    )
    return tuple(
        f"The document has {count if count < _MANY else 'over a million'} {noun}: at most {limit} are taken, "
        "with fragments expanded."
        for noun, count, limit in found
        if count > limit
    )
