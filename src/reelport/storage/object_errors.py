"""Errors of an object store in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from reelport.errors import StorageError, StoreUnavailable
from reelport.storage.store_outage import describe_failure, describe_outage, quotes_token, shorten_message


@contextmanager
def translate_object_errors(place: str) -> Iterator[None]:
    """Turn the library's errors into a StorageError that names the place.

    It is StoreUnavailable where the store can't be reached, or refuses for now or these credentials.
    """
    try:
        yield
    except BaseError as error:
        message = str(error)
        if (outage := describe_outage(message)) is None:
            raise StorageError(f"{place}: {_describe(message)}") from error
        cause = None if quotes_token(message) else error
        raise StoreUnavailable(f"{place}: {outage}") from cause


def _describe(message: str) -> str:
    line = shorten_message(message)
    if "<Code>NoSuchBucket</Code>" in line:
        return "the store has no such bucket: make it, or name another"
    return describe_failure(line)
