"""The check of the Spark Connect server: it answers, and its workers read the facts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reelport.engine.spark.pinned_files import PinnedFiles
from reelport.engine.spark.server_address import describe_address
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import TABLES
from reelport.server.settings import Settings
from reelport.wording import advise_extra, format_count

if TYPE_CHECKING:
    from reelport.engine.spark.connection import SparkConnection

_FACTS = [name for name, table in TABLES.items() if table.is_fact]


def check_spark(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check the server, where one is set. Raises as `SparkConnection.stream`."""
    if not settings.engine:
        return
    # Its warnings say nothing that an error doesn't.
    warnings.filterwarnings("ignore", module=r"pyspark\.")
    try:
        from reelport.engine.spark.connection import SparkConnection  # noqa: PLC0415 - loads pyspark
    except ImportError as error:
        yield False, f"{error}: {advise_extra('server,spark', 'spark')}."
        return
    connection = SparkConnection(settings.engine, "reelport-doctor")
    try:
        larger = f"aggregates reports over {format_count(settings.spark_from_rows, 'row', 'rows')} of facts or more"
        yield True, f"Spark {connection.version} at {describe_address(settings.engine)} {larger}."
        yield True, _read_newest(settings, connection)
    finally:
        connection.close()


def _read_newest(settings: Settings, connection: SparkConnection) -> str:
    """Have its workers count the rows of one file of facts."""
    snapshot = pin(settings.facts_root, _FACTS)
    for name in _FACTS:
        if files := snapshot.files(name):
            views = PinnedFiles()
            views(TABLES[name], files[-1:])
            (view,) = views
            (rows,) = connection.stream(f"SELECT COUNT(*) AS number FROM `{view.name}`", views)  # noqa: S608 - a name of our own
            return f"Its workers read {files[-1]} ({format_count(rows['number'][0].as_py(), 'row', 'rows')})."
    return "There are no facts yet by which to see whether its workers read them."
