"""Errors of an object store in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from reelport.errors import StorageError
from reelport.storage import expired_token
from reelport.storage.durable import to_plain_line

_LONGEST = 300
_REFUSED = "the store refuses these credentials: look at AWS_ACCESS_KEY_ID and what it may do with the bucket"


@contextmanager
def translate_object_errors(place: str) -> Iterator[None]:
    """Turn the library's errors into a StorageError that names the place."""
    try:
        yield
    except BaseError as error:
        if expired_token.quotes_token(str(error)):
            raise StorageError(f"{place}: {expired_token.SENTENCE}") from None
        raise StorageError(f"{place}: {_describe(error)}") from error


def _describe(error: BaseError) -> str:
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return _REFUSED
    # What follows are dumps of the library's own structures.
    line = to_plain_line(str(error).partition("Debug source")[0])
    if "<Code>NoSuchBucket</Code>" in line:
        return "the store has no such bucket: make it, or name another"
    return f"the object store fails: {line[:_LONGEST]}"
