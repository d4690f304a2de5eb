"""Laws of reading, tried on many inputs: no text is changed by CSV."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reelport.facts.input.files import FileFormat, InputFile
from reelport.facts.input.progress import ProgressMeter
from reelport.facts.input.text_batches import read_batches, read_header

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
