"""Families of cases of which `make test` runs some, and `make check` every one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def thin_out(cases: Iterable[object], keep: int) -> list[ParameterSet]:
    """All cases, for `parametrize`: of so many in a row the first is always run, the others are long.

    A case of several arguments is a tuple.
    """
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long if place % keep else ())
        for place, case in enumerate(cases)
    ]
