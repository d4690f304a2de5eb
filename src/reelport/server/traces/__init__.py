"""Traces of requests and reports by OpenTelemetry, where a collector is set."""
