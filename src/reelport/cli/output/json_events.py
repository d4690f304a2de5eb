"""What happens as lines of JSON for machines: one object an event, the last one a `result`."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import IO, Any, Self

from reelport.cli.output.progress_lines import what_happened
from reelport.client.events import Asked, Event, InWindow, Merged, Received, Reused, Saved
from reelport.client.flows.download import Downloaded
from reelport.errors import QueryRefused, ReelportError

_EVERY = 1.0
"""Seconds between two lines that tell of bytes received."""

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where a word begins inside of a name like WindowDone."""


class JsonEvents:
    """Tells a flow's events to a program. With `quiet` the result alone."""

    def __init__(self, stream: IO[str], *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._received_at: dict[str, float] = {}
        self.token: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        """Take in what happened; what happened in a window carries its days."""
        if isinstance(event, InWindow):
            self.of({"window": {"start": event.start, "end": event.end}}, event.event)
            return
        if isinstance(event, Asked | Reused):
            self.token = event.token
        self.of({}, event)

    def of(self, report: Mapping[str, object], event: Event) -> None:
        """Take in what happened to one report of several, which these facts tell from the others."""
        if isinstance(event, Saved | Merged):
            return  # The lines `window_done` and `result` say the same.
        if not self._quiet and not self._too_soon(event, str(report)):
            self._print(_WORD.sub("_", type(event).__name__).lower(), {**report, **_facts(event)})

    def _too_soon(self, event: Event, window: str) -> bool:
        """Whether bytes received were told of just now."""
        if not isinstance(event, Received) or event.bytes == event.total:
            return False
        now = time.monotonic()
        if now - self._received_at.get(window, -_EVERY) < _EVERY:
            return True
        self._received_at[window] = now
        return False

    def rest(self) -> None:
        """Nothing to take away."""

    def say(self, line: str) -> None:
        """A remark."""
        if not self._quiet:
            self._print("note", {"text": line})

    def delivered(self, done: Downloaded, output: str | None, more: dict[str, object], *, drawn: bool = False) -> None:
        """The result of a download. Bytes and SHA-256 are those of the CSV, whatever the form it is given in."""
        facts = {"file": output, "bytes": done.bytes, "rows": done.rows, "sha256": done.sha256}
        more = more | ({"chart": "stdout"} if drawn else {})
        self.ended(**facts, proof=done.proof.name.lower(), **more)

    def ended(self, **facts: object) -> None:
        """The result of what went well."""
        known = {} if self.token is None else {"token": self.token}
        self._print("result", {"ok": True, "status": 0} | known | facts)

    def failed(self, error: ReelportError, resume: str | None) -> ReelportError:
        """The result of what went wrong, and the error to raise."""
        token = getattr(error, "token", None) or self.token
        facts: dict[str, object] = {
            "ok": False,
            "status": error.exit_status,
            "code": error.code,
            "error": what_happened(error),
        }
        facts |= {"token": token} if token else {}
        facts |= (
            {"problems": [_facts(problem) for problem in error.problems]} if isinstance(error, QueryRefused) else {}
        )
        facts |= {"resume": resume} if resume else {}
        self._print("result", facts)
        return error

    def _print(self, event: str, facts: Mapping[str, object]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        print(json.dumps({"event": event, "time": now} | dict(facts), default=_plain), file=self._stream, flush=True)


def _facts(value: Any) -> dict[str, object]:  # noqa: ANN401 - any of the events, which are dataclasses
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _plain(value: object) -> object:
    """What JSON has no word for."""
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, datetime | date):
        return value.isoformat()
    if dataclasses.is_dataclass(value):
        return _facts(value)
    return str(value)
