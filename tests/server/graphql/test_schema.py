"""The schema on the wire is the reference's, and the shipped SDL is what the catalog says."""

from __future__ import annotations

import re

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLSchema,
    build_client_schema,
    build_schema,
    get_introspection_query,
    is_specified_scalar_type,
)
from tests.server.api import Api

from reelport.catalog import Dimension, Filter, Metric, Product, describe_standings
from reelport.server.graphql import resolvers
from reelport.wire import ReportStatus

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
