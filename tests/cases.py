"""Families of cases of which `make test` runs some, and `make check` every one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def thin_out(cases: Iterable[object], keep: int) -> list[pytest.ParameterSet]:
    """All cases, for `parametrize`: of so many in a row the first is always run, the others are long.

    A case of several arguments is a tuple.
    """
    return [_marked(case, is_long=place % keep > 0) for place, case in enumerate(cases)]


def _marked(case: object, *, is_long: bool) -> pytest.ParameterSet:
    marks = [pytest.mark.long] if is_long else []
    if isinstance(case, pytest.ParameterSet):
        return pytest.param(*case.values, id=case.id, marks=[*case.marks, *marks])
    return pytest.param(*(case if type(case) is tuple else (case,)), marks=marks)
