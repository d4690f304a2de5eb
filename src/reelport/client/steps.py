"""The steps that a flow asks its driver to take, and what it gets back for each.

A flow is a generator: it yields a step, is sent the step's outcome, and returns its
result. It does no network and no waiting itself, so the blocking client, the asyncio
client and a test drive the same flow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from reelport.errors import ReelportError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. It prints neither its headers nor its body: they hold secrets; nor what signs its address.

    After `timeout` seconds of silence it is given up.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer, or not all of it. `sent` is false only when the request surely never reached the service."""

    reason: str
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and read the whole answer: a Reply or Lost."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request and leave its body to be read: a Reply without a body, or Lost. Closes what was open before."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of the open body as they came over the wire: bytes, none at its end, or Lost."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Do something slow on this machine: its result, which the flow knows the type of."""

    task: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Fork:
    """Drive several flows, at most `at_once` at a time: a list of what each came to, a result or a ReelportError.

    A flow that has begun is seen to its end, whatever becomes of the others.
    """

    flows: tuple[Flow[object], ...]
    at_once: int


@dataclass(frozen=True, slots=True)
class Alone:
    """Drive a flow while no other flow of the same client is driven so: its result. What it raises is raised here."""

    flow: Flow[object]


Step = Send | Open | Read | Wait | Work | Fork | Alone
Flow = Generator[Step, object, T]


def send(request: Request) -> Flow[Reply | Lost]:
    """The answer to a request."""
    answer = yield Send(request)
    assert isinstance(answer, Reply | Lost)  # noqa: S101 - the driver's promise, told to the type checker
    return answer


def opened(request: Request) -> Flow[Reply | Lost]:
    """The head of the answer to a request, whose body is then read piece by piece."""
    answer = yield Open(request)
    assert isinstance(answer, Reply | Lost)  # noqa: S101 - the driver's promise, told to the type checker
    return answer


def read() -> Flow[bytes | Lost]:
    """The next bytes of the open body."""
    answer = yield Read()
    assert isinstance(answer, bytes | Lost)  # noqa: S101 - the driver's promise, told to the type checker
    return answer


def fork(flows: Iterable[Flow[T]], at_once: int) -> Flow[list[T | ReelportError]]:
    """What each flow came to, in their order."""
    answer = yield Fork(tuple(flows), at_once)
    return answer  # type: ignore[return-value]  # the driver sends back what the flows gave


def work(task: Callable[[], T]) -> Flow[T]:
    """The result of a task; what it raises is raised here."""
    answer = yield Work(task)
    return answer  # type: ignore[return-value]  # the driver sends back what the task gave


def alone(flow: Flow[T]) -> Flow[T]:
    """What a flow comes to that no other such flow runs beside."""
    answer = yield Alone(flow)
    return answer  # type: ignore[return-value]  # the driver sends back what the flow gave
