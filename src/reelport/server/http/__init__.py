"""HTTP: the ASGI app and its endpoints, connections, long polling, health and metrics."""
