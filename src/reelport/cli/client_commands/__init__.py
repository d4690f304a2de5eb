"""Commands of the client: one module a command, and what only these commands need."""
