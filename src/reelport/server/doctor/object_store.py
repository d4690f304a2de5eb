"""Checks the object store of the settings: writes a probe, reads it, and deletes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from reelport.errors import StorageError
from reelport.facts.log.log_files import open_store
from reelport.server.credentials import short_id
from reelport.server.settings import Settings
from reelport.storage.file_store import FileStore, read_file

_PROBES = "probes"
"""A name beside those of the tables."""
_CONTENT = b"written by reelport doctor"


def check_object_store(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that files can be put, read and deleted there, and that a name is taken once."""
    if settings.facts_url:
        yield from _check(open_store(settings.facts_root / _PROBES), settings.facts_url)
    if settings.files_url:
        yield from _check(settings.report_store, settings.files_url)


def _check(store: FileStore, url: str) -> Iterator[tuple[bool, str]]:
    name = f".probe-{short_id()}"
    started = time.perf_counter()
    try:
        store.put(name, _CONTENT, is_new=True)
        well = read_file(store, name) == _CONTENT
        took = time.perf_counter() - started
        yield well, f"{url}: {f'A probe was put and read in {took * 1000:.0f} ms' if well else 'It gives other bytes'}."
        yield _check_condition(store, name, url)
    except BaseException:  # a Ctrl-C too must leave no probe behind; it is raised again
        with suppress(StorageError):  # the first error says more
            store.delete(name)
        raise
    store.delete(name)


def _check_condition(store: FileStore, name: str, url: str) -> tuple[bool, str]:
    try:
        store.put(name, _CONTENT, is_new=True)
    except FileExistsError:
        return True, f"{url}: Of two writers of one name it takes the first."
    return False, f"{url}: It ignores the condition If-None-Match of a put: of two loads at once one could be lost."
