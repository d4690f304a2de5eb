"""GraphQL: parses and validates a request, executes it, and reports every error in one form."""
