"""Generates the public schema as SDL text: the fixed types, and the enums of the catalog.

`python -m reelport.server.graphql.schema` writes it to `schema.graphql`. The package ships that file and the service
reads it; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from reelport.catalog import Dimension, Filter, Metric, Product, describe_standings
from reelport.wire import ReportStatus

FILE = "schema.graphql"

_TYPES = '''\
"""A moment or a day, in ISO 8601: `2023-07-01`, or `2023-07-01T02:00:00+02:00`. Without an offset it is UTC."""
scalar DateTime

"""What has an id of its own."""
interface Node {
  """The id of the node."""
  id: ID!
}

type Query {
  """A node by its id; null when there is none or it isn't yours."""
  node(
    """The id of the node."""
    id: ID!
  ): Node

  """What is yours as a partner."""
  partner: PartnerSpace
}

type Mutation {
  """Ask for a report. It is made in the background: query its status by its token."""
  askPartnerReportFile(
    """What is asked."""
    input: AskPartnerReportFileInput!
  ): AskPartnerReportFilePayload
}

"""What is asked of a report."""
input AskPartnerReportFileInput {
  """The metrics, in the order of their columns, which come after the dimensions."""
  metrics: [PartnerReportMetric]!

  """The dimensions, in the order of their columns. Each row is one combination of their values."""
  dimensions: [PartnerReportDimension]!

  """The first day, in UTC."""
  startDate: DateTime!

  """The last day, in UTC; it is included."""
  endDate: DateTime!

  """What to keep; each filter holds one value."""
  filters: PartnerReportFilters

  """Whose data to keep; CONTENT when left out."""
  product: PartnerReportProduct

  """Given back as it came."""
  clientMutationId: String @deprecated(reason: "No longer needed.")
}

"""What to keep. Every filter may be left out."""
input PartnerReportFilters {
%(filters)s
}

type AskPartnerReportFilePayload {
  """The report."""
  reportFile: PartnerReportFile

  """Whether the request was accepted."""
  status: Status

  """What came in as `clientMutationId`."""
  clientMutationId: String @deprecated(reason: "No longer needed.")
}

"""How a mutation went."""
enum Status {
  SUCCESS
}

"""What is yours as a partner."""
type PartnerSpace implements Node {
  """The id of the node."""
  id: ID!

  """A report by its token; null when there is none or it isn't yours."""
  reportFile(
    """The token that askPartnerReportFile returned."""
    reportToken: String!
  ): PartnerReportFile
}

"""A report."""
type PartnerReportFile implements Node {
  """The id of the node."""
  id: ID!

  """The token to query the report by."""
  reportToken: String

  """Where the report stands."""
  status: PartnerReportStatus

  """When it was asked for."""
  createDate: DateTime!

  """When it was asked for."""
  createdAt: DateTime @deprecated(reason: "Use `createDate`.")

  """The files of a finished report; no edges before. Each query signs new links, which are valid for a short time."""
  downloadLinks(
    """How many links to give at most."""
    first: Int

    """Which page of them."""
    page: Int = 1
  ): ReportFileDownloadLinkConnection
}

type ReportFileDownloadLinkConnection {
  """The links of this page."""
  edges: [ReportFileDownloadLinkEdge]!

  """Where this page lies."""
  pageInfo: PageInfo!

  """How the list was made."""
  metadata: Metadata!

  """How many links there are; null when that isn't known."""
  totalCount: Int
}

type ReportFileDownloadLinkEdge {
  """The link."""
  node: ReportFileDownloadLink
}

"""A file of a report."""
type ReportFileDownloadLink implements Node {
  """The id of the node."""
  id: ID!

  """The address of the file; no header is needed to fetch it."""
  link: String
}

"""Where a page lies in its list."""
type PageInfo {
  """Whether there is a page after this one."""
  hasNextPage: Boolean!

  """Whether there is a page before this one."""
  hasPreviousPage: Boolean!

  """The number of the page after this one."""
  nextPage: Int

  """The cursor of the first item of this page."""
  startCursor: String

  """The cursor of the last item of this page."""
  endCursor: String
}

"""How a list was made."""
type Metadata implements Node {
  """The id of the node."""
  id: ID!

  """What made it."""
  algorithm: Algorithm
}

"""What made a list."""
type Algorithm {
  name: String
  uuid: String
  version: String
}
'''


def build_sdl() -> str:
    """Build the whole schema as SDL text."""
    filters = "\n\n".join(_format_field(each) for each in Filter)
    enums = [
        _format_enum("PartnerReportStatus", "Where a report stands.", ((s.value, s.sentence) for s in ReportStatus)),
        _format_enum("PartnerReportMetric", "What can be counted.", ((m.name, _describe(m)) for m in Metric)),
        _format_enum("PartnerReportDimension", "What it can be split by.", ((d.name, _describe(d)) for d in Dimension)),
        _format_enum("PartnerReportProduct", "Whose data a report keeps.", ((p.name, _describe(p)) for p in Product)),
        *(_format_choices(each) for each in Filter if each.choices),
    ]
    return "\n".join([_TYPES % {"filters": filters}, *enums])


def read_shipped_sdl() -> str:
    """Read the shipped SDL file."""
    return resources.files(__package__).joinpath(FILE).read_text("utf-8")


def _format_field(row: Filter) -> str:
    return f'  """{_describe(row)}"""\n  {row.name}: {row.wire_type}'


def _describe(row: Metric | Dimension | Filter | Product) -> str:
    """Describe a catalog row: its meaning, and how well each statement about it is known."""
    return f"{row.sentence} ({describe_standings(row.standings)})"


def _format_choices(row: Filter) -> str:
    return _format_enum(row.wire_type, row.sentence, ((choice, "") for choice in row.choices))


def _format_enum(name: str, sentence: str, values: Iterable[tuple[str, str]]) -> str:
    lines = [f'  """{said}"""\n  {value}' if said else f"  {value}" for value, said in values]
    return f'"""{sentence}"""\nenum {name} {{\n' + "\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    Path(__file__).with_name(FILE).write_text(build_sdl(), "utf-8")
