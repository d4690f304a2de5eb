"""A real service in a box, for tests: its own process, its own workers, a free port, and facts of your choice.

    with Service() as service:
        service.sample(date(2026, 1, 1), date(2026, 1, 7), rows=10_000)
        key = service.key("demo")
        ...  # speak to service.url with key.id and key.secret

Nothing in it is a stand-in: what your program does with it, it does with a service in production.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.error import URLError

from sqlalchemy import Engine

from reelport.check import nearest
from reelport.errors import BadInput, InternalError, Unreachable, UsageError
from reelport.server.access import channel_registry, organizations
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.access.channel_registry import Channel
from reelport.server.access.organizations import NewKey as Key
from reelport.server.credentials import short_id
from reelport.server.settings import PREFIX, Settings, read_settings, setting_names
from reelport.server.state.database import connect
from reelport.server.state.secret_fingerprint import require_same_secret

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Channel", "Key", "Service"]

_READY_SECONDS = 120.0
_PATIENCE_SECONDS = 0.2
_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_PORTS = range(20_000, 32_000)
_PORTS_TRIED = 100
_TAKEN = "is in use by another program"


class Service:
    """`reelport serve` in a process of its own, ready to answer while the block runs.

    `data` is its data directory, which stays; without one it gets a directory of its own, which goes. Any
    setting of the service may be given by name, and UsageError names those that are none; `environment` is added
    to that of its processes.
    """

    def __init__(
        self, data: Path | None = None, *, environment: Mapping[str, str] | None = None, **settings: object
    ) -> None:
        _refuse_unknown(settings)
        self._own = Path(tempfile.mkdtemp(prefix="reelport-"))
        self.settings: Settings = read_settings(
            **{"data": data or self._own / "data", "port": _free_port(), **settings}
        )
        self._environment = dict(environment or {})
        self._rented = "port" not in settings
        self._process: subprocess.Popen[bytes] | None = None
        self.log_file = self._own / "service.log"

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.settings.data

    @property
    def log(self) -> str:
        """All that its processes have logged so far."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def organization(self, name: str, channels: Iterable[Channel] = ()) -> None:
        """Have an organization of that name, and these channels in the tables and for it to read."""
        with self._state() as db:
            if name not in {known.name for known in organizations.list_organizations(db)}:
                organizations.add_organization(db, name, datetime.now(UTC))
            for channel in channels:
                channel_registry.add_channel(db, self.settings, name, channel)

    def key(
        self, organization: str, permissions: Iterable[str] = REPORT_SCOPES, channels: Iterable[str] | None = None
    ) -> Key:
        """A new key of an organization, with every permission unless some are named.

        `channels`, by slug or id, limits it to these.
        """
        limit = None if channels is None else tuple(channels)
        with self._state() as db:
            return channel_registry.create_key(
                db,
                self.settings,
                require_same_secret(db, self.settings),
                organization,
                tuple(permissions),
                datetime.now(UTC),
                channels=limit,
            )

    def sample(self, start: date, end: date, *, rows: int = 10_000, seed: int = 1) -> None:
        """Load believable facts of these days for the organizations `demo` and `rival`, which are made too."""
        from reelport.server import sandbox  # noqa: PLC0415 - a service without facts need not wait for it

        sandbox.fill(self.settings, start, end, rows, seed)

    def load(self, table: str, rows: pa.Table | Iterable[Mapping[str, object]]) -> None:
        """Load rows of your own into a table: an Arrow table, or a dict a row.

        Dicts hold Python's values: dates and datetimes (UTC where they have no zone), ints, Decimals and floats, texts,
        lists of texts; what is absent or None is empty. Raises BadInput, with every row and column that can't be taken,
        and then nothing is loaded.
        """
        from reelport.facts.loading.load import load_arrow  # noqa: PLC0415 - the same

        batch = f"test-{short_id()}"
        if _is_arrow(rows):
            load_arrow(self.settings.facts_root, table, rows, batch)
            return
        from reelport.testing.dict_rows import arrow_of  # noqa: PLC0415 - the same

        try:
            load_arrow(self.settings.facts_root, table, arrow_of(table, rows), batch)
        except BadInput as error:
            raise BadInput(str(error).replace(f"{batch} line ", "row ")) from None

    @property
    def pid(self) -> int:
        """The process that serves; Unreachable when it doesn't run."""
        if self._process is None:
            raise Unreachable("The service isn't running.")
        return self._process.pid

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The processes that make reports now."""
        from reelport.server.queue import liveness  # noqa: PLC0415 - most tests never look

        return tuple(liveness.parse_pid(owner) for owner in liveness.list_living(self.settings))

    def start(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it is ready. InternalError, with its log, when it ends instead.

        `environment` replaces what was added to the environment before.
        """
        if environment is not None:
            self._environment = dict(environment)
        while True:
            try:
                self._wait_until_ready(self._launched())
            except InternalError as failed:
                # A free port may be another's by the time that the service takes it.
                if not (self._rented and _TAKEN in str(failed)):
                    raise
                self.log_file.unlink()
                self.settings = replace(self.settings, port=_free_port())
            else:
                # From now on it is known to others, and stays.
                self._rented = False
                return

    def _launched(self) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "reelport", "serve"],
                env={**inherited, **self.settings.environment(), **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._process

    def stop(self) -> None:
        """Stop it in good order; its workers are gone when this returns."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9 the serving process alone; its workers notice and end by themselves."""
        self._end(signal.SIGKILL)

    def kill_workers(self) -> tuple[int, ...]:
        """Kill -9 every worker; the service starts others. Gives the processes that were killed."""
        pids = self.worker_pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pids

    def restart(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Stop it, if it runs, and start it again over the same data on the same port."""
        if self._process is not None:
            self.stop()
        self.start(environment=environment)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # a Ctrl-C too must leave no process and no folder behind; it goes on
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._process is not None:
            self.stop()
        shutil.rmtree(self._own, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _READY_SECONDS
        # Whoever has the port may be another program that never answers, while ours has ended for that very reason.
        patience = _PATIENCE_SECONDS
        while not self._answers(patience):
            patience *= 2
            if process.poll() is not None:
                self._process = None
                raise InternalError(f"The service ended with status {process.returncode}:\n{self.log}")
            if time.monotonic() > until:
                self.kill()
                raise InternalError(f"The service was not ready within {_READY_SECONDS:.0f} seconds:\n{self.log}")
            time.sleep(_LOOK_SECONDS)

    def _answers(self, patience: float) -> bool:
        # Without workers of its own nobody need be there who makes reports.
        path = "/health" if self.settings.workers else "/health/ready"
        try:
            with urllib.request.urlopen(self.url + path, timeout=min(patience, 5)) as reply:  # noqa: S310 - our own address
                return bool(reply.status == 200)  # noqa: PLR2004 - the status of all being well
        except (URLError, OSError):
            return False

    @contextmanager
    def _state(self) -> Iterator[Engine]:
        db = connect(self.settings)
        try:
            yield db
        finally:
            db.dispose()


def _is_arrow(rows: object) -> bool:
    """Whether rows are an Arrow table. Loads no Arrow to tell: whoever made one has it."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(rows, arrow.Table | arrow.RecordBatchReader)


def _refuse_unknown(settings: Iterable[str]) -> None:
    known = setting_names()
    near = {name: nearest(name, known) for name in settings if name not in known}
    if near:
        said = [
            f"There is no setting {name!r}." + (f" Did you mean {likely}?" if likely else "")
            for name, likely in near.items()
        ]
        raise UsageError("\n".join(said))


def _free_port() -> int:
    """A port below those that the system gives out by itself: it stays free until the service has it."""
    for _ in range(_PORTS_TRIED):
        port = random.choice(_PORTS)  # noqa: S311 - keeps no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise InternalError("This machine has no free port.")
