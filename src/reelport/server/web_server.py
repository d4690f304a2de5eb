"""Runs uvicorn for an API process on an open socket, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import socket
import sys
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette

from reelport.server.app import create_app
from reelport.server.doctor.start_checks import raise_open_files
from reelport.server.http.api_processes import BACKLOG, format_address
from reelport.server.http.connections import ACCEPTED_AT_ONCE, Connection
from reelport.server.http.long_poll import LongPolls
from reelport.server.process import is_ending
from reelport.server.settings import Settings
from reelport.server.traces.tracing import traced

_LOG = structlog.get_logger(__name__)
_GRACE_SECONDS = 10
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SWITCH_SECONDS = 0.001
"""How long a thread may run before it must yield the GIL. A status query waits for the database several times; with
Python's default of 5 ms each such wait could take as long while another thread parses a large document."""


def serve_on(settings: Settings, listener: socket.socket) -> None:
    """Serve this socket until SIGTERM or SIGINT; raise what keeps the app from starting."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    serve_app(create_app(settings), settings, listener)


def serve_app(app: Starlette, settings: Settings, listener: socket.socket) -> None:
    """Serve an app on this socket, as `serve_on` does."""
    connection = Connection.limited(raise_open_files())
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=connection,
        # One of several processes accepts one connection at a time: else the first to wake would take a whole burst.
        backlog=ACCEPTED_AT_ONCE if settings.processes == 1 else 1,
        server_header=False,
        lifespan="off",  # `_Server` runs it: uvicorn would log a traceback and exit where the app can't start
        ws="none",
        # Else a request runs in the span of an earlier one of its connection, which a proxy gives to another partner.
        reset_contextvars=True,
        # Longer than ours: uvicorn counts from when an answer was buffered, not from when the client has read it.
        timeout_keep_alive=int(connection.request_seconds) + 1,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    with traced("api"):
        _Server(config, connection, app, settings).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A uvicorn server that runs the app's lifespan, and ends long polls when it stops."""

    def __init__(
        self, config: uvicorn.Config, connection: type[Connection], app: Starlette, settings: Settings
    ) -> None:
        super().__init__(config)
        self._connection = connection
        self._app = app
        self._settings = settings
        self._lifespan = contextlib.AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, with a longer listen queue; a process told to end before ends at once."""
        self.should_exit = self.should_exit or is_ending()
        asyncio.get_running_loop().set_exception_handler(log_exhaustion)
        await self._lifespan.enter_async_context(self._app.router.lifespan_context(self._app))
        self._connection.crowded_out = self._app.state.service.metrics.crowded_out
        # Modules and the schema live as long as the process; to visit them takes 0.07 s, for which requests wait.
        gc.collect()
        gc.freeze()
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)
            where, settings = format_address(listener), self._settings
            _LOG.info("listening", address=where, data=str(settings.data), workers=settings.workers)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all requests, the long polls first, then the app's lifespan."""
        long_polls: LongPolls = self._app.state.service.long_polls
        long_polls.stop()
        await super().shutdown(sockets)
        await self._lifespan.aclose()


def log_exhaustion(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log one line when no connection can be accepted; handle other errors as usual."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        _LOG.error("no further connection can be accepted now", reason=error.strerror)
    else:
        loop.default_exception_handler(context)
