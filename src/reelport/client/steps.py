"""Steps that a flow yields to its driver, what each gives back, and transports.

A flow is a generator that does no I/O and no waiting itself: the driver sends each step's outcome back. So the blocking
client, the asyncio client and a test drive the same flow.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import GeneratorType
from typing import Protocol, TypeVar

from reelport.errors import ReelportError, UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, given up after `timeout` seconds of silence; `repr` hides secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response, header names in lower case; the body is empty until it is read."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """No whole response. `sent` is false only when the request surely never arrived."""

    reason: str
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request, and open its body in place of the last one's. Gives a Reply or Lost."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read the next bytes of the open body as sent. Gives bytes (none at the end) or Lost."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass. Gives None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Run a slow local task. Gives the task's result, whose type the flow knows."""

    task: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Fork:
    """Run several flows, each to its end, `at_once` at a time. Gives results or ReelportErrors."""

    flows: tuple[Flow[object], ...]
    at_once: int


Step = Open | Read | Wait | Work | Fork
Flow = Generator[Step, object, T]
Sleep = Callable[[float], None]
AsyncSleep = Callable[[float], Awaitable[None]]


class Runner(Protocol):
    """Runs a flow's steps, blocking."""

    def __call__(self, flow: Flow[T], /) -> T:
        """Run the flow and return its result."""


class AsyncRunner(Protocol):
    """Runs a flow's steps on the event loop."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]:
        """Run the flow and give its result when awaited."""


def note_asker(error: Exception, flow: Flow[object]) -> None:
    """Note on an error of a step, which passes by the flow's own frames, where the flow stands."""
    lines: list[str] = []
    part: object = flow
    while isinstance(part, GeneratorType) and part.gi_frame is not None:
        lines.append(f'  File "{part.gi_code.co_filename}", line {part.gi_frame.f_lineno}, in {part.gi_code.co_name}')
        part = part.gi_yieldfrom
    error.add_note("\n".join(["The step was asked for by:", *lines]))


def open_body(request: Request) -> Flow[Reply | Lost]:
    """Send a request, and leave its body open; return the head."""
    head = yield Open(request)
    assert isinstance(head, Reply | Lost)  # noqa: S101 - the driver's promise, told to the type checker
    return head


def read() -> Flow[bytes | Lost]:
    """Read the next bytes of the open body; none at its end."""
    answer = yield Read()
    assert isinstance(answer, bytes | Lost)  # noqa: S101 - the driver's promise, told to the type checker
    return answer


def fork(flows: Iterable[Flow[T]], at_once: int) -> Flow[list[T | ReelportError]]:
    """Run flows side by side and return each one's result or error, in their order."""
    answer = yield Fork(tuple(flows), at_once)
    return answer  # type: ignore[return-value]  # the driver sends back what the flows gave


def work(task: Callable[[], T]) -> Flow[T]:
    """Run a slow local task and return its result; its errors are raised here."""
    answer = yield Work(task)
    return answer  # type: ignore[return-value]  # the driver sends back what the task gave


class Body(Protocol):
    """A response with an open body."""

    @property
    def head(self) -> Reply:
        """Status and headers."""

    def read(self) -> bytes | Lost:
        """Read the next bytes; none at the end."""

    def close(self) -> None:
        """Release the connection; may be called again."""


class Transport(Protocol):
    """Sends the requests of a blocking client."""

    def open(self, request: Request) -> Body | Lost:
        """Send a request and return the response, its body still open."""

    def close(self) -> None:
        """Close all connections."""


class AsyncBody(Protocol):
    """A response with an open body."""

    @property
    def head(self) -> Reply:
        """Status and headers."""

    async def read(self) -> bytes | Lost:
        """Read the next bytes; none at the end."""

    async def close(self) -> None:
        """Release the connection; may be called again."""


class AsyncTransport(Protocol):
    """Sends the requests of an asyncio client."""

    async def open(self, request: Request) -> AsyncBody | Lost:
        """Send a request and return the response, its body still open."""

    async def close(self) -> None:
        """Close all connections."""


def to_seconds(time: float | timedelta) -> float:
    """Convert a deadline to seconds. Raises UsageError unless it is a number above 0."""
    given: object = time
    try:
        number = time.total_seconds() if isinstance(time, timedelta) else float(time)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(given, bool | str | bytes) or not number > 0:
        raise UsageError(f"A deadline is a number of seconds above 0, and not {str(time)[:80]!r}.")
    return number
