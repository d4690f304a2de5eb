"""The service: access control, GraphQL and HTTP endpoints, report jobs and their files."""
