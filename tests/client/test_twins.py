"""The blocking and the asyncio classes: the same methods, with the same arguments and the same promises."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from reelport import AsyncClient, AsyncReport, Client, Report
from reelport.client.reports import AsyncReports, Reports


@dataclass
class Twins:
    """A blocking class and the one for asyncio; `unlike` are arguments whose defaults or types must differ."""

    blocking: type
    asyncio: type
    unlike: frozenset[str] = frozenset()


TWINS = [
    Twins(Client, AsyncClient, frozenset({"transport", "sleep"})),
    Twins(Reports, AsyncReports, frozenset({"run"})),
    Twins(Report, AsyncReport, frozenset({"run"})),
]


def methods(owner: type) -> list[str]:
    """The names that a person may call."""
    return [name for name in dir(owner) if not name.startswith("_")]


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.blocking.__name__)
def test_each_method_has_one_text_that_help_shows_for_both(twins: Twins) -> None:
    """What an editor or `help()` finds is a text, and the same one."""
    assert methods(twins.blocking) == methods(twins.asyncio)
    for name in methods(twins.blocking):
        text = inspect.getdoc(getattr(twins.blocking, name))
        assert text, name
        assert inspect.getdoc(getattr(twins.asyncio, name)) == text


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.blocking.__name__)
def test_both_take_the_same_arguments(twins: Twins) -> None:
    """In one order, with the same defaults: who changes from one to the other adds `await` alone."""
    called = [
        name for name in ["__init__", *methods(twins.blocking)] if inspect.isfunction(getattr(twins.blocking, name))
    ]
    for name in called:
        ours, theirs = (
            {each.name: each for each in inspect.signature(getattr(owner, name)).parameters.values()}
            for owner in (twins.blocking, twins.asyncio)
        )
        assert list(ours) == list(theirs), name
        assert all(ours[each] == theirs[each] for each in ours if each not in twins.unlike), name
