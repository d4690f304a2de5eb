"""GraphQL: parses, validates and executes a request; reports all errors in one form."""
