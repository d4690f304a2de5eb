"""What in a log is left to the Delta library, whose word stands then."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts.log.small_log import SmallLog

from reelport.errors import NewerData, ReelportError, StorageError
from reelport.facts.log import delta_log
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.log_replay import list_files_at, replay_files
from reelport.facts.log.plain_actions import UnusualLog
from reelport.facts.log.snapshot import FileLister
from reelport.facts.tables import PLAYS

MAPPED = {"delta.columnMapping.mode": "name"}
VECTOR = {"storageType": "u", "pathOrInlineDv": "x", "sizeInBytes": 1, "cardinality": 1}
HALF_SIGN = '{"numRecords": 1, "minValues": {"owner_channel_id": "\\ud83d"}}'
DOMAIN = {"domainMetadata": {"domain": "x", "configuration": "{}", "removed": False}}
CHANGED_ROWS = {"cdc": {"path": "x.parquet", "partitionValues": {}, "size": 1, "dataChange": False}}

UNUSUAL: dict[str, Callable[[SmallLog], object]] = {
    "a checkpoint in parts": lambda log: log.rename_checkpoint(f"checkpoint.{1:010}.{1:010}.parquet"),
    "a checkpoint of the second kind": lambda log: log.rename_checkpoint(
        "checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet"
    ),
    "a compacted log": lambda log: shutil.copy(log.path(1), log.path(1).with_suffix(f".{2:020}.compacted.json")),
    "a checksum of the version": lambda log: log.path(3).with_suffix(".crc").write_text("{}"),
    "a checkpoint without statistics": lambda log: log.change_adds(stats=None),
    "a checkpoint with tags": lambda log: log.change_adds(tags=[("a", "b")]),
    "a checkpoint of a file twice": lambda log: log.change_checkpoint(lambda rows: rows.extend(rows)),
    "a checkpoint without metadata": lambda log: log.change_checkpoint(
        lambda rows: [row.update(metaData=None) for row in rows]
    ),
    "a checkpoint that is cut": lambda log: log.checkpoint.write_bytes(log.checkpoint.read_bytes()[:999]),
    "an empty checkpoint": lambda log: log.checkpoint.write_bytes(b""),
    "a checkpoint of something else": lambda log: pq.write_table(pa.table({"a": [1]}), log.checkpoint),
    "a checkpoint with a column of tomorrow": lambda log: _add_column(log, '"; SELECT'),
    "a checkpoint with a column that is no text": lambda log: log.checkpoint.write_bytes(
        log.checkpoint.read_bytes().replace(b"domainMetadata", b"domainMetadat\xff")
    ),
    "a checkpoint that is gone": lambda log: log.checkpoint.unlink(),
    "an older checkpoint that is left": lambda log: log.hint.write_text('{"version":3,"size":1}'),
    "a hint that is cut": lambda log: log.hint.write_text('{"version":'),
    "a hint of something else": lambda log: log.hint.write_text('{"version":"2"}'),
    "a commit that is gone": lambda log: log.path(3).rename(log.path(4)),
    "an empty commit": lambda log: log.commit_text(""),
    "a commit that is cut": lambda log: log.commit_text(log.path(3).read_text()[:-9]),
    "a commit that is no text": lambda log: log.commit_text(b'{"commitInfo":{"a":"\xff"}}'),
    "a commit that is no action": lambda log: log.commit_text("[1]"),
    "a name that stands twice": lambda log: log.commit_text('{"commitInfo":{"a":1,"a":2}}'),
    "a number that is none": lambda log: log.commit_text('{"commitInfo":{"a":NaN}}'),
    "two actions on one line": lambda log: log.commit(log.add(path="x.parquet") | {"commitInfo": {}}),
    "metadata of a domain": lambda log: log.commit(DOMAIN),
    "changed rows beside files": lambda log: log.commit(CHANGED_ROWS),
    "an action of tomorrow": lambda log: log.commit({"tomorrow": {}}),
    "a vector of deleted rows": lambda log: log.commit_add(deletionVector=VECTOR),
    "a file added twice in one commit": lambda log: log.commit(log.add(size=7), log.add(size=8)),
    "a file added and removed in one commit": lambda log: log.commit(log.add(), log.remove()),
    "a file removed and added in one commit": lambda log: log.commit(log.remove(), log.add()),
    "a path with an escape": lambda log: log.commit_add(path="month=2023-07/a%20b.parquet"),
    "a path with a blank": lambda log: log.commit_add(path="month=2023-07/a b.parquet"),
    "a path elsewhere": lambda log: log.commit_add(path="file:///elsewhere/x.parquet"),
    "an absolute path": lambda log: log.commit_add(path="/elsewhere/x.parquet"),
    "a path that leads out": lambda log: log.commit_add(path="month=2023-07/../x.parquet"),
    "a file of no month": lambda log: log.commit_add(partitionValues={"month": None}),
    "a file without its partition": lambda log: log.commit_add(partitionValues={}),
    "a remove of no month": lambda log: log.commit({"remove": log.remove()["remove"] | {"partitionValues": {}}}),
    "a remove without its size": lambda log: log.commit({"remove": log.remove()["remove"] | {"size": None}}),
    "a size that is no number": lambda log: log.commit_add(size="7"),
    "a file without statistics": lambda log: log.commit_add(stats=None),
    "statistics without rows": lambda log: log.commit_statistics(numRecords=None),
    "statistics that are cut": lambda log: log.commit_add(stats='{"numRecords": 1, "minVal'),
    "rows that are no whole number": lambda log: log.commit_statistics(numRecords=1.5),
    "nulls that are no number": lambda log: log.commit_statistics(nullCount={"started_at": "0"}),
    "statistics of tomorrow": lambda log: log.commit_statistics(tightBounds=False),
    "statistics of more columns": lambda log: log.commit_statistics(minValues={"views": 1}),
    "an end in milliseconds": lambda log: log.commit_ends("2023-07-01T00:00:00.123Z"),
    "an end in nanoseconds": lambda log: log.commit_ends("2023-07-01T00:00:00.123456789Z"),
    "an end in another zone": lambda log: log.commit_ends("2023-07-01T00:00:00.000000+02:00"),
    "an end without a zone": lambda log: log.commit_ends("2023-07-01 00:00:00.000000"),
    "an end that is no moment": lambda log: log.commit_ends("2023-13-01T00:00:00.000000Z"),
    "an end after the last hour": lambda log: log.commit_ends("2023-07-01T24:00:00.000000Z"),
    "an end in other digits": lambda log: log.commit_ends("\u0662023-07-01T00:00:00.000000Z"),
    "an owner that is a number": lambda log: log.commit_ends("2023-07-01T00:00:00.000000Z", owner=1),
    "half a sign": lambda log: log.commit_add(stats=HALF_SIGN),
    "half a sign where nobody looks": lambda log: log.commit({"commitInfo": {"a": ["\ud83d"]}}),
    "columns by another name": lambda log: log.change_first("metaData", configuration=MAPPED),
    "files of another format": lambda log: log.change_first("metaData", format={"provider": "csv", "options": {}}),
    "other partitions": lambda log: log.change_first("metaData", partitionColumns=[]),
    "moments without a zone": lambda log: log.change_field(type="timestamp_ntz"),
    "a column that is told more of": lambda log: log.change_field(metadata={"delta.columnMapping.id": 1}),
    "a reader of tomorrow": lambda log: log.change_first("protocol", minReaderVersion=2),
    "a writer of tomorrow": lambda log: log.change_first("protocol", minWriterVersion=3),
    "features of readers": lambda log: log.change_first(
        "protocol", minReaderVersion=3, minWriterVersion=7, readerFeatures=["v2Checkpoint"], writerFeatures=[]
    ),
}


def _add_column(log: SmallLog, name: str) -> None:
    rows = pq.read_table(log.checkpoint)
    pq.write_table(rows.append_column(name, pa.array([1] * len(rows))), log.checkpoint)


@pytest.mark.parametrize("change", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_log_is_left_to_the_library(log: SmallLog, change: Callable[[SmallLog], object]) -> None:
    """The replay refuses it, and what comes out is what the library gives, or its error."""
    change(log)
    with pytest.raises(UnusualLog):
        replay_files(log.folder, PLAYS, log.newest)
    assert _outcome(list_files_at, log) == _outcome(delta_log.list_files_at, log)


def _outcome(list_files: FileLister, log: SmallLog) -> str:
    try:
        return repr(list_files(log.folder, PLAYS, log.newest))
    except ReelportError as error:
        return repr(error)


def test_a_protocol_of_tomorrow_is_refused_by_name(log: SmallLog) -> None:
    """As it ever was, whoever reads the log."""
    log.change_first("protocol", minReaderVersion=2)
    with pytest.raises(NewerData, match="reader 2 and writer 2; this version knows 1 and 2"):
        list_files_at(log.folder, PLAYS, 3)


def test_a_version_that_is_gone_is_refused_as_the_library_does(log: SmallLog, tmp_path: Path) -> None:
    """One that never was, one before what is left of the log, and one of no table at all."""
    log.clean()
    for folder, version in ((log.folder, 4), (log.folder, 1), (tmp_path / "nothing", 0)):
        refused = []
        for list_files in (list_files_at, delta_log.list_files_at):
            with pytest.raises(StorageError) as raised:
                list_files(folder, PLAYS, version)
            refused.append(str(raised.value))
        assert refused[0] == refused[1]


def test_the_cases_are_those_of_a_log_that_is_replayed(log: SmallLog) -> None:
    """What they change is all that is unusual about them."""
    log.commit_statistics()
    log.commit_ends("2023-07-01T00:00:00.123456Z")
    log.change_adds()
    files: tuple[DataFile, ...] = replay_files(log.folder, PLAYS, log.newest)
    assert files == delta_log.list_files_at(log.folder, PLAYS, log.newest)
    log.change_first("protocol")
    assert replay_files(log.folder, PLAYS, log.newest) == files
    assert len(files) == 7


NO_MOMENTS = ["2023-07-01", "2023-07-01T00:00:00Z", "0000-01-01T00:00:00.000000Z", "2023-02-29T00:00:00.000000Z"]
VALUES: list[object] = [None, True, 0, -1, 2**63, 1.5, "", "x", "a b", "%41", "../x", "long", [], {}, *NO_MOMENTS]


@given(data=st.data())
def test_whatever_is_accepted_is_what_the_library_reads(template: SmallLog, data: st.DataObject) -> None:
    """Of a commit with one value changed, or without it: the replay refuses it, or gives what the library gives."""
    with tempfile.TemporaryDirectory() as folder:
        log = template.copy(Path(folder))
        log.checkpoint.unlink()
        log.hint.unlink()
        version = data.draw(st.sampled_from([0, 3]))
        actions = log.read(version)
        place = data.draw(st.integers(1, len(actions) - 1))
        actions[place] = _change(data, actions[place])
        log.path(version).write_text("\n".join(map(json.dumps, actions)))
        with suppress(UnusualLog):
            assert repr(replay_files(log.folder, PLAYS, 3)) == _outcome(delta_log.list_files_at, log)


def _change(data: st.DataObject, value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Change a value somewhere within this one and the JSON in its texts, or take it away."""
    inner = json.loads(value) if isinstance(value, str) and value.startswith("{") else value
    if not inner or not isinstance(inner, dict | list) or not data.draw(st.integers(0, 9)):
        return data.draw(st.sampled_from(VALUES))
    place = data.draw(st.sampled_from(list(inner) if isinstance(inner, dict) else range(len(inner))))
    if data.draw(st.integers(0, 4)):
        inner[place] = _change(data, inner[place])
    else:
        del inner[place]
    return json.dumps(inner) if isinstance(value, str) else inner
