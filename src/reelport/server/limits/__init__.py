"""Limits on callers: memory, downloads, token grants, concurrency, and size of a request."""
