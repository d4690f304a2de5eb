"""Logging to stderr: a JSON object a line, secrets redacted, repeats limited, nobody waits.

On a terminal it is readable text. It covers the lines of the web server and of all libraries too. The log may be a file
on a full disk, or a pipe whose reader is gone: no request, report or start fails by that.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from reelport.server.masking import HIDDEN, hide_passwords
from reelport.server.settings import Settings
from reelport.server.traces.tracing import current_span

_MAX_LINES = 10
"""Lines of one cause that are logged in a minute."""
_LEVELS = frozenset({"warning", "error", "critical"})
_SECRET_NAMES = re.compile(r"secret|password|authorization|signature|cookie|(^|_)token$|^link$", re.IGNORECASE)
# Secrets, access tokens and report tokens as `credentials` mints them; signatures; headers; form fields.
_SECRET_TEXT = re.compile(
    r"(?P<keep>\brp[flrstw]_|signature=|bearer\s+|basic\s+|client_secret=)[^\s\"'&,;@\\]+", re.IGNORECASE
)
_LONGEST = 4000
_QUIET = ("sqlalchemy", "alembic", "uvicorn.access", "asyncio", "python_multipart")


class LogStream(io.TextIOBase):
    """A text stream over another one, whose writes raise no OSError: a line is lost instead."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = out.fileno()

    def write(self, text: str) -> int:
        """Write a line, or lose it; returns the number of its letters either way."""
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                self._out.write(text)
                self._out.flush()
            else:  # not by the stream: its buffer would keep what can't be written, and fail the process's exit
                left = text.encode(self._out.encoding or "utf-8", "backslashreplace")
                while left:
                    left = left[os.write(self._descriptor, left) :]
        return len(text)


class LogThrottle:
    """Decides which warnings and errors of this process are logged. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minute = -1
        self._counts: Counter[object] = Counter()
        self._lock = threading.Lock()

    def admit(self, cause: object) -> str | None:
        """Return None to leave out the next line of a cause, else a note for it (mostly empty)."""
        minute = int(self._clock() // 60)
        with self._lock:
            if minute != self._minute:
                self._minute, self._counts = minute, Counter()
            self._counts[cause] += 1
            count = self._counts[cause]
        if count > _MAX_LINES:
            return None
        return "further such lines are left out until the next minute" if count == _MAX_LINES else ""

    def process(self, _logger: object, method: str, event: EventDict) -> EventDict:
        """Drop or annotate one of our own lines; a structlog processor."""
        if method not in _LEVELS:
            return event
        note = self.admit((event.get("event"), event.get("reason"), _name_error(event.get("exc_info"))))
        if note is None:
            raise structlog.DropEvent
        return {**event, "throttled": note} if note else event

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a line of a library; a filter of a `logging` handler."""
        if record.levelno < logging.WARNING:
            return True
        return self.admit((record.name, str(record.msg)[:200], _name_error(record.exc_info))) is not None


def _name_error(raised: Any) -> str:  # noqa: ANN401 - the type of `exc_info` varies
    """Name the class of an exception: two of one class at one place count as one cause."""
    if raised is True:
        return "raised"
    error = raised[1] if isinstance(raised, tuple) else raised
    return type(error).__name__ if error else ""


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up the logging of this process. May be called again. `stream` is stderr unless given."""
    out = LogStream(stream or sys.stderr)
    number = logging.getLevelNamesMapping()[settings.log_level.upper()]
    render = _make_renderer(stream or sys.stderr)
    throttle = LogThrottle()
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_trace,
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
