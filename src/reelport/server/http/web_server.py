"""The web server of one API process: what comes to a socket is answered until a signal to stop."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette

from reelport.server.doctor.open_files import raise_open_files
from reelport.server.http.app import create_app
from reelport.server.http.connections import ACCEPTED_AT_ONCE, Connection
from reelport.server.http.listening import BACKLOG, address_of
from reelport.server.http.long_poll import LongPolls
from reelport.server.settings import Settings

_LOG = structlog.get_logger(__name__)
_GRACE_SECONDS = 10
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SWITCH_SECONDS = 0.001
"""How long a thread may compute while another waits for its turn: Python's own 5 ms, at each of the waits for the state
that a look has, would add up while a large document is read."""


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
            listener.listen(BACKLOG)
            where, settings = address_of(listener), self._settings
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
        held: LongPolls = self._app.state.service.held
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
