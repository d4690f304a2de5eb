"""`reelport serve`: the API in this process or in several, workers beside it, until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import structlog
import uvicorn
from starlette.applications import Starlette

from reelport.errors import UsageError
from reelport.facts.modes import private
from reelport.server import bell, logs, permissions
from reelport.server.api_processes import api_processes
from reelport.server.app import create_app
from reelport.server.bell import Occasion
from reelport.server.connections import ACCEPTED_AT_ONCE, Connection, raise_open_files
from reelport.server.credentials import short_id
from reelport.server.database import connect, writing
from reelport.server.held import Held
from reelport.server.link_origin import find_link_fault
from reelport.server.sealing import sealed
from reelport.server.settings import Settings
from reelport.server.supervisor import supervised

_LOG = structlog.get_logger(__name__)
_BACKLOG = 2048
_GRACE_SECONDS = 10
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SWITCH_SECONDS = 0.001
"""How long a thread may compute while another waits for its turn: Python's own 5 ms, at each of the waits for the state
that a look has, would add up while a large document is read."""


@private()
def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. UsageError when the port is taken; nothing has been started then.

    What keeps the app from starting up is raised as it is, and nobody was told that it listens.
    """
    logs.configure(settings)
    # Its processes inherit it; where that is too few files, nothing begins.
    raise_open_files()
    with _listening(settings) as listener:
        # Before the workers: they need the state brought up to date, and a state that can't be used ends here.
        _prepare(settings)
        for sentence in permissions.list_movable(settings.data):
            _LOG.warning("the data directory can be replaced", reason=sentence)
        if (fault := find_link_fault(settings)) is not None:
            _LOG.warning("links lead nowhere", reason=fault)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, leave)
        with supervised(settings, settings.workers):
            if settings.processes == 1:
                serve_on(settings, listener)
                return
            with api_processes(settings, listener):
                _LOG.info("serving", address=_address(listener), processes=settings.processes)
                while True:
                    signal.pause()


def serve_on(settings: Settings, listener: socket.socket) -> None:
    """Answer what comes to this socket until a signal to stop; what keeps the app from starting up is raised."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    connection = Connection.limited(settings, raise_open_files())
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=connection,
        # One of several takes no more than one before it looks again: else the first to wake would have all of a burst.
        backlog=ACCEPTED_AT_ONCE if settings.processes == 1 else 1,
        server_header=False,
        lifespan="off",  # the server sees to the app's life itself
        ws="none",
        # Uvicorn's time for a next request counts from when an answer was handed over, not from when it was taken.
        timeout_keep_alive=int(connection.seconds) + 1,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config, app, settings).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A web server that lets held looks go as soon as it is told to stop, and does not wait for their time.

    It sees to the app's life as well: uvicorn would log the traceback of what the app can't start up with, and exit.
    """

    def __init__(self, config: uvicorn.Config, app: Starlette, settings: Settings) -> None:
        super().__init__(config)
        self._app = app
        self._settings = settings
        self._over = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. More may wait to be accepted than are accepted at once: uvicorn has one number for both."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(tell_exhaustion)
        begun = loop.create_future()
        self._life = asyncio.create_task(self._live(begun))
        await begun
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)
            where, settings = _address(listener), self._settings
            _LOG.info("listening", address=where, data=str(settings.data), workers=settings.workers)

    async def _live(self, begun: asyncio.Future[None]) -> None:
        """The app from its start to its end, in a task of its own: what goes wrong in it later ends no request."""
        try:
            async with self._app.router.lifespan_context(self._app):
                begun.set_result(None)
                await self._over.wait()
        except Exception as error:  # noqa: BLE001 - raised where it was begun, or logged
            if begun.done():
                _LOG.exception("the app's life ended early")
            else:
                begun.set_exception(error)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the requests, the held ones first."""
        held: Held = self._app.state.service.held
        held.stop()
        await super().shutdown(sockets)
        self._over.set()
        if self._life is not None and not self.force_exit:
            await self._life


def tell_exhaustion(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in a sentence that no connection can be accepted; asyncio tries again in a second. Log the rest whole."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        _LOG.error("no further connection can be accepted now", reason=error.strerror)
    else:
        loop.default_exception_handler(context)


def _prepare(settings: Settings) -> None:
    """Bring the state up to date and see that it and the data directory can be written: StorageError where not."""
    db = connect(settings)
    try:
        with writing(db):
            pass
        sealed(db, settings)
        with bell.hung(settings, f"trial-{short_id()}", Occasion.ENDED):
            pass
    finally:
        db.dispose()


def leave(*_: object) -> NoReturn:
    """Leave through every open block. The web server takes the signal first, ends its requests and raises it again."""
    raise SystemExit(0)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """A socket that listens where the settings say."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named: asyncio turns TCP_NODELAY on only then, and without it each answer waits 40 ms.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"The host {settings.host!r} is none of this machine's: {error.strerror}.") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise UsageError(_why(settings, error)) from None
        yield listener


def _why(settings: Settings, error: OSError) -> str:
    place = f"{settings.host}:{settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{place} is in use by another program: stop it, or take another port with --port."
        case errno.EACCES:
            return f"{place} may not be used by this user: take a port above 1023 with --port."
        case _:
            return f"{place} can't be listened on: {error.strerror}."


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
