"""`serve` and `worker`: run the service or a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from cyclopts import Parameter, Token

from reelport.cli.arguments.environment_variables import find_unknown_variables, refuse_mistyped_variables
from reelport.cli.arguments.usage_errors import refuse_together
from reelport.cli.service_commands.access import use_settings
from reelport.server.masking import hide_passwords
from reelport.server.settings import Secret, Settings, read_settings, variable_name


def _keep_as_written(_: type, words: Sequence[Token]) -> str:
    """Keep a flag's value as text: reading the settings reports all of their problems at once."""
    return words[0].value


def _build_flags(*, worker: bool) -> list[tuple[str, Any, None]]:
    """Build a flag for each setting that is read; absent it is None, and help says the default."""
    kinds: dict[str, Any] = get_type_hints(Settings)
    flags = []
    for field in fields(Settings):
        if worker and not field.metadata["worker"]:
            continue
        kind = str if kinds[field.name] == Secret | None else kinds[field.name]
        default = "" if field.default in {None, ""} else f" [default: {field.default}]"
        help_ = f"{field.metadata['description']} [env var: {variable_name(field.name)}]{default}"
        flags.append((field.name, Annotated[kind | None, Parameter(help=help_, converter=_keep_as_written)], None))
    return flags


class _GivenFlags:
    """The flags of a command line."""


if TYPE_CHECKING:

    class Flags(_GivenFlags):
        """A flag for each setting."""

    class WorkerFlags(_GivenFlags):
        """A flag for each setting that a worker reads."""

else:
    _MADE = {"kw_only": True, "bases": (_GivenFlags,), "namespace": {"__module__": __name__}}
    Flags = make_dataclass("Flags", _build_flags(worker=False), **_MADE)
    WorkerFlags = make_dataclass("WorkerFlags", _build_flags(worker=True), **_MADE)

AllSettings = Annotated[Flags | None, Parameter(name="*")]
WorkerSettings = Annotated[WorkerFlags | None, Parameter(name="*")]


def serve(*, settings: AllSettings = None) -> None:
    """Run the Reporting API and its workers, until SIGTERM or Ctrl-C.

    Example: reelport serve --data reelport-data --port 8642

    A flag goes before its variable, which goes before the default.
    """
    used = _start_log(settings)
    from reelport.server.serve import serve as run

    run(used)


def worker(*, settings: WorkerSettings = None) -> None:
    """Run a worker for a service elsewhere, until SIGTERM or Ctrl-C; a dead one is replaced.

    Example: reelport worker --data reelport-data

    A flag goes before its variable, which goes before the default.
    """
    used = _start_log(settings)
    from reelport.server.queue.supervisor import supervise

    supervise(used)


def _start_log(flags: _GivenFlags | None) -> Settings:
    """Read the settings, configure the log, and log warnings about how they were given.

    Raises UsageError with each wrong setting and each mistyped variable.
    """
    given = {} if flags is None else vars(flags)
    refuse_together(lambda: read_settings(**given), refuse_mistyped_variables)
    settings = use_settings(**given)
    from reelport.server.log_library import import_structlog

    import_structlog()
    from reelport.server import logs

    logs.configure(settings)
    import structlog

    log = structlog.get_logger(__name__)
    for unknown in find_unknown_variables():
        log.warning("unknown variable", reason=str(unknown))
    for sentence in _find_visible_secrets(given):
        log.warning("others can see a secret", reason=sentence)
    return settings


def _find_visible_secrets(given: Mapping[str, str | None]) -> Iterator[str]:
    if given.get("secret"):
        yield _format_visible_secret(
            "--secret", variable_name("secret"), "or in the file secret.key of the data directory"
        )
    address = given.get("database_url") or ""
    if hide_passwords(address) != address:
        yield _format_visible_secret(
            "--database-url with a password", variable_name("database_url"), "or the password in ~/.pgpass"
        )
    if "token=" in (given.get("engine") or ""):
        yield _format_visible_secret("--engine with a token", variable_name("engine"), "which no list shows")


def _format_visible_secret(option: str, name: str, otherwise: str) -> str:
    return f"{option} is seen by everybody who can list this machine's processes: give it as {name}, {otherwise}."
