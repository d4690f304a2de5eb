"""The schema on the wire is the reference's; `extensions.reelport` tells of reports beyond it and changes nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLSchema,
    build_client_schema,
    build_schema,
    get_introspection_query,
    is_specified_scalar_type,
)
from tests.server.api import ASK, INPUT, Api, open_api

from reelport.catalog import Dimension, Filter, Metric, Product, describe_standings
from reelport.report_details import EXTENSION, REPORTS_PATH, FailureReason
from reelport.server import credentials
from reelport.server.graphql import resolvers
from reelport.server.queue import backlog, jobs
from reelport.server.settings import read_settings
from reelport.wire import LOOK, ReportStatus

# Copied by hand from the tables of the Reporting API's reference.
REFERENCE = """
Query: node(id: ID!): Node
Query: partner: PartnerSpace
Mutation: askPartnerReportFile(input: AskPartnerReportFileInput!): AskPartnerReportFilePayload
Node: id: ID!
AskPartnerReportFileInput: metrics: [PartnerReportMetric]!
AskPartnerReportFileInput: dimensions: [PartnerReportDimension]!
AskPartnerReportFileInput: startDate: DateTime!
AskPartnerReportFileInput: endDate: DateTime!
AskPartnerReportFileInput: filters: PartnerReportFilters
AskPartnerReportFileInput: product: PartnerReportProduct
AskPartnerReportFileInput: clientMutationId: String
PartnerReportFilters: channelSlug: String
PartnerReportFilters: videoOwnerChannelSlug: String
PartnerReportFilters: visitorDomainGroup: String
PartnerReportFilters: mediaType: PartnerReportFilterMediaType
PartnerReportFilters: monetizationType: PartnerReportFilterMonetizationType
AskPartnerReportFilePayload: reportFile: PartnerReportFile
AskPartnerReportFilePayload: status: Status
AskPartnerReportFilePayload: clientMutationId: String
PartnerSpace: id: ID!
PartnerSpace: reportFile(reportToken: String!): PartnerReportFile
PartnerReportFile: id: ID!
PartnerReportFile: reportToken: String
PartnerReportFile: status: PartnerReportStatus
PartnerReportFile: createDate: DateTime!
PartnerReportFile: createdAt: DateTime
PartnerReportFile: downloadLinks(first: Int, page: Int = 1): ReportFileDownloadLinkConnection
ReportFileDownloadLinkConnection: edges: [ReportFileDownloadLinkEdge]!
ReportFileDownloadLinkConnection: pageInfo: PageInfo!
ReportFileDownloadLinkConnection: metadata: Metadata!
ReportFileDownloadLinkConnection: totalCount: Int
ReportFileDownloadLinkEdge: node: ReportFileDownloadLink
ReportFileDownloadLink: id: ID!
ReportFileDownloadLink: link: String
PageInfo: hasNextPage: Boolean!
PageInfo: hasPreviousPage: Boolean!
PageInfo: nextPage: Int
PageInfo: startCursor: String
PageInfo: endCursor: String
Metadata: id: ID!
Metadata: algorithm: Algorithm
Algorithm: name: String
Algorithm: uuid: String
Algorithm: version: String
"""


@pytest.fixture(scope="module")
def served(api: Api) -> GraphQLSchema:
    """The schema as a tool sees it over the wire."""
    answer = api.graphql(get_introspection_query(input_value_deprecation=True))
    assert "errors" not in answer
    return build_client_schema(answer["data"])


def fields_of(known: GraphQLSchema) -> set[str]:
    """Every field of a schema, a line each, in the form of REFERENCE."""
    return {
        f"{name}: {field}{arguments(each)}: {each.type}"
        for name, type_ in known.type_map.items()
        if not name.startswith("__")
        for field, each in getattr(type_, "fields", {}).items()
    }


def arguments(field: object) -> str:
    """The arguments of a field with their types and defaults."""
    listed = [
        f"{name}: {each.type}" + (" = 1" if name == "page" else "") for name, each in getattr(field, "args", {}).items()
    ]
    return f"({', '.join(listed)})" if listed else ""


def test_fields_types_and_nullability_are_the_references(served: GraphQLSchema) -> None:
    """Every field of the reference is served with its type and arguments, and no other."""
    assert fields_of(served) == set(REFERENCE.strip().splitlines())


def test_the_page_of_links_defaults_to_the_first() -> None:
    """`page` has the default 1, as in the reference."""
    assert "page: Int = 1" in resolvers.build_sdl()


def test_nodes_are_those_of_the_reference(served: GraphQLSchema) -> None:
    """The five types that the reference calls nodes are nodes."""
    node = served.type_map["Node"]
    nodes = {each.name for each in served.get_possible_types(node)}  # type: ignore[arg-type]
    assert nodes == {"PartnerSpace", "PartnerReportFile", "ReportFileDownloadLink", "Metadata"}


def test_enums_are_the_catalogs(served: GraphQLSchema) -> None:
    """Every enum has the names of its rows, in their order, and nothing else."""
    expected = {
        "PartnerReportMetric": [row.name for row in Metric],
        "PartnerReportDimension": [row.name for row in Dimension],
        "PartnerReportProduct": [row.name for row in Product],
        "PartnerReportStatus": [row.value for row in ReportStatus],
        "Status": ["SUCCESS"],
        **{row.wire_type: list(row.choices) for row in Filter if row.choices},
    }
    enums = {
        name: list(type_.values)
        for name, type_ in served.type_map.items()
        if isinstance(type_, GraphQLEnumType) and not name.startswith("__")
    }
    assert enums == expected


def test_each_value_says_what_its_row_says(served: GraphQLSchema) -> None:
    """The description of a metric, dimension or product is its sentence, and how well each statement is known."""
    for name, rows in (
        ("PartnerReportMetric", Metric),
        ("PartnerReportDimension", Dimension),
        ("PartnerReportProduct", Product),
    ):
        enum = served.type_map[name]
        assert isinstance(enum, GraphQLEnumType)
        assert {key: value.description for key, value in enum.values.items()} == {
            row.name: f"{row.sentence} ({describe_standings(row.standings)})" for row in rows
        }


def test_what_the_reference_calls_deprecated_is(served: GraphQLSchema) -> None:
    """`clientMutationId` on both sides and `createdAt` are marked."""
    marked = {
        f"{name}.{field}"
        for name, type_ in served.type_map.items()
        for field, each in getattr(type_, "fields", {}).items()
        if getattr(each, "deprecation_reason", None)
    }
    assert marked == {
        "AskPartnerReportFileInput.clientMutationId",
        "AskPartnerReportFilePayload.clientMutationId",
        "PartnerReportFile.createdAt",
    }


def test_no_type_goes_beyond_the_reference(served: GraphQLSchema) -> None:
    """Beside GraphQL's own there is one scalar, DateTime, and nothing of the Studio."""
    own = {n for n, t in served.type_map.items() if not n.startswith("__") and not is_specified_scalar_type(t)}
    named = set(re.findall(r"\b[A-Z]\w+", REFERENCE)) - {"ID", "String", "Int", "Boolean"}
    assert own == named


def test_tools_may_ask_for_all_that_introspection_knows(api: Api) -> None:
    """The largest introspection query that graphql-core can make is answered."""
    everything = get_introspection_query(
        descriptions=True,
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
    )
    answer = api.graphql(everything)
    assert "errors" not in answer
    assert build_schema(resolvers.build_sdl()).type_map.keys() <= {
        t["name"] for t in answer["data"]["__schema"]["types"]
    }


BODY = b"day,views\n2026-01-01,3\n"
TWO = """
query Two($a: String!, $b: String!) {
  partner { a: reportFile(reportToken: $a) { status } b: reportFile(reportToken: $b) { status } again:
    reportFile(reportToken: $a) { status } }
}
"""
NODE = "query Node($id: ID!) { node(id: $id) { id } }"


def asked(api: Api) -> tuple[str, dict[str, Any]]:
    """The token of a new report, and what its ask tells beside the answer."""
    answer = api.ask(**api.new())
    return answer["data"]["askPartnerReportFile"]["reportFile"]["reportToken"], answer["extensions"]["reelport"]


def looked(api: Api, token: str) -> dict[str, Any]:
    """What a look tells of one report."""
    answer = api.graphql(LOOK, {"reportToken": token})
    (report,) = answer["extensions"][EXTENSION]["reports"]
    assert isinstance(report, dict)
    return report


def test_an_ask_tells_where_its_report_waits_and_how_many_more_may(api: Api) -> None:
    """Its place, when it expires, and the slots after it."""
    for place in (1, 2):
        token, extension = asked(api)
        (report,) = extension["reports"]
        assert (report["id"], report["state"], report["place"]) == (token, "queued", place)
        assert datetime.fromisoformat(report["expiresAt"]) > datetime.now(UTC)
        assert extension["slots"] == {"used": place, "limit": api.service.settings.waiting_limit}
    claim = jobs.claim(api.service.db, "w", running=9, lease_seconds=60)
    assert claim is not None
    token, extension = asked(api)
    assert extension["slots"] == {"used": 2, "limit": api.service.settings.waiting_limit}
    assert extension["reports"][0]["place"] == 2
    assert jobs.give_back(api.service.db, claim)
    api.finish(BODY)


def test_an_ask_that_an_earlier_report_answers_tells_of_that_one(api: Api) -> None:
    """What is running or finished by then is told as that."""
    days = api.new()
    first = api.ask(**days)["extensions"][EXTENSION]["reports"]
    claim = jobs.claim(api.service.db, "w", running=9, lease_seconds=60)
    assert claim is not None
    assert jobs.pin_versions(api.service.db, claim, {}, date(2026, 1, 1))
    (running,) = api.ask(**days)["extensions"][EXTENSION]["reports"]
    assert (running["id"], running["state"], running["place"]) == (first[0]["id"], "running", None)
    assert running["lastCompleteDay"] == "2026-01-01"
    assert jobs.give_back(api.service.db, claim)
    record = api.finish(BODY)
    (finished,) = api.ask(**days)["extensions"][EXTENSION]["reports"]
    assert (finished["state"], finished["rows"], finished["sha256"]) == ("finished", 1, record.sha256)


def test_a_look_tells_the_same_as_the_plain_address(api: Api) -> None:
    """Waiting, cancelled and finished: both have one source."""
    finished, cancelled, waiting = api.finished(BODY), asked(api)[0], asked(api)[0]
    backlog.cancel(api.service.db, cancelled, datetime.now(UTC))
    tokens, headers = (finished, cancelled, waiting), {"Authorization": f"Bearer {api.token}"}
    found = [looked(api, token) for token in tokens]
    assert found == [api.client.get(f"{REPORTS_PATH}/{token}", headers=headers).json() for token in tokens]
    assert [report["state"] for report in found] == ["finished", "cancelled", "queued"]
    assert found[1]["failure"]["code"] == FailureReason.CANCELLED.value
    api.finish(BODY)


def test_a_document_tells_of_each_report_once(api: Api) -> None:
    """Also where several fields show one; a foreign or unknown token adds nothing."""
    one, two = api.finished(BODY), api.finished(BODY)
    answer = api.graphql(TWO, {"a": one, "b": two})
    assert [report["id"] for report in answer["extensions"][EXTENSION]["reports"]] == [one, two]
    unknown = credentials.mint(credentials.REPORT_TOKEN)
    assert api.graphql(TWO, {"a": unknown, "b": "x"}).keys() == {"data"}
    id_ = api.graphql("query($t: String!) { partner { reportFile(reportToken: $t) { id } } }", {"t": one})
    id_ = id_["data"]["partner"]["reportFile"]["id"]
    assert [report["id"] for report in api.graphql(NODE, {"id": id_})["extensions"][EXTENSION]["reports"]] == [one]


def test_what_the_schema_answers_keeps_its_bytes(api: Api) -> None:
    """`data` comes first, then `errors`, then `extensions`; its keys and words are none that programs look for."""
    variables = {"input": {**INPUT, **api.new()}}
    ask = api.post(json.dumps({"query": ASK, "variables": variables}).encode()).text
    token = json.loads(ask)["data"]["askPartnerReportFile"]["reportFile"]["reportToken"]
    look = api.post(json.dumps({"query": LOOK, "variables": {"reportToken": token}}).encode()).text
    wrong = "query($t: String!) { partner { a: reportFile(reportToken: $t) { status } b: reportFile(reportToken: $t) "
    wrong += "{ downloadLinks(first: 0) { totalCount } } } }"
    partly = api.post(json.dumps({"query": wrong, "variables": {"t": token}}).encode()).text
    for text in (ask, look, partly):
        whole = json.loads(text)
        extensions = whole.pop("extensions")
        before = json.dumps(whole, separators=(",", ":"))
        assert text == f'{before[:-1]},"extensions":{json.dumps(extensions, separators=(",", ":"))}}}'
        assert "reportToken" not in json.dumps(extensions)
    assert list(json.loads(partly)) == ["data", "errors", "extensions"]
    api.finish(BODY)


@pytest.mark.parametrize("limits", [{"waiting_limit": 2}, {"waiting_limit": 0, "running_limit": 2}], ids=str)
def test_a_refused_ask_tells_the_slots_and_when_to_ask_again(tmp_path: Path, limits: dict[str, int]) -> None:
    """Exactly where as many are used as there are; its error is as before, and both its sentences name the limit."""
    with open_api(read_settings(data=tmp_path, workers=0, **limits)) as api:
        for used in (1, 2):
            assert asked(api)[1]["slots"] == {"used": used, "limit": 2}
        reply = api.post(json.dumps({"query": ASK, "variables": {"input": {**INPUT, **api.new()}}}).encode())
    answer = reply.json()
    assert answer["extensions"] == {EXTENSION: {"reports": [], "slots": {"used": 2, "limit": 2}}}
    assert 0 < int(reply.headers["retry-after"]) < 60
    assert list(answer) == ["data", "errors", "extensions"]
    (error,) = answer["errors"]
    assert error["reason"] == "The partner has reached its limit of unfinished reports: try later."
    assert error["message"].startswith("The partner has reached its limit of unfinished reports: 2 are ")


def test_answers_about_no_report_have_no_extensions(api: Api) -> None:
    """A document about something else, one that is refused, a body that can't be read."""
    assert api.graphql("{ __typename }").keys() == {"data"}
    assert api.graphql("{ nothing }").keys() == {"data", "errors"}
    assert api.ask(metrics=["NOTHING"]).keys() == {"data", "errors"}
    assert api.post(b"[").json().keys() == {"data", "errors"}
