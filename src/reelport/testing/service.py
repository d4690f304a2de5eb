"""Run a real service in tests: own process, workers, free port, facts of your choice.

    with Service() as service:
        service.sample(date(2026, 1, 1), date(2026, 1, 7), rows=10_000)
        key = service.key("demo")
        ...  # speak to service.url with key.id and key.secret

Nothing in it is a mock: your program meets the same service as in production.
"""

from __future__ import annotations

import contextlib
import json
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
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.error import URLError

from reelport.errors import BadInput, InternalError, Unreachable, UsageError
from reelport.server.access import channel_registry, keys, organizations, users
from reelport.server.access.audit_log import Actor
from reelport.server.access.callers import REPORT_SCOPES
from reelport.server.access.channel_registry import Channel
from reelport.server.access.keys import KeyDetails
from reelport.server.access.keys import NewKey as Key
from reelport.server.credentials import short_id
from reelport.server.settings import PREFIX, Settings, read_settings, setting_names
from reelport.server.state.database import connected
from reelport.server.state.secret_fingerprint import require_same_secret
from reelport.similar_names import suggest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Channel", "Key", "Service"]

_RUN = """\
from reelport.server.process import exit_with_parent
exit_with_parent()
from reelport.__main__ import run
run()
"""
_READY_SECONDS = 120.0
_PATIENCE_SECONDS = 0.2
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
_PORTS = range(20_000, 32_000)
_PORTS_TRIED = 100
_PORT_IN_USE = "is in use by another program"


class Service:
    """Runs `reelport serve` in its own process; the service answers while the block runs.

    `data` is its data directory, which is kept. Without it a temporary directory is used and deleted. Any setting of
    the service may be given by name; UsageError names unknown ones. `environment` adds variables to its processes.
    """

    def __init__(
        self, data: Path | None = None, *, environment: Mapping[str, str] | None = None, **settings: object
    ) -> None:
        known = setting_names()
        if unknown := [name for name in settings if name not in known]:
            raise UsageError("\n".join(f"There is no setting {name!r}.{suggest(name, known)}" for name in unknown))
        self._own = Path(tempfile.mkdtemp(prefix="reelport-"))
        # A program that is stopped before the block begins leaves nothing either.
        self._remove_own = weakref.finalize(self, _remove_folder, self._own, os.getpid())
        self.settings: Settings = read_settings(
            **{"data": data or self._own / "data", "port": _free_port(), **settings}
        )
        self._environment = dict(environment or {})
        self._chose_port = "port" not in settings
        self._process: subprocess.Popen[bytes] | None = None
        self.log_file = self._own / "service.log"

    @property
    def url(self) -> str:
        """The service's address, without a slash at the end."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def data(self) -> Path:
        """The service's data directory."""
        return self.settings.data

    @property
    def log(self) -> str:
        """The log of all its processes so far."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def organization(self, name: str, channels: Iterable[Channel] = ()) -> None:
        """Add an organization unless it exists, add channels to the tables, and let it read them."""
        with connected(self.settings) as db:
            if name not in {known.name for known in organizations.list_organizations(db)}:
                organizations.add_organization(db, name, datetime.now(UTC))
            for channel in channels:
                channel_registry.add_channels(db, self.settings, name, [channel_registry.Entry(channel)])

    def key(
        self,
        organization: str,
        permissions: Iterable[str] = REPORT_SCOPES,
        channels: Iterable[str] | None = None,
        kind: str = "private",
    ) -> Key:
        """Create a key of an organization, with every permission unless some are named.

        `channels`, by slug or id, limits the key to these. A `public` key gets tokens with the password of a `user`.
        """
        limit = None if channels is None else tuple(channels)
        with connected(self.settings) as db:
            return keys.create_key(
                db,
                require_same_secret(db, self.settings),
                organization,
                tuple(permissions),
                datetime.now(UTC),
                channels=limit,
                slugs=channel_registry.read_slugs(self.settings) if limit else None,
                kind=kind,
                details=KeyDetails(actor=Actor.of_command()),
            )

    def user(self, organization: str, email: str, password: str, role: str = "owner") -> None:
        """Add a user to an organization: the login that a public key needs."""
        with connected(self.settings) as db:
            users.add_user(db, organization, email, role, password, datetime.now(UTC))

    def sample(self, start: date, end: date, *, rows: int = 10_000, seed: int = 1) -> None:
        """Add the organizations `demo` and `rival`, and load sample facts of these days for them."""
        from reelport.server import sample_organizations  # noqa: PLC0415 - a service without facts need not wait for it

        sample_organizations.fill(self.settings, start, end, rows, seed)

    def load(self, table: str, rows: pa.Table | Iterable[Mapping[str, object]]) -> None:
        """Load your own rows into a table: an Arrow table, or one dict for each row.

        Dicts hold Python values: dates and datetimes (UTC if they have no zone), ints, Decimals and floats, texts,
        lists of texts. An absent key or None is an empty cell. If anything can't be loaded, raises BadInput with the
        rows and columns, as a load of a file does, and loads nothing.
        """
        from reelport.facts.loading.load import load_arrow  # noqa: PLC0415 - the same

        batch = f"test-{short_id()}"
        arrow = sys.modules.get("pyarrow")  # who made a table has imported it
        if arrow is not None and isinstance(rows, arrow.Table | arrow.RecordBatchReader):
            load_arrow(self.settings.facts_root, table, rows, batch)
            return
        try:
            load_arrow(self.settings.facts_root, table, _to_arrow(rows), batch)
        except BadInput as error:
            raise BadInput(str(error).replace(f"{batch} line ", "row ")) from None

    @property
    def pid(self) -> int:
        """The id of the serving process. Raises Unreachable when it doesn't run."""
        if self._process is None:
            raise Unreachable("The service isn't running.")
        return self._process.pid

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The ids of the living worker processes."""
        from reelport.server.queue import liveness  # noqa: PLC0415 - most tests never look

        return tuple(liveness.parse_pid(owner) for owner in liveness.list_living(self.settings))

    def start(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Start the service and wait until it is ready. InternalError with its log if it ends.

        `environment` replaces the variables that were added before.
        """
        if environment is not None:
            self._environment = dict(environment)
        while True:
            try:
                self._wait_until_ready(self._launch())
            except InternalError as failed:
                # Another program may have taken the free port before the service did.
                if not (self._chose_port and _PORT_IN_USE in str(failed)):
                    raise
                self.log_file.unlink()
                self.settings = replace(self.settings, port=_free_port())
            else:
                # Others know the port from now on: it must not change any more.
                self._chose_port = False
                return

    def _launch(self) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment = {**inherited, **self.settings.environment(), **self._environment}
        with self.log_file.open("ab") as log:
            self._process = self._run(environment, log)
        return self._process

    def _run(self, environment: dict[str, str], log: BinaryIO) -> subprocess.Popen[bytes]:
        """Run the service so that it ends with this process, however this one ends."""
        words = [sys.executable, "-c", _RUN, "serve"]
        return subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def _forget_process(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def wait(self) -> None:
        """Wait until the serving process ends by itself. Returns at once when it doesn't run."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Stop the service by SIGTERM; its workers have ended when this returns."""
        self._stop_by(signal.SIGTERM)

    def kill(self) -> None:
        """Kill only the serving process by SIGKILL; its workers notice and end by themselves."""
        self._stop_by(signal.SIGKILL)

    def kill_workers(self) -> tuple[int, ...]:
        """Kill every worker by SIGKILL; the service starts others. Returns the killed process ids."""
        pids = self.worker_pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pids

    def restart(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Stop the service if it runs, and start it again with the same data and port."""
        if self._process is not None:
            self.stop()
        self.start(environment=environment)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # Ctrl-C too must leave no process and no folder behind; it is raised again
            self._clean_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._clean_up()

    def _clean_up(self) -> None:
        if self._process is not None:
            self.stop()
        self._remove_own()

    def _stop_by(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget_process()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _READY_SECONDS
        # Another program may have the port and never answer, while our process has ended for that reason.
        patience = _PATIENCE_SECONDS
        while not self._is_answering(patience):
            patience *= 2
            if process.poll() is not None:
                self._forget_process()
                raise InternalError(f"The service ended with status {process.returncode}:\n{self.log}")
            if time.monotonic() > until:
                self.kill()
                raise InternalError(f"The service was not ready within {_READY_SECONDS:.0f} seconds:\n{self.log}")
            time.sleep(_POLL_SECONDS)

    def _is_answering(self, patience: float) -> bool:
        # /health needs a living worker, /health/ready doesn't: without workers of its own there may be none.
        path = "/health" if self.settings.workers else "/health/ready"
        try:
            with urllib.request.urlopen(self.url + path, timeout=min(patience, 5)) as reply:  # noqa: S310 - our own address
                return bool(reply.status == 200)  # noqa: PLR2004 - the status of all being well
        except (URLError, OSError):
            return False


def _remove_folder(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not in a fork, which ends first
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    """Find a port below the ephemeral range, likely free until the service takes it."""
    for _ in range(_PORTS_TRIED):
        port = random.choice(_PORTS)  # noqa: S311 - keeps no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise InternalError("This machine has no free port.")


def _to_arrow(rows: Iterable[Mapping[str, object]]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - a service without facts need not wait for it

    given = list(rows)
    names = dict.fromkeys(name for row in given for name in row)
    return pa.table({name: pa.array([_format_cell(row.get(name)) for row in given], pa.string()) for name in names})


def _format_cell(value: object) -> str | None:
    """Format a value as a file would have it; a datetime without a zone is UTC."""
    match value:
        case None | str():
            return value
        case datetime():
            return value.isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case float() | Decimal() | Integral() if not isinstance(value, bool):
            # str gives a float's shortest text, so that 0.1 stays 0.1.
            return format(Decimal(str(value)), "f")
        case list() | tuple() | set() | frozenset():
            return json.dumps(list(value), ensure_ascii=False)
        case _:
            return str(value)
