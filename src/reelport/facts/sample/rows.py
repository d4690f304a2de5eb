"""Make all sample tables' rows, in their columns: objects at once, facts in portions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from reelport.facts.sample.lots import RowCounts, split_into_portions
from reelport.facts.sample.scenes import SampleEngine
from reelport.facts.sample.videos import Video, video_rows
from reelport.facts.sample.world import account_rows, channel_rows, player_rows, playlist_rows
from reelport.facts.schema import BATCH, stored_schema


def make_object_tables(cast: Sequence[Video]) -> Mapping[str, pa.Table]:
    """Make the object tables by name: all objects that facts about these videos refer to."""
    return {
        "accounts": account_rows(),
        "channels": channel_rows(),
        "players": player_rows(),
        "playlists": playlist_rows(),
        "videos": video_rows(cast),
    }


def draw_fact_portions(table: str, stage: SampleEngine, counts: RowCounts) -> Iterator[pa.Table]:
    """Draw the rows of a fact table in order of days, one portion at a time."""
    schema = fact_schema(table)
    for portion in split_into_portions(table, counts):
        drawn = [_fit_to_schema(stage.draw(kind, lots), schema) for kind, lots in portion.items()]
        yield pa.concat_tables(drawn)


def fact_schema(table: str) -> pa.Schema:
    """The Arrow schema of a fact table without the batch column, which the load adds."""
    return pa.schema([field for field in stored_schema(table) if field.name != BATCH])


def _fit_to_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Convert the rows to the table's columns; missing columns are empty."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
