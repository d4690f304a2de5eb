"""A document is parsed and validated once for equal text, and everything else is done for each request."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from tests.server.api import ASK, INPUT, Api

from reelport.server.access import callers
from reelport.server.graphql import document_cache
from reelport.server.graphql.document_cache import DocumentCache, Operation
from reelport.server.graphql.resolvers import build_schema
from reelport.server.http.graphql_endpoint import _parse_and_execute
from reelport.server.limits.document_limits import MAX_CHARACTERS, DocumentLimits
from reelport.wire import LOOK

ONCE = ("graphql/language/", "graphql/validation/", "graphql/utilities/type_info")
"""Where the library parses, visits and validates."""


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """The functions of Python that run within the block, in this thread and in those that begin in it."""
    found: Counter[CodeType] = Counter()
    named: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found[frame.f_code] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield named
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        for code, count in found.items():
            named[code.co_filename] += count


def in_library(named: Counter[str]) -> int:
    """How many of them parse, visit or validate."""
    return sum(count for file, count in named.items() if any(part in file for part in ONCE))


def sender(api: Api, document: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answers a document with these variables, in this thread."""
    caller = callers.identify_caller(api.service.db, api.service.service_secret, api.token, api.service_now())
    assert caller is not None

    def send(variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": document, "variables": variables}).encode()
        return _parse_and_execute(api.service, caller, body, "http://here").body

    return send


def narrow() -> DocumentCache:
    return DocumentCache(build_schema(), DocumentLimits(tokens=4000, depth=15, aliases=50))


def test_equal_text_is_parsed_and_validated_once(api: Api) -> None:
    """The second look runs none of the library's code that reads, walks or validates a document."""
    look = sender(api, LOOK + "# never seen before\n")
    with calls() as first:
        look({"reportToken": "rpr_nothing"})
    with calls() as second:
        look({"reportToken": "rpr_else"})
    assert in_library(first) > 1000
    assert in_library(second) == 0


def test_an_ask_walks_no_schema(api: Api) -> None:
    """What an ask of a known document costs doesn't grow with the schema: no name of an enum is gone through."""
    ask = sender(api, ASK)
    ask({"input": {**INPUT, **api.new()}})
    with calls() as found:
        answered = ask({"input": {**INPUT, **api.new()}})
    assert "errors" not in answered
    assert in_library(found) == 0
    of_values = sum(count for file, count in found.items() if "/graphql/" in file)
    assert of_values < 1500


def test_variables_are_looked_at_for_each_request(api: Api) -> None:
    """A known document with a wrong variable is refused as if it were new, and a right one after it is answered."""
    ask = sender(api, ASK)
    right = {"input": {**INPUT, **api.new()}}
    wrong = {"input": {**INPUT, "metrics": ["VIEWZ"]}}
    first = ask(wrong)
    assert "errors" not in ask(right)
    assert ask(wrong) == first
    assert first["errors"][0]["extensions"]["nearest"] == "VIEWS"
    assert ask({})["errors"][0]["message"] == "The variable $input is missing."


def test_a_refused_document_is_refused_in_the_same_words(api: Api) -> None:
    """What was found wrong with a text is told again, its places included."""
    send = sender(api, "{ partner { id nope } partner { reportFile(reportToken: VIEWS) { status } } }")
    first = send({})
    assert {error["extensions"]["code"] for error in first["errors"]} == {"invalid_document", "invalid_value"}
    assert send({}) == first


def test_operations_of_one_text_are_told_apart() -> None:
    """The name of the operation counts, also for a text that is known."""
    both = "query A { partner { id } } query B { node(id: 1) { id } }"
    known = narrow()
    first, second = known.prepare(both, "A"), known.prepare(both, "B")
    assert isinstance(first, Operation)
    assert isinstance(second, Operation)
    assert (first.node.name, second.node.name) != (None, None)
    assert first.node is not second.node
    assert known.prepare(both, "A") is first
    assert not isinstance(known.prepare(both, None), Operation)
    assert not isinstance(known.prepare(both, "C"), Operation)


def test_what_breaks_a_limit_is_never_kept() -> None:
    """Limits hold before anything is parsed: a text beyond them is refused each time, and takes no memory."""
    known = narrow()
    too_much = (
        "{" + "a " * 5000 + "}",
        "{ a" * 30 + "}" * 30,
        "#" * (MAX_CHARACTERS + 1),
        "\n" * 3000 + "{ partner { id } }",
    )
    for text in too_much * 2:
        assert not isinstance(known.prepare(text, None), Operation)
    assert len(known) == 0


def test_what_is_kept_is_bounded_by_number_and_length() -> None:
    """The text that was used least recently goes first, and a very long one is not kept at all."""
    known = narrow()
    hot = "{ partner { id } }"
    for number in range(document_cache.MAX_DOCUMENTS + 50):
        known.prepare(f"{{ partner {{ a{number}: id }} }}", None)
        known.prepare(hot, None)
    assert len(known) == document_cache.MAX_DOCUMENTS
    assert known.find_prepared(hot, None) is not None
    assert known.find_prepared("{ partner { a0: id } }", None) is None
    for number in range(30):
        known.prepare(f"{{ partner {{ a{number}: id }} }} #{'x' * 10_000}", None)
    assert 0 < known.characters <= document_cache.MAX_CACHED_CHARACTERS
    long = f"{{ partner {{ id }} }} #{'x' * 50_000}"
    assert isinstance(known.prepare(long, None), Operation)
    assert known.find_prepared(long, None) is None
