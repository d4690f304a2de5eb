"""The Reporting API: access, GraphQL, reports, jobs and files."""
