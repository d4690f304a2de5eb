"""What is wrong with the values of a command whose words were wrong already: told beside those, not after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import BoundArguments, signature
from typing import Any, Protocol, runtime_checkable

from reelport.cli.arguments.options import Ask
from reelport.cli.arguments.query_problems import find_ask_problems
from reelport.cli.arguments.usage_errors import find_error
from reelport.cli.output.delivery import Delivery

_CALLING = frozenset({"report", "plan", "sync"})
"""Commands that speak to a service, as whoever is in force."""


@runtime_checkable
class Checked(Protocol):
    """Values of a command line that know what is wrong with them."""

    def problems(self) -> list[str]:
        """What is wrong, a line each."""


def find_value_problems(
    group: str,
    function: Callable[..., object],
    bound: BoundArguments,
    lacking: frozenset[str],
    corrected: frozenset[str] = frozenset(),
) -> list[str]:
    """What is wrong with the values that a command was given, as far as can be told without calling it.

    The options that are `lacking` have a value that nobody gave, those `corrected` another than was given.
    """
    found: list[str] = []
    for value in bound.arguments.values():
        match value:
            case Ask():
                found += find_ask_problems(value, lacking)
            case Delivery() if "--format" in corrected:
                found += replace(value, form=None).problems()
            case Checked() if not bound.arguments.get("keep_windows"):
                found += value.problems()
    for check in _checks(group, function, bound.arguments):
        if (error := find_error(check)) is not None:
            found += str(error).splitlines()
    return list(dict.fromkeys(found))


def _checks(group: str, function: Callable[..., object], given: dict[str, Any]) -> Iterator[Callable[[], object]]:
    takes = set(signature(function).parameters)
    if group == "sync" and "file" in takes:
        from reelport.cli.client_commands.sync import checks_of

        yield from checks_of(function, given)
    if group == "report":
        from reelport.cli.client_commands.report import checks_of as checks_of_report

        yield from checks_of_report(given)
    if group == "fields" and "dimensions" in takes:
        from reelport.cli.client_commands.fields import refuse_names

        yield lambda: refuse_names(*(given.get(part) or [] for part in ("metrics", "dimensions", "filters")))
    if group in _CALLING and {"url", "profile"} <= takes:
        from reelport.cli.client_commands.connection import read_settings

        insecure = given.get("insecure", group == "plan")
        yield lambda: read_settings(given.get("url"), given.get("profile"), insecure=insecure)
