"""Every setting of the service in one table: name, type, default, sentence.

A setting comes from a flag, else from the environment (`REELPORT_<NAME>`), else
from the default here. Nothing else reads the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from reelport.catalog import Limit
from reelport.errors import UsageError

PREFIX = "REELPORT_"


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class Settings(BaseSettings):
    """What one service, its workers and its commands agree on; frozen once read."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    # Where things are
    data: Annotated[Path, AfterValidator(_absolute)] = Field(
        Path("reelport-data"),
        validate_default=True,
        description="Directory of the tables, the state and the finished files.",
    )
    database_url: str = Field("", description="PostgreSQL address of the state; empty: SQLite in the data directory.")
    secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="What keys and links are sealed with; empty: the file secret.key in the data directory.",
    )

    # The wire
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8642, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str = Field("", description="Address that links begin with; empty: the one that the caller used.")
    link_seconds: int = Field(900, ge=1, description="Life of a download link, signed anew at each look.")
    look_seconds: int = Field(
        10, ge=0, le=3600, description="Longest time that a look is held whose caller prefers to wait; 0: none is held."
    )
    held_looks: int = Field(100, ge=0, description="Looks held at the same time; beyond them each is answered at once.")
    token_seconds: int = Field(Limit.TOKEN_SECONDS.default, ge=1, description="Life of an access token.")
    body_bytes: int = Field(1_048_576, ge=1024, description="Longest request body.")
    document_tokens: int = Field(4000, ge=50, description="Most tokens in one GraphQL document.")
    document_depth: int = Field(15, ge=5, description="Deepest nesting of one GraphQL document, fragments expanded.")
    document_aliases: int = Field(50, ge=1, description="Most aliased fields of one GraphQL document.")

    # Reports
    running_limit: int = Field(Limit.RUNNING_REPORTS.default, ge=1, description=Limit.RUNNING_REPORTS.sentence)
    waiting_limit: int = Field(100, ge=1, description="Reports of one partner that may wait.")
    queue_policy: Literal["queue", "refuse"] = Field(
        "queue", description="What becomes of a report beyond the running ones: it waits, or is refused."
    )
    dimension_limit: int = Field(Limit.DIMENSIONS.default, ge=1, description=Limit.DIMENSIONS.sentence)
    day_limit: int = Field(Limit.RANGE_DAYS.default, ge=1, description=Limit.RANGE_DAYS.sentence)
    retention_hours: float = Field(Limit.RETENTION_HOURS.default, gt=0, description=Limit.RETENTION_HOURS.sentence)
    inferred: Literal["as listed", "permissive"] = Field(
        "as listed", description="Whether rows of the matrix that are only inferred refuse what they don't list."
    )

    # Workers
    workers: int = Field(1, ge=0, le=64, description="Worker processes that serve starts; 0 for none.")
    slots: int = Field(
        3,
        ge=1,
        le=64,
        description="Reports that one worker makes at the same time; more than --running-limit leave room for others.",
    )
    worker_memory: str = Field(
        "2GB", pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$", description="Memory of one worker's engine."
    )
    worker_threads: int = Field(0, ge=0, le=1024, description="Threads of one worker's engine; 0: one a core.")
    generation_seconds: int = Field(
        Limit.GENERATION_SECONDS.default, ge=1, description="Longest time that one attempt at a report may take."
    )
    attempts: int = Field(3, ge=1, description="How often a report is tried before it fails.")
    lease_seconds: float = Field(30, ge=1, description="How long a worker that gives no sign of life keeps its report.")
    drain_seconds: float = Field(5, ge=0, description="Time that running reports get to end when a worker is stopped.")
    sweep_seconds: float = Field(60, gt=0, description="How often what is over is swept away.")

    # What is said
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @property
    def facts_root(self) -> Path:
        """Where the tables lie."""
        return self.data / "facts"

    @property
    def files_root(self) -> Path:
        """Where finished files lie."""
        return self.data / "files"

    @property
    def spill_root(self) -> Path:
        """Where workers put what doesn't fit into their memory."""
        return self.data / "spill"

    @property
    def workers_root(self) -> Path:
        """Where living workers of this machine are known by."""
        return self.data / "workers"

    @property
    def state_file(self) -> Path:
        """The SQLite file of the state, in use unless `database_url` is set."""
        return self.data / "state.db"

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a process that shall have the same."""
        values = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        if self.secret is not None:
            values["secret"] = self.secret.get_secret_value()
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}


def read(**given: object) -> Settings:
    """The settings from what was given, the environment and the defaults; UsageError lists every wrong one."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise refused(error) from None


def refused(error: ValidationError) -> UsageError:
    """What is wrong with settings, one line each, by the names that people set."""
    return UsageError("\n".join(_sentence(dict(wrong)) for wrong in error.errors()))


def _sentence(wrong: dict[str, object]) -> str:
    place = wrong["loc"]
    name = ".".join(str(step) for step in place) if isinstance(place, tuple) else str(place)
    said = wrong["msg"]
    if wrong["type"] == "string_pattern_mismatch":  # a size: no other setting has a pattern
        said = f"It is a number and a unit, such as 2GB, and not {str(wrong['input'])[:80]!r}."
    return f"{PREFIX}{name.upper()} (--{name.replace('_', '-')}): {said}"
