"""Sets up logging to stderr: one JSON object a line, with secrets redacted.

On a terminal it is readable text. It covers the lines of the web server and of all libraries too.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from reelport.server.log_stream import LogStream
from reelport.server.log_throttle import LogThrottle
from reelport.server.masking import HIDDEN, hide_passwords
from reelport.server.settings import Settings
from reelport.server.traces.tracing import current_span

_SECRET_NAMES = re.compile(r"secret|password|authorization|signature|cookie|(^|_)token$|^link$", re.IGNORECASE)
# Secrets, access tokens and report tokens as `credentials` mints them; signatures; headers; form fields.
_SECRET_TEXT = re.compile(
    r"(?P<keep>\brp[flrstw]_|signature=|bearer\s+|basic\s+|client_secret=)[^\s\"'&,;@\\]+", re.IGNORECASE
)
_LONGEST = 4000
_QUIET = ("sqlalchemy", "alembic", "uvicorn.access", "asyncio", "python_multipart")


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up the logging of this process. May be called again. `stream` is stderr unless given."""
    out = LogStream(stream or sys.stderr)
    number = logging.getLevelNamesMapping()[settings.log_level.upper()]
    render = _make_renderer(stream or sys.stderr)
    throttle = LogThrottle()
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_trace,
        out.tell_lost,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[throttle.process, *processors, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", out)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(throttle.filter)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, render],
        )
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def add_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add the id of the trace that the line is of, if any; a structlog processor."""
    trace_id = current_span().trace_id
    return {**event, "trace_id": trace_id} if trace_id else event


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Hide secrets, known by a field's name or a value's look; a structlog processor."""
    return {name: _redact_value(name, value) for name, value in event.items()}


def _redact_value(name: str, value: Any) -> Any:  # noqa: ANN401 - whatever was logged
    if value is not None and _SECRET_NAMES.search(name):
        return HIDDEN
    match value:
        case bool() | int() | float() | None:
            return value
        case dict():
            return {str(key): _redact_value(str(key), each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redact_value("", each) for each in value]
        case _:
            return value if name.startswith("_") else redact_text(str(value))


def redact_text(text: str) -> str:
    """Hide everything in a text that looks like a secret, and cut the text to 4000 characters."""
    kept = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    return hide_passwords(_SECRET_TEXT.sub(lambda found: found["keep"] + HIDDEN, kept))


def _make_renderer(out: TextIO) -> Processor:
    if out.isatty():
        return structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)
    rendered = structlog.processors.JSONRenderer()

    def line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str | bytes:  # noqa: ANN401 - the form
        return rendered(logger, method, event)

    return line
