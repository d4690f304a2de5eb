"""What a request may cost before anything is done for it: its body, and the size of its document.

Settings hold what an operator may want to change; the rest is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from graphql import DocumentNode, FieldNode, FragmentDefinitionNode, FragmentSpreadNode, Node, SelectionSetNode

from reelport.server.settings import Settings

TOKEN_BODY_BYTES = 16_384
"""Longest body of a request for a token: whoever asks is still unknown, and it is read where all requests are."""
TOKEN_BODIES_BYTES = 4 * 1_048_576
"""Bytes of such bodies in memory: of unknown callers, who can't be told from each other but by their address."""
ADDRESS_TOKEN_BODIES_BYTES = 1_048_576
"""Bytes of those of one address."""
MAX_CHARACTERS = 100_000
"""Longest document, its blanks included."""
MAX_LINES = 2000
"""Most lines of a document: finding the line of an error costs time in their number."""
MAX_COMMENTS = 500
MAX_DEFINITIONS = 100
"""Most operations and fragments of one document."""
MAX_FIELDS = 1000
"""Most fields of one document, fragments expanded."""
MAX_REPEATS = 20
"""How often one field may be given the same name in the answer: comparing them is quadratic."""
MAX_FRAGMENT_SPREADS = 40
"""Most spreads of fragments: comparing them is quadratic too."""
MAX_INTROSPECTION_ALIASES = 5
"""Most aliased fields of a document that asks for the schema, which is a large thing to give many times."""
MAX_LIST_ITEMS = 100
"""Longest list of a value: there are not as many metrics, nor dimensions."""
MAX_TEXT_LENGTH = 1000
"""Longest text of a value."""
MAX_LISTED = 100
"""Most problems that one answer lists."""
MAX_INVALID = 20
"""Most problems of a document, its values apart, that one answer lists."""
MAX_SUGGESTIONS = 20
"""For how many wrong names of one request the nearest right one is searched."""

_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """What one document may have, as an operator sets it."""

    tokens: int
    depth: int
    aliases: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The limits that the settings name."""
        return cls(settings.document_tokens, settings.document_depth, settings.document_aliases)


@dataclass(frozen=True, slots=True)
class Size:
    """How deep a selection is, how many aliases and fields it has; fragments are expanded."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0

    def beside(self, other: Size) -> Size:
        """Both in one selection."""
        return Size(max(self.depth, other.depth), self.aliases + other.aliases, self.fields + other.fields)

    def under(self, field: FieldNode) -> Size:
        """All of it as the selection of a field."""
        return Size(self.depth + 1, self.aliases + (field.alias is not None), self.fields + 1)


class SizeMeter:
    """The sizes of the selections of one document: each fragment is measured once, and a circle is noticed."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._known: dict[str, Size | None] = {}
        self.circle: str | None = None
        self.spreads = 0
        self.introspects = False

    def measure(self, selection: SelectionSetNode) -> Size:
        """The size of a selection."""
        size = Size()
        for node in selection.selections:
            size = size.beside(self._measure_node(node))
        return size

    def measure_fragment(self, name: str) -> Size:
        """The size of a fragment; nothing for one that isn't there, or that is being measured: a circle."""
        if name not in self._fragments:
            return Size()
        if name not in self._known:
            self._known[name] = None
            self._known[name] = self.measure(self._fragments[name].selection_set)
        size = self._known[name]
        if size is None:
            self.circle = name
        return size or Size()

    def _measure_node(self, node: Node) -> Size:
        if isinstance(node, FragmentSpreadNode):
            self.spreads += 1
            return self.measure_fragment(node.name.value)
        if isinstance(node, FieldNode) and node.name.value in _INTROSPECTION:
            self.introspects = True
        selection: SelectionSetNode | None = getattr(node, "selection_set", None)
        inner = self.measure(selection) if selection else Size()
        return inner.under(node) if isinstance(node, FieldNode) else inner


def find_excesses(document: DocumentNode, limits: DocumentLimits) -> tuple[str, ...]:
    """A sentence for every limit that the document breaks; costs time in the length of the document only."""
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
    if sizes.circle is not None:
        return (f"The fragment {sizes.circle[:80]!r} leads back to itself.",)
    aliases = min(limits.aliases, MAX_INTROSPECTION_ALIASES) if sizes.introspects else limits.aliases
    found = (
        ("nested levels", max((part.depth for part in parts), default=0), limits.depth),
        ("aliases", sum(part.aliases for part in parts), aliases),
        ("fields", sum(part.fields for part in parts), MAX_FIELDS),
        ("spreads of fragments", sizes.spreads, MAX_FRAGMENT_SPREADS),
    )
    return tuple(
        f"The document has {_format_count(count)} {noun}: at most {most} are taken, with fragments expanded."
        for noun, count, most in found
        if count > most
    )


def _format_count(count: int) -> str:
    return str(count) if count < 1_000_000 else "over a million"  # noqa: PLR2004 - said once, here
