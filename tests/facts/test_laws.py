"""Laws of loading, tried on many inputs: no text is changed by CSV, and no order of loads changes a sum."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from reelport.facts.batches import undo
from reelport.facts.compaction import compact
from reelport.facts.inputs import Form, Input
from reelport.facts.loading import load
from reelport.facts.reading import batches, header_of
from reelport.facts.snapshot import pin
from reelport.facts.workspace import parquet_source

Cells = Sequence[Sequence[str]]
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=150, deadline=None)
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
        found = Input(path, Form.CSV, None, (0, 0, 0))
        refused: list[object] = []
        names = header_of(found)
        read = [
            tuple(row[name] for name in names)
            for batch in batches([(0, found)], names, lambda *bad: refused.append(bad))
            for row in batch.to_pylist()
        ]
    assert refused == []
    assert read == [tuple(row) for row in rows]


STEP = st.tuples(st.sampled_from(["load", "replace", "undo", "compact"]), st.integers(0, 2), st.integers(1, 4))


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(STEP, min_size=2, max_size=7))
def test_any_order_of_loads_gives_what_a_plain_model_gives(steps: list[tuple[str, int, int]]) -> None:
    """Loads, replacements, undos and compactions agree with a list of rows kept by hand."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "facts"
        model: dict[int, list[int]] = {}
        for kind, number, day in steps:
            path = Path(folder) / f"{number}.csv"
            days = [1 + (number + shift) % 4 for shift in range(2)]
            path.write_text("day,owner_channel_id,eur,usd\n" + "".join(f"2023-07-0{d},c,{number},1\n" for d in days))
            match kind:
                case "load":
                    done = load(root, "earnings", [path], memory="100MB", threads=1)
                    if not done.already:
                        for one in days:
                            model.setdefault(one, []).append(number)
                case "replace":
                    path.write_text(f"day,owner_channel_id,eur,usd\n2023-07-0{day},c,{number + 10},1\n")
                    end = min(day + 1, 4)
                    span = (date(2023, 7, day), date(2023, 7, end))
                    load(root, "earnings", [path], replace=span, memory="100MB", threads=1)
                    for one in range(day, end + 1):
                        model[one] = [number + 10] if one == day else []
                case "undo":
                    done = load(root, "earnings", [path], memory="100MB", threads=1)
                    if not done.already:
                        undo(root, done.batch)
                case _:
                    compact(root, today=date(2023, 9, 1), memory="100MB")
        assert _seen(root) == sorted((day, number) for day, held in model.items() for number in held)


def _seen(root: Path) -> list[tuple[int, int]]:
    files = list(pin(root, ["earnings"]).files("earnings"))
    if not files:
        return []
    with duckdb.connect() as session:
        query = f"SELECT day(day), CAST(eur AS INTEGER) FROM {parquet_source(files)} ORDER BY ALL"
        return session.execute(query).fetchall()
