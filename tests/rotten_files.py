"""Files whose bytes are others than those that were written, and rollups that were built wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from reelport.storage.digests import compute_digest


def flip_bit(path: Path, seed: int) -> None:
    """Flip one bit of a file in place, anywhere in it, as a disk may."""
    content = bytearray(path.read_bytes())
    at = random.Random(seed).randrange(8 * len(content))  # noqa: S311 - no secret
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)


def rot_name(path: Path, column: str) -> None:
    """Let a byte of a column's name in a Parquet file's footer be one that UTF-8 has not there."""
    content = bytearray(path.read_bytes())
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[content.index(column.encode(), footer) + 1] = 0xF9
    path.write_bytes(content)


@contextmanager
def rotten(path: Path, seed: int) -> Iterator[None]:
    """Let one bit of a file be flipped for the block."""
    content = path.read_bytes()
    flip_bit(path, seed)
    try:
        yield
    finally:
        path.write_bytes(content)


def double_views(segment: Path) -> None:
    """Let the file of a rollup say twice the views."""
    source = f"SELECT * REPLACE (views * 2 AS views) FROM '{segment}'"
    duckdb.execute(f"COPY ({source}) TO '{segment}.new' (FORMAT PARQUET)")
    Path(f"{segment}.new").replace(segment)


def build_double(segment: Path) -> None:
    """Let the file of a rollup say twice the views, as if that was what a build wrote."""
    double_views(segment)
    set_digest(segment, compute_digest(segment))


def set_digest(segment: Path, digest: str | None) -> None:
    """Let the manifests of a segment record this digest, or none."""
    for manifest in segment.parent.glob("*-*.json"):
        record = json.loads(manifest.read_bytes())
        if record["data"] == segment.name:
            record.pop("sha256", None)
            manifest.unlink()
            manifest.write_text(json.dumps(record if digest is None else {**record, "sha256": digest}))
