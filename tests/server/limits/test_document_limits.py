"""A hostile document is refused before anything is done for it, cheaply, and without filling the log."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from graphql import get_introspection_query
from sqlalchemy import func, select
from starlette.types import Message
from tests.cases import thin_out
from tests.patience import PATIENCE, count_calls
from tests.server.api import ASK, INPUT, Api

from reelport.catalog import Dimension, Metric
from reelport.server.access import callers, keys, organizations
from reelport.server.graphql.resolvers import build_schema
from reelport.server.graphql.validation import DocumentCache
from reelport.server.http.graphql_over_http import parse_and_execute
from reelport.server.limits.body_budget import BODY_BYTES
from reelport.server.limits.concurrency import MAX_CONCURRENT
from reelport.server.limits.document_limits import DocumentLimits
from reelport.server.state.database import reading
from reelport.server.state.tables import REPORTS
from reelport.wire import GRAPHQL_PATH, Code

CALLS = 2_000_000
"""The calls of functions that a hostile body may cost: twice those of an honest document that is as long as may be."""


def literals(names: int) -> str:
    wrong = " ".join(f"ESTIMATED_EARNING_{number}" for number in range(names))
    return f'{{metrics: [{wrong}], dimensions: [DAY], startDate: "2026-01-01", endDate: "2026-01-02"}}'


def everything(day: int) -> str:
    names = f"metrics: [{' '.join(Metric.__members__)}], dimensions: [{' '.join(Dimension.__members__)}]"
    return f'{{{names}, startDate: "2026-01-01", endDate: "2026-01-{day:02}"}}'


def deep(depth: int) -> Any:  # noqa: ANN401 - JSON
    value: Any = "VIEWS"
    for _ in range(depth):
        value = [value]
    return value


def ask(**changed: object) -> dict[str, Any]:
    return {"input": {**INPUT, **changed}}


DOCUMENTS: dict[str, str] = {
    "30 fragments of 40 inline fragments": "{ ...F0 }"
    + "".join(f"fragment F{i} on Query {{{'... {' * 40} ...F{i + 1} {'}' * 40}}}" for i in range(30))
    + "fragment F30 on Query { partner { id } }",
    "a bomb of fragments that ends nowhere": "{ ...F0 }"
    + "".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(19)),
    "20,000 aliases": "{" + " ".join(f"a{i}: partner {{ id }}" for i in range(20_000)) + "}",
    "700 aliases": "{" + " ".join(f"a{i}:partner{{id}}" for i in range(660)) + "}",
    "aliases in fragments": "{" + "...F " * 20 + "} fragment F on Query { a: partner { b: id c: id } }",
    "2,000 repeats of one field": "{ partner {" + "id " * 2000 + "} }",
    "900 repeats of one field": "{ partner {" + "id " * 900 + "} }",
    "100,000 levels": "{ a" * 100_000 + "}" * 100_000,
    "190 levels": "{ a" * 190 + "}" * 190,
    "190 inline fragments": "{" + "... {" * 190 + "partner { id }" + "}" * 190 + "}",
    "a circle of fragments": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "a bomb of fragments": "{ ...F0 }"
    + "".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(19))
    + "fragment F19 on Query { partner { id } }",
    "a long chain of fragments": "{ ...F0 }" + "".join(f"fragment F{i} on Query {{ ...F{i + 1} }}" for i in range(600)),
    "400 fragments": "{ partner { id } }"
    + "".join(f"fragment F{i} on Query {{ partner {{ id }} }}" for i in range(400)),
    "900 unknown fields": "{" + " ".join(f"reportFile{'x' * 60}{i}" for i in range(900)) + "}",
    "600 operations": "".join(f"query Q{i} {{ partner {{ id }} }}" for i in range(560)),
    "900 variables": "query(" + " ".join(f"$v{i}: Int" for i in range(900)) + ") { partner { id } }",
    "1,900 directives": "{ partner " + "@x " * 1900 + "{ id } }",
    "1,300 equal arguments": "{ node(" + "id: 1 " * 1300 + ") { id } }",
    "a number of 90,000 digits": '{ partner { reportFile(reportToken: "x") { downloadLinks(first: '
    + "9" * 90_000
    + ") { totalCount } } } }",
    "a text of 90,000 characters": '{ node(id: "' + "x" * 90_000 + '") { id } }',
    "a document of a megabyte": "{" + "x" * 1_000_000 + "}",
    "90,000 lines": "\n" * 90_000 + "{" + " ".join(f"x{i}" for i in range(900)) + "}",
    "300,000 comments": "#\n" * 300_000 + "{ partner { id } }",
    "1,000 comments in few lines": "#a\r" * 1000 + "{ partner { id } }",
    "a list 100,000 deep": "{ node(id: " + "[" * 100_000 + "]" * 100_000 + ") { id } }",
    "a list 190 deep": "{ node(id: " + "[" * 190 + "]" * 190 + ") { id } }",
    "an object 190 deep": "{ node(id: " + "{a: " * 190 + "1" + "}" * 190 + ") { id } }",
    "a type 1,900 deep": "query($v: " + "[" * 1900 + "Int" + "]" * 1900 + ") { node(id: $v) { id } }",
    "3,900 unknown names": "mutation { askPartnerReportFile(input: " + literals(3900) + ") { status } }",
    "50 unknown names in each of 45 asks": "mutation {"
    + " ".join(f"a{i}: askPartnerReportFile(input: {literals(50)}) {{ status }}" for i in range(45))
    + "}",
    "everything by everything, in 27 asks": "mutation {"
    + " ".join(f"a{i}: askPartnerReportFile(input: {everything(i + 1)}) {{ status }}" for i in range(27))
    + "}",
    "the schema 49 times": "{ __schema { types {"
    + " ".join(f"a{i}: enumValues {{ name }}" for i in range(49))
    + "} } }",
    "the schema in circles": "{ __schema { types {" + "fields { type {" * 3 + "name" + "}}" * 3 + "} } }",
}
SHARED = (
    "mutation Ask($input: AskPartnerReportFileInput!) {"
    + " ".join(f"a{i}: askPartnerReportFile(input: $input) {{ status }}" for i in range(50))
    + "}"
)
VARIABLES: dict[str, dict[str, Any]] = {
    "90,000 unknown names in a variable": ask(metrics=[f"VIEW{i}" for i in range(90_000)]),
    "100 unknown names in a variable": ask(metrics=[f"ESTIMATED_EARNING_{i}" for i in range(100)]),
    "90,000 equal names in a variable": ask(metrics=["VIEWS"] * 90_000),
    "60,000 unknown fields in a variable": ask(**{f"k{i}": 1 for i in range(60_000)}),
    "60,000 unknown filters in a variable": ask(filters={f"k{i}": 1 for i in range(60_000)}),
    "a list 400 deep in a variable": ask(metrics=deep(400)),
    "a megabyte of text in a variable": ask(filters={"channelSlug": "x" * 1_000_000}),
}
BODIES: dict[str, bytes] = {
    **{name: json.dumps({"query": query}).encode() for name, query in DOCUMENTS.items()},
    **{name: json.dumps({"query": ASK, "variables": given}).encode() for name, given in VARIABLES.items()},
    "everything by everything, in 50 asks of one variable": json.dumps(
        {"query": SHARED, "variables": ask(metrics=[*Metric.__members__], dimensions=[*Dimension.__members__])}
    ).encode(),
    "JSON a million deep": b"[" * 1_000_000,
    "a body that isn't UTF-8": b'{"query": "' + b"\xff" * 1_000_000 + b'"}',
    "250 numbers of 4,000 digits": b'{"query": "{ partner { x } }", "variables": {"a": ['
    + b",".join([b"9" * 4000] * 250)
    + b"]}}",
}


@pytest.mark.parametrize("name", thin_out(BODIES, 8))
def test_a_hostile_body_is_refused_cheaply(api: Api, name: str) -> None:
    """It costs a bounded number of calls, is answered in few words, and isn't executed."""
    caller = callers.identify_caller(api.service.db, api.service.service_secret, api.token, api.service_now())
    assert caller is not None
    answers: list[dict[str, Any]] = []
    calls = count_calls(lambda: answers.append(parse_and_execute(api.service, caller, BODIES[name], "http://here")[0]))
    (answer,) = answers
    assert calls < CALLS
    assert len(json.dumps(answer)) < 60_000
    if name != "190 inline fragments":  # which nest no field in a field, and are answered
        assert not any((answer["data"] or {}).values())
        assert "internal_error" not in {error["extensions"]["code"] for error in answer["errors"]}


@pytest.mark.long
def test_a_hostile_document_is_one_short_line_in_the_log(api: Api, log: io.StringIO) -> None:
    """The log has its size, its hash and the codes; nothing of its text."""
    for name in DOCUMENTS:
        if len(BODIES[name]) < 1_000_000:
            api.post(BODIES[name].replace(b"partner", b"forbiddenword"))
    lines = [line for line in log.getvalue().splitlines() if GRAPHQL_PATH in line and '"route"' in line]
    assert len(lines) >= len(DOCUMENTS) - 2
    assert max(len(line) for line in lines) < 500
    assert "forbiddenword" not in log.getvalue()
    assert all({"codes", "bytes", "sha256"} <= json.loads(line).keys() for line in lines)


def test_a_body_longer_than_the_limit_is_413(api: Api) -> None:
    """Exactly the limit is still read."""
    most = BODY_BYTES
    at_limit = b'{"query": "{ partner { id } }"}'.ljust(most)
    assert api.post(at_limit).status_code == 200
    reply = api.post(at_limit + b" ")
    assert reply.status_code == 413
    assert reply.json()["errors"][0]["extensions"]["code"] == "too_large"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("{ partner { id } }", ()),
        (get_introspection_query(), ()),
        ("{ ...A } fragment A on Query { a: partner { id } }", ()),
        ("{ ...A ...A } fragment A on Query { a: partner { id } }", ("aliases",)),
        ("{ partner { id } } fragment A on Query { a: partner { b: id } }", ("aliases",)),
        (
            "{ ...A } fragment A on Q { ...B } fragment B on Q { partner { ...C } } fragment C on X { a { b } }",
            ("levels",),
        ),
    ],
)
def test_fragments_are_counted_as_often_as_they_are_used(query: str, told: tuple[str, ...]) -> None:
    """Depth and aliases are those of the expanded document."""
    narrow = DocumentLimits(tokens=4000, depth=2 if told == ("levels",) else 15, aliases=1)
    found = DocumentCache(build_schema(), narrow).prepare(query, None)
    sentences = [fault.message for fault in found if fault.code is Code.TOO_LARGE] if isinstance(found, list) else []
    assert len(sentences) == len(told)
    assert all(word in sentence for word, sentence in zip(told, sentences, strict=True))


@pytest.mark.parametrize(
    "query",
    [
        "query A { partner { id } } query B { partner {" + "id " * 21 + "} }",
        "query A { partner { id } } fragment F on PartnerSpace {" + "id " * 21 + "}",
        "query A { ...F } fragment F on Query {" + "id " * 21 + "} fragment F on Query { partner { id } }",
    ],
    ids=["another operation", "a fragment that nobody uses", "a fragment that another one of its name hides"],
)
def test_all_of_a_document_is_within_the_limits(api: Api, query: str) -> None:
    """All of it is validated, so a field that is repeated anywhere is refused; not only where it would be executed."""
    (error,) = api.graphql(query, operationName="A")["errors"]
    assert (error["extensions"]["code"], "more than 20 times" in error["message"]) == ("too_large", True)
    answer = api.graphql(query.replace("id " * 21, "id " * 20), operationName="A")
    assert "too_large" not in {each["extensions"]["code"] for each in answer.get("errors", ())}


def test_fifty_asks_in_one_document_are_taken(api: Api) -> None:
    """What a busy client sends is far from the limits."""
    dates = 'startDate: "2025-12-%02d", endDate: "2026-01-%02d"'
    one = "askPartnerReportFile(input: {metrics: [VIEWS], dimensions: [DAY], %s}) { reportFile { reportToken } }"
    asks = (f"r{i}: {one}" % (dates % (i % 28 + 1, i // 28 + 1)) for i in range(50))
    answer = api.graphql(f"mutation {{ {' '.join(asks)} }}")
    assert "errors" not in answer
    assert all(each["reportFile"]["reportToken"] for each in answer["data"].values())


def test_a_partner_whose_turns_are_taken_keeps_no_other_waiting(api: Api) -> None:
    """Two documents of one partner are worked on at a time: a third waits, another partner's is answered meanwhile."""
    other = stranger(api)
    with ThreadPoolExecutor() as pool:
        with all_turns_taken(api) as turns:
            third = pool.submit(api.graphql, "{ partner { id } }")
            while not third.done() and not turns.statistics().tasks_waiting:
                pass
            reply = api.post(b'{"query": "{ partner { id } }"}', Authorization=f"Bearer {other}")
            assert reply.json()["data"]["partner"]
            assert not third.done()
        assert third.result(PATIENCE)["data"]["partner"]


def test_nothing_is_done_for_a_caller_that_has_gone(api: Api) -> None:
    """An ask whose caller goes away while it waits for its turn makes no report: nobody would hear of it."""
    sent: list[Message] = []
    body = json.dumps({"query": ASK, "variables": ask(**api.new())}).encode()
    coming: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])
    scope = {"type": "http", "method": "POST", "path": GRAPHQL_PATH, "query_string": b"", "headers": bearer(api)}

    async def receive() -> Message:
        return next(coming, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    portal = api.client.portal
    assert portal is not None
    before = reports(api)
    with ThreadPoolExecutor() as pool, all_turns_taken(api) as turns:
        asked = pool.submit(portal.call, api.client.app, scope, receive, send)
        while not asked.done() and not turns.statistics().tasks_waiting:
            pass
    asked.result(PATIENCE)
    assert (sent, reports(api)) == ([], before)


@contextmanager
def all_turns_taken(api: Api) -> Iterator[anyio.CapacityLimiter]:
    """Take every turn of the partner within the block, which gets the limiter."""
    caller = callers.identify_caller(api.service.db, api.service.service_secret, api.token, api.service_now())
    portal = api.client.portal
    assert caller is not None and portal is not None  # noqa: PT018 - neither is what is tested
    turns = portal.call(api.service.concurrency.limiter_of, caller.organization_id)
    for borrower in range(MAX_CONCURRENT):
        portal.call(turns.acquire_on_behalf_of_nowait, borrower)
    try:
        yield turns
    finally:
        for borrower in range(MAX_CONCURRENT):
            portal.call(turns.release_on_behalf_of, borrower)


def bearer(api: Api) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"here"), (b"authorization", f"Bearer {api.token}".encode())]


def reports(api: Api) -> int | None:
    """How many there are."""
    with reading(api.service.db) as connection:
        return connection.execute(select(func.count()).select_from(REPORTS)).scalar()


def stranger(api: Api) -> str:
    """A token of another partner."""
    now = api.service_now()
    organizations.add_organization(api.service.db, "other", now)
    key = keys.create_key(api.service.db, api.service.service_secret, "other", ["create_reports"], now)
    return str(Api(api.client, api.service, key).grant().json()["access_token"])
