"""Cache of parsed and validated GraphQL documents, keyed by their text.

Programs send the same few documents again and again with other variables. A text is looked up before it is parsed;
only documents within the hard limits are cached, so the limits hold for every request.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableDefinitionNode,
    parse,
    type_from_ast,
)

from reelport.server.graphql.faults import Fault, list_locations
from reelport.server.graphql.node_paths import NodePaths
from reelport.server.graphql.validation import validate_document
from reelport.server.graphql.values import NameSuggestions
from reelport.server.limits import request_size
from reelport.server.limits.request_size import DocumentLimits
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
    """One operation of a document, with the answer paths of its nodes and the types of its variables."""

    document: DocumentNode
    node: OperationDefinitionNode
    paths: NodePaths
    variables: tuple[tuple[VariableDefinitionNode, GraphQLInputType], ...]
    errors: Sequence[GraphQLError]
    """Validation errors of the document, which don't depend on variables."""

    @property
    def is_short_read(self) -> bool:
        """Whether it is a query of few fields without introspection: it changes nothing and takes little time."""
        introspects = any(field.name.value in _INTROSPECTION for field, _ in self.paths.roots)
        return (
            self.node.operation is OperationType.QUERY and not introspects and self.paths.field_count <= _SHORT_FIELDS
        )


@dataclass(slots=True)
class _Document:
    node: DocumentNode
    errors: Sequence[GraphQLError] | None = None
    operations: dict[str | None, Operation] = field(default_factory=dict)


class DocumentCache:
    """Least-recently-used cache of the documents of one process. Thread-safe."""

    def __init__(self, schema: GraphQLSchema, bounds: DocumentLimits) -> None:
        self.schema = schema
        self._bounds = bounds
        self._lock = threading.Lock()
        self._cached: OrderedDict[str, _Document] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._cached)

    @property
    def characters(self) -> int:
        """Characters of all cached documents."""
        return self._characters

    def find_prepared(self, text: str, name: str | None) -> Operation | None:
        """Return the cached operation of a document; None when it isn't prepared yet."""
        with self._lock:
            document = self._cached.get(text)
            if document is None:
                return None
            self._cached.move_to_end(text)
            return document.operations.get(name)

    def prepare(self, text: str, name: str | None) -> Operation | list[Fault]:
        """Return the operation of that name (None: the only one) of a document, or why the document is refused."""
        if operation := self.find_prepared(text, name):
            return operation
        with self._lock:
            document = self._cached.get(text)
        if document is None:
            parsed = _parse(self._bounds, text)
            if not isinstance(parsed, DocumentNode):
                return parsed
            document = self._store(text, _Document(parsed))
        found = self._prepare_operation(document, name)
        if isinstance(found, Operation):
            document.operations[name] = found
        return found

    def _store(self, text: str, document: _Document) -> _Document:
        """Cache a document, unless it would take more than a quarter of the cache."""
        if len(text) > MAX_CACHED_CHARACTERS // 4:
            return document
        with self._lock:
            if text in self._cached:
                return self._cached[text]
            self._cached[text] = document
            self._characters += len(text)
            while len(self._cached) > MAX_DOCUMENTS or self._characters > MAX_CACHED_CHARACTERS:
                dropped, _ = self._cached.popitem(last=False)
                self._characters -= len(dropped)
        return document

    def _prepare_operation(self, document: _Document, name: str | None) -> Operation | list[Fault]:
        node = _find_operation(document.node, name)
        if isinstance(node, str):
            return [Fault(Code.INVALID_DOCUMENT, node)]
        paths = NodePaths(document.node, node)
        path, count = paths.most_repeated
        if count > request_size.MAX_REPEATS:
            shown = ".".join(map(str, path))[:80]
            sentence = f"{shown} is asked for {count} times: at most {request_size.MAX_REPEATS} are taken."
            return [Fault(Code.TOO_LARGE, sentence, path)]
        if document.errors is None:
            document.errors = validate_document(self.schema, document.node)
        return Operation(document.node, node, paths, self._type_variables(node), document.errors)

    def _type_variables(
        self, node: OperationDefinitionNode
    ) -> tuple[tuple[VariableDefinitionNode, GraphQLInputType], ...]:
        typed = ((each, type_from_ast(self.schema, each.type)) for each in node.variable_definitions or ())
        return tuple((each, type_) for each, type_ in typed if type_ is not None)  # type: ignore[misc]


def _parse(bounds: DocumentLimits, text: str) -> DocumentNode | list[Fault]:
    """Parse a document; return the errors instead when it has a syntax error or exceeds a limit."""
    if len(_LINE_END.findall(text)) >= request_size.MAX_LINES:
        return [Fault(Code.TOO_LARGE, f"The document has more than {request_size.MAX_LINES} lines.")]
    try:
        document = parse(
            text,
            max_lexical_tokens=bounds.tokens,
            max_comments=request_size.MAX_COMMENTS,
            max_source_length=request_size.MAX_CHARACTERS,
            allow_empty_selection_sets=False,
        )
    except GraphQLError as error:
        code = Code.TOO_LARGE if error.message.endswith(_ABORTED) else Code.SYNTAX
        return [Fault(code, error.message, None, list_locations(error))]
    excesses = request_size.find_excesses(document, bounds)
    return [Fault(Code.TOO_LARGE, sentence) for sentence in excesses] or document


def _find_operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode | str:
    """Find the operation of that name (None: the only one); else say what is wrong."""
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if name is None:
        match operations:
            case [only]:
                return only
            case []:
                return "The document has no operation."
            case _:
                return "The document has several operations: say which by `operationName`."
    names = {each.name.value: each for each in operations if each.name}
    if name not in names:
        near = NameSuggestions().nearest(name[:80], names)
        return f"The document has no operation {name[:80]!r}." + (f" Did you mean {near}?" if near else "")
    return names[name]
