"""`serve` and `worker`: the service at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from cyclopts import Parameter, Token

from reelport.facts.modes import let_read
from reelport.server.setting import Secret
from reelport.server.settings import Settings, read


def _written(_: type, words: Sequence[Token]) -> str:
    """A flag's value as it was written: all that is wrong with settings is told at once, when they are read."""
    return words[0].value


def _flags() -> list[tuple[str, Any, None]]:
    """A flag for each setting, absent unless it is given: its default is told with what it is for."""
    kinds: dict[str, Any] = get_type_hints(Settings)
    flags = []
    for field in fields(Settings):
        kind = str if kinds[field.name] == Secret | None else kinds[field.name]
        default = "" if field.default in {None, ""} else f" [default: {field.default}]"
        help_ = field.metadata["description"] + default
        flags.append((field.name, Annotated[kind | None, Parameter(help=help_, converter=_written)], None))
    return flags


if TYPE_CHECKING:

    class Flags:
        """The flags that were given."""

else:
    Flags = make_dataclass("Flags", _flags(), kw_only=True, namespace={"__module__": __name__})

AllSettings = Annotated[Flags | None, Parameter(name="*")]


def serve(*, settings: AllSettings = None) -> None:
    """Run the Reporting API and its workers, until SIGTERM or Ctrl-C.

    Example: reelport serve --data reelport-data --port 8642
    """
    used = _read(settings)
    from reelport.server.serve import serve as run

    run(used)


def worker(*, settings: AllSettings = None) -> None:
    """Run a worker for a service that runs elsewhere, until SIGTERM or Ctrl-C; one that dies is replaced.

    Example: reelport worker --data reelport-data
    """
    used = _read(settings)
    from reelport.server import logs
    from reelport.server.supervisor import supervise

    logs.configure(used)
    supervise(used)


def _read(flags: Flags | None) -> Settings:
    settings = read(**({} if flags is None else vars(flags)))
    let_read(settings.readers)
    return settings
