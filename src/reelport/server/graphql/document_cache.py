"""Cache of parsed and validated GraphQL documents, keyed by their text.

Programs send the same few documents again and again with other variables. A text is looked up before it is parsed;
only documents within the hard limits are cached, so the limits hold for every request.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)

from reelport.server.graphql import values
from reelport.server.graphql.faults import Fault, list_locations
from reelport.server.graphql.node_paths import NodePaths
from reelport.server.limits import document_limits
from reelport.server.limits.document_limits import DocumentLimits
from reelport.wire import Code

MAX_DOCUMENTS = 500
"""Most cached documents; the least recently used are dropped first."""
MAX_CACHED_CHARACTERS = 100_000
"""Most characters of all cached documents: a parsed document takes up to 250 bytes of memory a character."""
_SHORT_FIELDS = 50
"""Most fields of a query that is answered on the event loop: each takes some 50 microseconds."""
_INTROSPECTION = frozenset({"__schema", "__type"})
_ABORTED = "Parsing aborted."
_LINE_END = re.compile(r"\r\n|[\n\r]")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, and the answer paths of its nodes."""

    document: DocumentNode
    node: OperationDefinitionNode
    paths: NodePaths
    faults: Sequence[Fault]
    """What is wrong with the document, whatever its variables are."""

    @property
    def is_short_read(self) -> bool:
        """Whether it is a query of few fields, no introspection: it changes nothing, and is short."""
        introspects = any(field.name.value in _INTROSPECTION for field, _ in self.paths.roots)
        return (
            self.node.operation is OperationType.QUERY and not introspects and self.paths.field_count <= _SHORT_FIELDS
        )


class DocumentCache:
    """LRU cache of a process's operations, by text and operation name. Thread-safe."""

    def __init__(self, schema: GraphQLSchema, bounds: DocumentLimits) -> None:
        self.schema = schema
        self._bounds = bounds
        self._lock = threading.Lock()
        self._cached: OrderedDict[tuple[str, str | None], Operation] = OrderedDict()
        self.characters = 0
        """Characters of all cached documents."""

    def __len__(self) -> int:
        return len(self._cached)

    def find_prepared(self, text: str, name: str | None) -> Operation | None:
        """Return the cached operation of a document; None when it isn't prepared yet."""
        with self._lock:
            if (text, name) in self._cached:
                self._cached.move_to_end((text, name))
            return self._cached.get((text, name))

    def prepare(self, text: str, name: str | None) -> Operation | list[Fault]:
        """Return the operation of that name (None: the only one), or why it is refused."""
        if operation := self.find_prepared(text, name):
            return operation
        document = _parse(self._bounds, text)
        found = _find_operation(self.schema, document, name) if isinstance(document, DocumentNode) else document
        if isinstance(found, Operation):
            self._store((text, name), found)
        return found

    def _store(self, key: tuple[str, str | None], operation: Operation) -> None:
        """Cache an operation, unless its document would take more than a quarter of the cache."""
        with self._lock:
            if len(key[0]) > MAX_CACHED_CHARACTERS // 4 or key in self._cached:
                return
            self._cached[key] = operation
            self.characters += len(key[0])
            while len(self._cached) > MAX_DOCUMENTS or self.characters > MAX_CACHED_CHARACTERS:
                (dropped, _), _ = self._cached.popitem(last=False)
                self.characters -= len(dropped)


def _parse(bounds: DocumentLimits, text: str) -> DocumentNode | list[Fault]:
    """Parse a document, or return the errors of its syntax or of a limit that it exceeds."""
    if len(_LINE_END.findall(text)) >= document_limits.MAX_LINES:
        return [Fault(Code.TOO_LARGE, f"The document has more than {document_limits.MAX_LINES} lines.")]
    try:
        document = parse(
            text,
            max_lexical_tokens=bounds.tokens,
            max_comments=document_limits.MAX_COMMENTS,
            max_source_length=document_limits.MAX_CHARACTERS,
            allow_empty_selection_sets=False,
        )
    except GraphQLError as error:
        code = Code.TOO_LARGE if error.message.endswith(_ABORTED) else Code.SYNTAX
        return [Fault(code, error.message, None, list_locations(error))]
    excesses = document_limits.find_excesses(document, bounds)
    return [Fault(Code.TOO_LARGE, sentence) for sentence in excesses] or document


def _find_operation(schema: GraphQLSchema, document: DocumentNode, name: str | None) -> Operation | list[Fault]:
    node = get_operation_ast(document, name)
    if node is None:
        operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        names = ", ".join(each.name.value for each in operations if each.name) or "none has one"
        named = f"`operationName` must be the name of an operation in the document: {names}."
        return [Fault(Code.INVALID_DOCUMENT, named if operations else "The document has no operation.")]
    paths = NodePaths(document, node)
    path, count = paths.most_repeated
    if count > document_limits.MAX_REPEATS:
        shown = ".".join(map(str, path))[:80]
        sentence = f"{shown} is asked for {count} times: at most {document_limits.MAX_REPEATS} are taken."
        return [Fault(Code.TOO_LARGE, sentence, path)]
    return Operation(document, node, paths, _find_faults(schema, document, paths))


def _find_faults(schema: GraphQLSchema, document: DocumentNode, paths: NodePaths) -> list[Fault]:
    """Find what is wrong with a document; problems of values come last."""
    literals = []
    for problem, whole, part in values.find_literal_problems(schema, document):
        place = paths.find(whole)
        literals.append(Fault.from_problem(problem, place.path, part, place.input))
    if len(literals) > document_limits.MAX_LISTED:
        return literals
    faults = []
    for error in values.find_errors(schema, document):
        place = paths.find(*error.nodes or ())
        where = list_locations(error)
        faults.append(Fault(Code.INVALID_DOCUMENT, error.message, place.path, where, place.input or None))
    return [*faults, *literals]
