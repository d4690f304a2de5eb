"""A session on a Spark Connect server, which streams the rows of SQL over pinned files.

Importing this module loads pyspark, which takes seconds: a worker does so at its first report for Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import grpc
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.client.retries import DefaultPolicy
from pyspark.sql.connect.dataframe import DataFrame
from pyspark.sql.connect.session import SparkSession

from reelport.engine.spark.pinned_files import FileView
from reelport.engine.spark.server_address import describe_address
from reelport.errors import EngineUnavailable, InternalError, ReelportError, StorageError

_USER = "reelport"
_SETTINGS = {
    # What the same SQL gives everywhere, whatever the cluster's own settings are.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    # A file that can't be read is an error, not a report with fewer rows.
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
}
_READ_OPTIONS = {
    # Folders on the way to a file hold no columns.
    "recursiveFileLookup": "true",
}
_RETRIES = DefaultPolicy(max_retries=4, initial_backoff=200, backoff_multiplier=3, max_backoff=5000)
"""How often a request is repeated within an attempt, and after how many milliseconds: about 8 s in all."""
_KEEPALIVE_MS = 300_000
"""Milliseconds without a byte after which the server is asked whether it lives; it refuses to be asked more often."""
_LOST = (
    "INVALID_HANDLE.SESSION",
    "INVALID_HANDLE.OPERATION_NOT_FOUND",
    "INVALID_HANDLE.OPERATION_ABANDONED",
    "NO_ACTIVE_SESSION",
    "RESPONSE_ALREADY_RECEIVED",
    "SparkContext was shut down",
    "stopped SparkContext",
)
"""What tells that a server was started anew since, or is being stopped; the client closes a session that is gone."""
_NOT_SEEN = ("FAILED_READ_FILE", "PATH_NOT_FOUND", "FileNotFoundException", "FILE_NOT_EXIST")


class SparkConnection:
    """One session on the server. Its work goes by one tag, known in Spark's pages."""

    def __init__(self, address: str, tag: str) -> None:
        """Connect to nothing yet. InternalError for a parameter that Spark doesn't take."""
        self._address = address
        self._tag = tag
        options = [("grpc.keepalive_time_ms", _KEEPALIVE_MS)]
        try:
            self._session = SparkSession(DefaultChannelBuilder(address, options), _USER)
        except ValueError:  # PySparkValueError too
            # Neither its text nor its traceback: it quotes what it doesn't like, which may be a token.
            where = describe_address(address)
            raise InternalError(
                f"Spark's client refuses the port or a parameter of {where} (REELPORT_ENGINE)"
            ) from None
        self._session.client.set_retry_policies([_RETRIES])
        self._is_set_up = False

    @property
    def version(self) -> str:
        """The server's version. Raises as `stream` does."""
        with self._translate_errors():
            return str(self._session.version)

    def stream(self, sql: str, views: Iterable[FileView]) -> Iterator[pa.Table]:
        """Yield the rows of a SELECT over the views, a few thousand at a time.

        Raises EngineUnavailable when the server can't be reached or was started anew, StorageError when its workers
        can't read the files, and InternalError for any other reason.
        """
        with self._translate_errors():
            self._session.addTag(self._tag)
            if not self._is_set_up:
                for name, value in _SETTINGS.items():
                    self._session.conf.set(name, value)
                self._is_set_up = True
            for view in views:
                reader = self._session.read.schema(view.schema).options(**_READ_OPTIONS)
                reader.parquet(*view.addresses).createOrReplaceTempView(view.name)
            frame = cast("DataFrame", self._session.sql(sql))
            client = self._session.client
            for part in client.to_table_as_iterator(frame._plan.to_proto(client), {}):  # noqa: SLF001 - as toLocalIterator does: nothing public streams Arrow
                if isinstance(part, pa.Table):
                    yield part

    def interrupt(self) -> None:
        """Have the server stop what runs, if it can be reached."""
        try:
            self._session.interruptTag(self._tag)
        except (PySparkException, grpc.RpcError, ValueError):  # ValueError: the channel was closed meanwhile
            return

    def close(self) -> None:
        """Release the session on the server, if it can be reached, and hang up."""
        self._session.client.set_retry_policies([])
        self._session.stop()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (PySparkException, grpc.RpcError) as error:
            raise self._translate(error) from error

    def _translate(self, error: PySparkException | grpc.RpcError) -> ReelportError:
        message = str(error)
        first = _find_first_line(message) or type(error).__name__
        where = describe_address(self._address)
        if _is_unreachable(error) or any(sign in message for sign in _LOST):
            return EngineUnavailable(
                f"The Spark Connect server at {where} can't be reached, or was started anew: "
                f"look after it, or take it out of REELPORT_ENGINE ({first})"
            )
        if any(sign in message for sign in _NOT_SEEN):
            return StorageError(
                "Spark can't read a file of the facts: its server and its workers must see the data directory under "
                f"the same path as this machine ({first})"
            )
        return InternalError(f"Spark at {where} failed: {first}")


def _find_first_line(message: str) -> str | None:
    """Find the line of an error's text that says what happened.

    That of a request without an answer is a dump, which begins with the name of its class.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    dumped = dict(line.split(" = ", 1) for line in lines if " = " in line)
    if "RPC that terminated" in message and (said := dumped.get("details", "").strip('"') or dumped.get("status")):
        return said
    return lines[0] if lines else None


def _is_unreachable(error: PySparkException | grpc.RpcError) -> bool:
    gone = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    match error:
        case grpc.Call():
            return error.code() in gone
        case SparkConnectGrpcException():
            return error.getGrpcStatusCode() in gone
    return False
