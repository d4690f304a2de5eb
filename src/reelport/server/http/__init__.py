"""HTTP: the app and its endpoints, connections, limits around requests, health and metrics."""
