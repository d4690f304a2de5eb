"""The address of a PostgreSQL: one host or several, in each form that people know."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from reelport.errors import UsageError
from reelport.server.database_address import describe_place, parse_address

SEVERAL = [
    "postgresql://me:p%40s,s@a,b:5433/state?target_session_attrs=read-write",
    "postgres://me:p%40s,s@a:5432,b:5433/state?target_session_attrs=read-write",
    "postgresql://me:p%40s,s@/state?host=a:5432&host=b:5433&target_session_attrs=read-write",
    "postgresql://me:p%40s,s@/state?host=a,b&port=5432,5433&target_session_attrs=read-write",
]


@pytest.mark.parametrize("address", SEVERAL)
def test_several_hosts_are_the_same_for_sqlalchemy_and_for_postgresqls_own_programs(address: str) -> None:
    """As libpq writes them, and as SQLAlchemy does."""
    url = parse_address(address)
    assert describe_place(url) == "a,b:5432,5433/state"
    meant = {"user": "me", "password": "p@s,s", "host": "a,b", "port": "5432,5433", "dbname": "state"}
    meant["target_session_attrs"] = "read-write"
    assert url.get_dialect()().create_connect_args(url) == ([], meant)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    assert conninfo_to_dict(plain) == meant


def test_addresses_of_ipv6_may_be_several() -> None:
    """In brackets, as in every URL."""
    assert describe_place(parse_address("postgresql://[::1],[::2]:5433/state")) == "::1,::2:5432,5433/state"


@pytest.mark.parametrize(
    ("address", "place"), [("postgresql://me@db/state", "db/state"), ("postgresql:///state", "/state")]
)
def test_a_place_names_nothing_that_the_address_doesnt(address: str, place: str) -> None:
    """The port, or the host, is then the one that PostgreSQL's library takes."""
    assert describe_place(parse_address(address)) == place


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://a,,b/state",
        "postgresql://a,b:x/state",
        "postgresql://a,b/state?port=5433",
        "postgresql://a,b/state?host=c",
        "postgresql:///state?host=a,b&port=1,2,3",
    ],
)
def test_hosts_that_dont_go_together_are_refused(address: str) -> None:
    """With the form that is meant, as every other wrong address."""
    with pytest.raises(UsageError, match="not the address of a database"):
        parse_address(address)


def test_a_password_with_a_comma_is_no_list_of_hosts() -> None:
    """It ends at the @, as every password."""
    url = parse_address("postgresql://me:a,b@db:5433/state")
    assert (url.password, url.host, url.port) == ("a,b", "db", 5433)
