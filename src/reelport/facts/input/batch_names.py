"""Name the batch that a load's files make, and refuse a file that is given twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow.parquet as pq

from reelport.errors import BadInput, StorageError
from reelport.facts.damage import DAMAGE_ERRORS
from reelport.facts.input.files import READ_ERRORS, FileFormat, InputFile, damaged_sentence
from reelport.facts.input.text_batches import LineReader, read_records
from reelport.facts.tables import Table

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BatchName:
    """The name of a load's batch, whatever the order of its files.

    `former` is what it was called while the order of the files still counted. `files` are for each file, in the order
    given, the names that the batch of it alone would have, without days to replace: by its bytes and, of a compressed
    file of facts, by what it holds.
    """

    name: str
    former: str
    files: tuple[tuple[str, ...], ...]


def name_batch(
    table: Table,
    mapping: str | None,
    span: tuple[str, str] | None,
    files: Sequence[InputFile],
    *,
    again: bool = False,
) -> BatchName:
    """Name a load: the same bytes, table, mapping and days give the same, in any order.

    The mapping's line ends don't count: CRLF names the same batch as LF. Raises BadInput where two files of facts hold
    the same rows, compressed or not, unless `again`, and where a compressed one is damaged.
    """
    digests = [_hash_file(file) for file in files]
    # Objects may be loaded any number of times: what a compressed file of them holds needs no name.
    contents = (
        [_hash_contents(file, digest) for file, digest in zip(files, digests, strict=True)]
        if table.is_fact
        else digests
    )
    if table.is_fact and not again:
        _refuse_twins(files, contents)
    return BatchName(
        _hash_load(table, mapping, span, sorted(digests)),
        _hash_load(table, mapping, span, digests),
        tuple(
            tuple(_hash_load(table, mapping, None, [one]) for one in dict.fromkeys(both))
            for both in zip(digests, contents, strict=True)
        ),
    )


def _hash_load(table: Table, mapping: str | None, span: tuple[str, str] | None, digests: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    asked = (mapping or "").replace("\r\n", "\n").replace("\r", "\n")
    for part in ("reelport-batch-1", table.name, asked, *(span or ("", ""))):
        digest.update(hashlib.sha256(part.encode()).digest())
    for one in digests:
        digest.update(one)
    return digest.hexdigest()[:16]


def _hash_file(file: InputFile) -> bytes:
    try:
        with file.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise StorageError(f"{file.path} can't be read: {error.strerror}") from error


def _hash_contents(file: InputFile, packed: bytes) -> bytes:
    """Hash what a compressed file holds; the hash of the bytes, `packed`, of any other."""
    if file.compression is None:
        return packed
    digest = hashlib.sha256()
    try:
        with file.open() as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except READ_ERRORS as error:
        raise BadInput(damaged_sentence(file, error)) from error
    return digest.digest()


def _refuse_twins(files: Sequence[InputFile], digests: Sequence[bytes]) -> None:
    """Raise BadInput for files with the contents of an earlier one of the same load."""
    first: dict[bytes, InputFile] = {}
    twins = [
        f"{file.path} has the same contents as {same.path}: is it the same file twice?"
        for file, digest in zip(files, digests, strict=True)
        if (same := first.setdefault(digest, file)) is not file and has_rows(file)
    ]
    if twins:
        remedy = "nothing was loaded, as their rows would count twice: name one of them, or say --again if both count"
        raise BadInput("\n".join([*twins, remedy]))


def has_rows(file: InputFile) -> bool:
    """Whether the file has more than a header; such files are alike and no mistake."""
    try:
        if file.format is FileFormat.PARQUET:
            return bool(pq.read_metadata(file.path).num_rows)
        if file.format is FileFormat.NDJSON:
            return True
        with file.open() as stream:
            return next(islice(read_records(LineReader(stream, file)), 1, None), None) is not None
    except (BadInput, *READ_ERRORS, *DAMAGE_ERRORS):
        return True
