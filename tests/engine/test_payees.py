"""Whom the loaded earnings belong to, as an operator sees it: every payee, what is nobody's, and together the table."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from reelport.catalog import Payee, Role
from reelport.cli.main import main
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.payees import PayeeTotal, sum_by_payee
from reelport.facts.layout import check_layout
from reelport.facts.tables import MONETIZATION_TYPES

from . import sample
from .test_laws import day_of, payee
from .world import World, loaded


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, engine: QueryEngine) -> tuple[Path, World]:
    """A data directory that the fixed facts were loaded into."""
    folder = tmp_path_factory.mktemp("payees") / "data"
    check_layout(folder)
    tables = sample.tables()
    return folder, loaded({name: tables[name] for name in ("earnings", "channels")}, folder, engine)


def by_hand(world: World, start: date, end: date) -> list[PayeeTotal]:
    """The sums of the same rows in plain Python."""
    found: dict[object, list[Mapping[str, object]]] = defaultdict(list)
    for row in world.tables["earnings"]:
        if start <= day_of(row) <= end:
            found[payee(row)].append(row)
    slugs = {row["id"]: row["slug"] for row in world.tables["channels"]}
    sums = [
        (channel, slugs.get(channel), len(rows), *(_sum(rows, column) for column in ("eur", "usd")))
        for channel, rows in found.items()
    ]
    return [PayeeTotal(*one) for one in sorted(sums, key=lambda one: (one[0] is None, str(one[0])))]  # type: ignore[arg-type]  # cells of rows


def _sum(rows: list[Mapping[str, object]], column: str) -> Decimal:
    return sum((Decimal(str(row[column])) for row in rows), Decimal(0))


def test_payees_and_nobody_are_the_whole_table(data: tuple[Path, World]) -> None:
    """Each channel's rows and sums are those of the rule, and together they are all that is loaded."""
    folder, world = data
    found = list(sum_by_payee(folder / "facts", None, None))
    assert found == by_hand(world, sample.FIRST, sample.LAST)
    assert found[-1].channel is None
    assert sum(one.eur for one in found) == _sum(list(world.tables["earnings"]), "eur")
    some = list(sum_by_payee(folder / "facts", sample.START, sample.END))
    assert some == by_hand(world, sample.START, sample.END)
    assert some != found


def test_the_command_shows_payees_nobody_and_the_total(
    data: tuple[Path, World], capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a payee, nobody's, their sum; the same for programs; a range that ends before it begins is refused."""
    folder, world = data

    def run(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["payees", *words, "--data", str(folder)])
        return left.value.code, *capsys.readouterr()

    expected = by_hand(world, sample.FIRST, sample.LAST)
    status, out, _ = run()
    lines = out.splitlines()
    assert (status, len(lines)) == (0, len(expected) + 2)
    assert lines[-2].startswith("(nobody)")
    assert lines[-1].split()[:2] == ["total", f"{len(world.tables['earnings'])}"]
    assert [one["rows"] for one in json.loads(run("--json")[1])] == [one.rows for one in expected]
    status, _, err = run("--start", "2023-07-02", "--end", "2023-07-01")
    assert (status, "is before" in err) == (2, True)


def test_each_kind_of_monetization_has_its_payee() -> None:
    """The kinds are those of the facts, and the empty one; each role can be paid."""
    assert {row.kind for row in Payee} == {*MONETIZATION_TYPES, ""}
    assert {row.role for row in Payee} == set(Role)
