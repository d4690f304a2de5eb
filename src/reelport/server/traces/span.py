"""What the service records of a step: a span, whether it is sent or not."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

Value = str | int | float | bool | Sequence[str]
"""A value of an attribute. None names a secret, a token, a partner or a number of its report."""


class Kind(StrEnum):
    """The kind of a span, by the name that OpenTelemetry gives it."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class Span:
    """A step that is not recorded: what every span offers, doing nothing."""

    trace_id: str = ""
    """32 hexadecimal digits; empty without a trace."""
    traceparent: str | None = None
    """The span as W3C's `traceparent`, by which another process continues its trace."""

    def set(self, name: str, value: Value) -> None:
        """Set an attribute."""

    def link(self, traceparent: str | None) -> None:
        """Link the span of another trace; nothing is linked without one."""

    def fail(self, code: str) -> None:
        """Mark the step as failed; `code` is that of an error, never its text."""
