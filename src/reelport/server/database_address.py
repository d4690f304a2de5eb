"""The address of a PostgreSQL, as REELPORT_DATABASE_URL gives it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from reelport.errors import UsageError
from reelport.server.masking import EXAMPLE

PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "connect_timeout": "10",
        # A host that went away without a word is noticed after a minute, and not after the system's two hours; where
        # something was sent to it, after ten seconds.
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
        "fallback_application_name": "reelport",
        # Else a role's, a database's or PGCLIENTENCODING's holds, in which a name may not fit, or be bytes. It is in
        # capitals, as the server tells it: a proxy would set another spelling anew each time.
        "client_encoding": "UTF8",
    }
)
"""Parameters of every connection, where the address doesn't give others."""

_UNCLEAR = (
    "REELPORT_DATABASE_URL: it isn't clear where its password ends: in a user's name and a password write @ as %40, "
    "/ as %2F, : as %3A, % as %25; in what follows them @ as %40."
)
_PORT = "5432"
_SEVERAL_HOSTS = re.compile(
    r"(?P<user>\w+(?:\+\w+)?://(?:[^/?@]*@)?)(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>(?:[/?].*)?)", re.DOTALL
)
_ONE_HOST = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?")


def parse_address(address: str) -> URL:
    """Parse the URL of a PostgreSQL. The UsageError for a wrong one quotes no part of it."""
    if address.count("@") > 1:
        raise UsageError(_UNCLEAR)
    try:
        url = _parse(address)
        list_parameters(url)
    except (ArgumentError, ValueError):
        raise UsageError(f"REELPORT_DATABASE_URL: not the address of a database: {EXAMPLE}.") from None
    # Part of the password would be parsed as the database or an option, and appear in errors.
    if "@" in address and url.username is None:
        raise UsageError(_UNCLEAR)
    return url


def list_parameters(url: URL) -> Mapping[str, Any]:
    """List what libpq is given; ArgumentError for hosts and ports that don't go together."""
    # Not the URL as SQLAlchemy writes it: a space in it is one for SQLAlchemy alone, whether written as it is or as +.
    return url.get_dialect()().create_connect_args(url)[1]


def set_parameter(address: str, name: str, value: str) -> str:
    """Set a parameter of an address, in the place of the one that it may give."""
    return parse_address(address).update_query_dict({name: value}).render_as_string(hide_password=False)


def describe_place(url: URL) -> str:
    """Describe which database an address means: what it says, without user and password."""
    host, port = url.host or url.query.get("host"), url.port or url.query.get("port")
    return f"{host or ''}{f':{port}' if port else ''}/{url.database}"


def _parse(address: str) -> URL:
    several = _SEVERAL_HOSTS.fullmatch(address)
    url = make_url(several["user"] + several["rest"] if several else address)
    if url.get_backend_name().lower() not in {"postgresql", "postgres"}:
        raise UsageError(
            "REELPORT_DATABASE_URL: only postgresql:// and postgres:// are known; leave it empty for SQLite."
        )
    url = url.set(drivername="postgresql+psycopg")
    hosts = url.query.get("host", "")
    if several and hosts:
        raise ValueError(hosts)
    if several:
        return _set_hosts(url, several["hosts"].split(","))
    return _set_hosts(url, hosts) if isinstance(hosts, tuple) else url


def _set_hosts(url: URL, hosts: Sequence[str]) -> URL:
    """Put several hosts where SQLAlchemy and libpq both read them: in two parameters."""
    found = [_ONE_HOST.fullmatch(host) for host in hosts]
    if not all(found) or {"port", "hostaddr"} & url.query.keys():
        raise ValueError(hosts)
    names = ",".join(each["host"].strip("[]") for each in found if each)
    ports = ",".join(each["port"] or _PORT for each in found if each)
    return url.update_query_dict({"host": names, "port": ports})
