"""The format of a file is what is in it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelport.errors import BadInput
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
