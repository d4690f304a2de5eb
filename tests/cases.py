"""Families of cases: `make test` runs some, `make check` all that meet code of their own, `make test-all` every one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest


def thin_out(cases: Iterable[object], keep: int, *, nightly: bool = False) -> list[pytest.ParameterSet]:
    """All cases, for `parametrize`: of so many in a row the first is always run, the others are long.

    A case of several arguments is a tuple. With `nightly` the others run through the code of the first.
    """
    marks = [pytest.mark.long, *([pytest.mark.nightly] if nightly else [])]
    return [_marked(case, marks if place % keep else []) for place, case in enumerate(cases)]


def keep_one_kind(items: Iterable[pytest.Item], folder: Path, fixture: str) -> None:
    """Leave each test below a folder one of the kinds that a fixture has: with the others it is long.

    The kinds take turns, so that a file meets all of them; the others are for the night.
    """
    of_case: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        indices = item.callspec.indices if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if fixture in indices and folder in item.path.parents:
            others = {name: number for name, number in indices.items() if name != fixture}
            of_case[f"{item.nodeid.partition('[')[0]} {others}"].append(item)
    for turn, same in enumerate(of_case.values()):
        for item in same[: turn % len(same)] + same[turn % len(same) + 1 :]:
            item.add_marker(pytest.mark.long)
            item.add_marker(pytest.mark.nightly)


def _marked(case: object, marks: Collection[pytest.MarkDecorator]) -> pytest.ParameterSet:
    if isinstance(case, pytest.ParameterSet):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, *marks])
    return pytest.param(*(case if type(case) is tuple else (case,)), marks=marks)
