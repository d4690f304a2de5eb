"""The format of a file is what is in it, and no text is changed by CSV."""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelport.errors import BadInput
from reelport.facts.input.files import FileFormat, InputFile, ProgressMeter
from reelport.facts.input.text_batches import read_batches, read_header
from reelport.facts.loading.load import load


@pytest.mark.parametrize("name", ["c.csv", "c.ndjson", "c.json", "c.parquet", "c.txt", "c"])
@pytest.mark.parametrize(
    "content",
    [
        b"id,slug\n1,a\n",
        b"\xef\xbb\xbfid,slug\n1,a\n",
        b'{"id":"1","slug":"a"}\n',
        b'\n {"slug":"a","id":"1"}',
        gzip.compress(b'{"id":"1","slug":"a"}\n'),
        b"",
    ],
    ids=["CSV", "marked CSV", "NDJSON", "NDJSON behind blanks", "packed NDJSON", "Parquet"],
)
def test_what_a_file_is_is_read_off_its_first_bytes(tmp_path: Path, root: Path, name: str, content: bytes) -> None:
    """Whatever its name ends with: the same row is loaded."""
    path = tmp_path / name
    path.write_bytes(content)
    if not content:
        pq.write_table(pa.table({"id": ["1"], "slug": ["a"]}), path)
    assert load(root, "channels", [path]).rows == 1


def test_a_header_in_brackets_is_no_json_list(tmp_path: Path, root: Path) -> None:
    """Some databases write names so: it is a CSV, with columns of other names."""
    path = tmp_path / "c"
    path.write_text("[id],[slug]\n1,a\n")
    with pytest.raises(BadInput, match=r"unknown column '\[id\]'"):
        load(root, "channels", [path])


Cells = Sequence[Sequence[str]]
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=settings().max_examples * 5 // 2)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_every_text_survives_csv(rows: Cells, quoting: int, ending: str) -> None:
    """Whatever a writer of RFC 4180 wrote is read as it was: quotes, commas, line ends and all scripts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=quoting, lineterminator=ending)  # type: ignore[arg-type]
            if quoting == csv.QUOTE_MINIMAL:
                # Python's writer leaves a bare carriage return unquoted, which is no CSV.
                rows = [[cell.replace("\r", "") for cell in row] for row in rows]
            writer.writerows([("a", "b", "c"), *rows])
        found = InputFile(path, FileFormat.CSV, None, (0, 0, 0))
        refused: list[object] = []
        names = read_header(found)
        read = [
            tuple(row[name] for name in names)
            for batch in read_batches(
                [(0, found)], names, lambda *bad: refused.append(bad), ProgressMeter([found], lambda _: None)
            )
            for row in batch.to_pylist()
        ]
    assert refused == []
    assert read == [tuple(row) for row in rows]
