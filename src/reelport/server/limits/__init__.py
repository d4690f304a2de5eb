"""Limits on callers: memory of request bodies, downloads, token grants, concurrency, and the size of a request."""
