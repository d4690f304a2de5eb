"""Reads the settings of the service, and says where its files lie by them.

A value comes from a command-line option, else from the environment variable `REELPORT_<NAME>`, else from the default
in `setting_table`. Nothing else reads the environment, but an object store's client and
OpenTelemetry: the variables by which other programs find theirs, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from reelport.engine.memory_size import parse_size
from reelport.errors import UsageError
from reelport.server.setting import parse_value
from reelport.server.setting_table import SettingTable
from reelport.storage import s3_address
from reelport.storage.digests import CHECKED_BYTES
from reelport.storage.file_store import FileStore
from reelport.storage.local_folder import LocalFolder
from reelport.storage.modes import Readers
from reelport.storage.s3_address import S3Address

PREFIX = "REELPORT_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(SettingTable):
    """Settings of a service, its workers and commands. Only `read_settings` checks them."""

    @property
    def facts_root(self) -> Path:
        """Directory of the fact tables, or what stands for them in this process."""
        root = self.data / "facts"
        if self.facts_url:
            from reelport.facts.log.remote_tables import RemoteTables, attach_tables  # noqa: PLC0415 - needs POSIX
            from reelport.storage.file_cache import FileCache  # noqa: PLC0415 - the same

            cache = FileCache(self.cache_root, parse_size(self.cache_size), "facts/", CHECKED_BYTES)
            attach_tables(root, RemoteTables(S3Address.parse(self.facts_url), cache))
        return root

    @property
    def readers(self) -> Readers:
        """Who may read the data directory."""
        return Readers(self.readable_by)

    @property
    def files_root(self) -> Path:
        """Directory of report files: finished ones, or with `files_url` just those being written."""
        return self.data / "files"

    @property
    def report_store(self) -> FileStore:
        """The store of finished report files."""
        if not self.files_url:
            return LocalFolder(self.files_root)
        from reelport.storage.file_cache import FileCache  # noqa: PLC0415 - needs POSIX
        from reelport.storage.object_store import ObjectStore  # noqa: PLC0415 - loads a library that few need

        cache = FileCache(self.cache_root, parse_size(self.cache_size), "files/", CHECKED_BYTES)
        drafts = LocalFolder(self.files_root)
        return ObjectStore(S3Address.parse(self.files_url), drafts, cache, self.link_signer == "store")

    @property
    def cache_root(self) -> Path:
        """Directory of copies of an object store's files, which can be fetched again."""
        return self.data / "cache"

    @property
    def spill_root(self) -> Path:
        """Directory where workers spill what doesn't fit into their memory."""
        return self.data / "spill"

    @property
    def workers_root(self) -> Path:
        """Directory of the lock files by which live workers of this machine are known."""
        return self.data / "workers"

    @property
    def state_file(self) -> Path:
        """The SQLite database file, used unless `database_url` is set."""
        return self.data / "state.db"

    def environment(self) -> dict[str, str]:
        """Return these settings as environment variables, for a child process."""
        values = {name: value for name in setting_names() if (value := getattr(self, name)) is not None}
        if self.secret is not None:
            values["secret"] = self.secret.text
        return {variable_name(name): str(value) for name, value in values.items()}


def setting_names() -> tuple[str, ...]:
    """List the names of all settings."""
    return tuple(field.name for field in fields(Settings))


def variable_name(name: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{PREFIX}{name.upper()}"


def read_settings(**given: object) -> Settings:
    """Read the settings: given, environment, default. UsageError lists every wrong one.

    A given None and an empty environment variable count as not given.
    """
    kinds = get_type_hints(Settings)
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for field in fields(Settings):
        value = given.get(field.name)
        if value is None:
            value = os.environ.get(variable_name(field.name)) or field.default
        try:
            values[field.name] = None if value is None else parse_value(kinds[field.name], field.metadata, value)
        except ValueError as error:
            wrong.append(f"{variable_name(field.name)} (--{field.name.replace('_', '-')}): {error}")
    wrong += _find_store_faults(values.get("facts_url"), values.get("files_url"))
    if values.get("engine") and values.get("facts_url"):
        wrong.append(
            f"{variable_name('engine')}: Spark doesn't see tables in an object store: leave one of the two out."
        )
    if wrong:
        raise UsageError("\n".join(wrong))
    return Settings(**values)


def _find_store_faults(facts: str | None, files: str | None) -> Iterator[str]:
    """Say what keeps the object store from being used, if any setting names one."""
    if facts or files:
        yield from s3_address.find_faults(os.environ)
    if facts and files and S3Address.parse(facts).overlaps(S3Address.parse(files)):
        yield f"{variable_name('facts_url')} and {variable_name('files_url')}: One is in the other: take two prefixes."
