"""Commands of the service: one module a subject, and what only these commands need."""
