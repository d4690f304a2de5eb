"""Find problems of values when the words are wrong too, so that one error lists all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from inspect import BoundArguments, signature
from typing import Any, Protocol, runtime_checkable

from reelport.cli.arguments.options import QueryOptions, ServiceOptions
from reelport.cli.arguments.query_problems import find_ask_problems
from reelport.cli.arguments.usage_errors import find_error
from reelport.cli.output.delivery import Delivery

_CALLING = frozenset({"report", "plan", "sync"})
"""Commands that call a service, with the settings in force."""


@runtime_checkable
class Checkable(Protocol):
    """Values of a command line that can list their own problems."""

    def problems(self) -> list[str]:
        """Return the problems, one line each."""


def find_value_problems(
    group: str,
    function: Callable[..., object],
    bound: BoundArguments,
    lacking: frozenset[str],
    corrected: frozenset[str] = frozenset(),
) -> list[str]:
    """Find what is wrong with a command's values, as far as can be told without calling it.

    Options in `lacking` and `corrected` hold a stand-in: the user gave them no value, or an invalid one.
    """
    found: list[str] = []
    for value in bound.arguments.values():
        match value:
            case QueryOptions():
                found += find_ask_problems(value, lacking)
            case Delivery() if "--format" in corrected:
                found += replace(value, form=None).problems()
            case Checkable() if not bound.arguments.get("keep_windows"):
                found += value.problems()
    for check in _list_checks(group, function, bound.arguments):
        if (error := find_error(check)) is not None:
            found += str(error).splitlines()
    return list(dict.fromkeys(found))


def _list_checks(group: str, function: Callable[..., object], given: dict[str, Any]) -> Iterator[Callable[[], object]]:
    takes = set(signature(function).parameters)
    if group == "sync" and "file" in takes:
        from reelport.cli.client_commands.sync import list_checks

        yield from list_checks(function, given)
    if group == "report":
        from reelport.cli.client_commands.report import list_checks as list_report_checks

        yield from list_report_checks(given)
    if group == "fields" and "dimensions" in takes:
        from reelport.cli.client_commands.fields import refuse_names

        yield lambda: refuse_names(*(given.get(part) or [] for part in ("metrics", "dimensions", "filters")))
    if group in _CALLING and not takes.isdisjoint({"service", "url"}):
        from reelport.cli.client_commands.connection import read_settings

        own = ServiceOptions(profile=given.get("profile"), url=given.get("url"), insecure=group == "plan")
        yield partial(read_settings, given.get("service", own))
