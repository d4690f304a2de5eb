"""The address of files in an S3-compatible store, and what is wrong with how it is set.

The store itself is named by the variables that other tools read, too: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. Requests name the bucket in their path ("path style").
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from reelport import local_path
from reelport.wording import advise_extra

PATTERN = r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?)?"
FORM = (
    "s3://bucket or s3://bucket/prefix: a bucket has 3 to 63 lower-case letters, digits, dots and hyphens, a prefix "
    "letters, digits, dots, hyphens and underscores"
)
ENDPOINT, ENDPOINT_S3 = "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"
_KEY_ID, _KEY = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


class S3Address(NamedTuple):
    """A bucket, and the prefix of the names in it: `reports/eu`, or nothing."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse an address that has the form of `PATTERN`."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return cls(bucket, prefix.strip("/"))

    def below(self, name: str) -> Self:
        """Return the address of a folder in this one."""
        return type(self)(self.bucket, f"{self.prefix}/{name}" if self.prefix else name)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    def overlaps(self, other: S3Address) -> bool:
        """Whether files of the one can lie among those of the other."""
        one, two = (f"{address.prefix}/" if address.prefix else "" for address in (self, other))
        return self.bucket == other.bucket and (one.startswith(two) or two.startswith(one))


def find_endpoint(environment: Mapping[str, str]) -> str:
    """Return the address of the store that the environment names; "" for that of AWS."""
    return environment.get(ENDPOINT_S3) or environment.get(ENDPOINT) or ""


def is_loopback(endpoint: str) -> bool:
    """Whether an endpoint is on this machine, where requests may go without TLS."""
    try:
        return local_path.is_loopback(urlsplit(endpoint).hostname or "")
    except ValueError:
        return False


def find_faults(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each thing that keeps a store of these variables from being used."""
    if importlib.util.find_spec("obstore") is None:
        yield f"An object store needs the extra s3: {advise_extra('server,s3', 's3')}."
    for name in (ENDPOINT_S3, ENDPOINT):
        if value := environment.get(name):
            yield from _find_endpoint_faults(name, value)
    for given, missing in ((_KEY_ID, _KEY), (_KEY, _KEY_ID)):
        if environment.get(given) and not environment.get(missing):
            yield f"{missing}: {given} is set, and this is not: an object store needs both, or neither."


def _find_endpoint_faults(name: str, value: str) -> Iterator[str]:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in {"http", "https"} or parts.username is not None:
        # Without the value, which may hold a password.
        yield f"{name}: It is an address such as https://s3.example.com, without a user."
    elif parts.scheme == "http" and not is_loopback(value):
        yield f"{name}: Files and signatures would travel unencrypted to {host}: use https. http is for this machine."
