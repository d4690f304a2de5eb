"""What both ends say to each other: paths, documents, scopes and states of a report.

Facts of the Reporting API as Dailymotion documents it or as its public schema shows it.
"""

from __future__ import annotations

from enum import StrEnum

TOKEN_PATH = "/oauth/v1/token"  # noqa: S105 - a path, no secret
GRAPHQL_PATH = "/graphql"
FILES_PATH = "/files"

TOKEN_SECONDS = 3600
"""How long an access token of a private key lives."""

ASK = """\
mutation AskReport($input: AskPartnerReportFileInput!) {
  askPartnerReportFile(input: $input) {
    reportFile { reportToken status }
  }
}
"""

LOOK = """\
query LookAtReport($reportToken: String!) {
  partner {
    reportFile(reportToken: $reportToken) {
      status
      downloadLinks { edges { node { link } } }
    }
  }
}
"""


class Scope(StrEnum):
    """A permission that a key holds and a token is granted."""

    CREATE_REPORTS = "create_reports"
    READ_REPORTS = "read_reports"
    DELETE_REPORTS = "delete_reports"
    ACCESS_ADS = "access_ads"
    ACCESS_REVENUE = "access_revenue"
    MANAGE_REPORTS = "manage_reports"


class ReportStatus(StrEnum):
    """Where a report stands. A final status never changes, but FINISHED may become EXPIRED."""

    IN_PROGRESS = "IN_PROGRESS"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"

    @property
    def final(self) -> bool:
        """Whether waiting any longer is of no use."""
        return self is not ReportStatus.IN_PROGRESS
