"""Errors of an object store in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from reelport.errors import StorageError
from reelport.storage.durable import to_plain_line

_LONGEST = 300
_TOKEN_CODES = re.compile(r"<Code>(ExpiredToken|InvalidToken|TokenRefreshRequired)</Code>")
"""The answers that quote the session token."""
_EXPIRED_SENTENCE = (
    "the store says that these credentials have expired: look at AWS_SESSION_TOKEN, and start again with new ones"
)
_REFUSED = "the store refuses these credentials: look at AWS_ACCESS_KEY_ID and what it may do with the bucket"


@contextmanager
def translate_object_errors(place: str) -> Iterator[None]:
    """Turn the library's errors into a StorageError that names the place."""
    try:
        yield
    except BaseError as error:
        if _TOKEN_CODES.search(str(error)):
            raise StorageError(f"{place}: {_EXPIRED_SENTENCE}") from None  # the error quotes the token
        raise StorageError(f"{place}: {_describe(error)}") from error


def _describe(error: BaseError) -> str:
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return _REFUSED
    # What follows are dumps of the library's own structures.
    line = to_plain_line(str(error).partition("Debug source")[0])
    if "<Code>NoSuchBucket</Code>" in line:
        return "the store has no such bucket: make it, or name another"
    return f"the object store fails: {line[:_LONGEST]}"
