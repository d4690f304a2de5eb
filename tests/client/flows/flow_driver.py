"""A driver of flows for tests: answers steps from a list, and a clock that waiting moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tests.client.conftest import REPORT, TOKEN, Time, looked

from reelport.client.events import Progress
from reelport.client.flows.fetch import acquire_report
from reelport.client.flows.lifecycle import check_against_host
from reelport.client.ledger_rows import Row
from reelport.client.session import Session
from reelport.client.settings.config import DAILYMOTION_URL
from reelport.client.steps import Flow, Lost, Open, Read, Reply, Step, T, Wait, Work
from reelport.errors import ReelportError
from reelport.query import ReportQuery

GRANT = {"access_token": TOKEN, "refresh_token": None, "expires_in": 3600, "scope": "", "token_type": "Bearer"}
ASKED = {"data": {"askPartnerReportFile": {"reportFile": {"reportToken": REPORT, "status": "IN_PROGRESS"}}}}
OURS = {
    "message": "There is no metric 'VIEW'. Did you mean VIEWS?",
    "path": ["askPartnerReportFile"],
    "type": "bad_request",
    "extensions": {"code": "unknown_metric", "inputPath": ["metrics", 0], "nearest": "VIEWS"},
}
THEIRS = {
    "message": "Variable < $input > got invalid value < VIEW >; Expected type < PartnerReportMetric >",
    "path": None,
    "locations": [{"line": 1, "column": 20}],
    "extensions": {"rule": "5.6.1", "spec": "June 2018", "tag": "values-of-correct-type"},
}
PAGE = b"<!DOCTYPE html><title>Oops</title>"


def reply(body: dict[str, Any] | bytes, status: int = 200, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"content-type": "application/json"} | names, data)


def page(*links: str | None, total: int | None = None, more: bool = False, following: int | None = None) -> Reply:
    """The answer to a look at one page of a finished report."""
    answer: dict[str, Any] = looked("FINISHED")
    connection = answer["data"]["partner"]["reportFile"]["downloadLinks"]
    connection["edges"] = [{"node": {"link": link}} for link in links]
    connection |= {"pageInfo": {"hasNextPage": more, "nextPage": following}, "totalCount": total}
    return reply(answer)


def refused(*errors: dict[str, Any]) -> Reply:
    return reply({"data": None, "errors": list(errors)})


class FlowDriver:
    """Drives a flow with answers from a list, a token for every one who asks, and a clock that waits move.

    An answer takes `answering` seconds.
    """

    def __init__(self, time: Time, *answers: Reply | Lost, grants: tuple[Reply | Lost, ...] = (reply(GRANT),)) -> None:
        self.time = time
        self.answers = list(answers)
        self.grants = list(grants)
        self.sent: list[Open] = []
        self.body = b""
        self.waits: list[float] = []
        self.answering = 0.0

    def drive(self, flow: Flow[T]) -> T:
        """The flow's result."""
        step: Callable[[], Step] = partial(next, flow)
        while True:
            try:
                wanted = step()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's result has its flow's type
            try:
                step = partial(flow.send, self.take(wanted))
            except ReelportError as error:
                step = partial(flow.throw, error)

    def take(self, step: Step) -> object:
        """The outcome of one step."""
        match step:
            case Wait(seconds):
                self.waits.append(seconds)
                self.time.seconds += seconds
                return None
            case Open(request):
                self.sent.append(step)
                self.time.seconds += self.answering
                queue = self.grants if request.url.endswith("/token") else self.answers
                answer = queue.pop(0) if len(queue) > 1 else queue[0]
                self.body = answer.body if isinstance(answer, Reply) else b""
                return answer
            case Read():
                data, self.body = self.body, b""
                return data
            case Work(task):
                return task()
            case _:
                raise AssertionError(step)

    def sent_to(self, end: str) -> int:
        """How many requests went to addresses with this end."""
        return sum(step.request.url.endswith(end) for step in self.sent)


def grant(**headers: str) -> Reply:
    return reply(GRANT, 200, **headers)


def held(status: str, *links: str) -> Reply:
    return reply(looked(status, *links), 200, preference_applied="wait=10")


def of_dailymotion(session: Session) -> Session:
    return Session(replace(session.settings, url=DAILYMOTION_URL), session.clock, session.chance)


def unknown(session: Session) -> Session:
    """A session with a host that has not been heard yet."""
    return Session(session.settings, session.clock, session.chance)


def ask(session: Session, query: ReportQuery, tell: Progress) -> Flow[Row]:
    """Check a query, then ask for its report, and wait for a slot for a minute."""
    yield from check_against_host(session, query, tell)
    return (yield from acquire_report(session, query, tell, session.clock.seconds() + 60.0))
