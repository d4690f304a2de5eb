"""The settings of a service: how values are read, what is said of wrong ones, addresses of databases, their page."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from supply_chain.settings_page import READERS, format_settings_page
from tests import forked

from reelport import UsageError
from reelport.server.database_address import describe_place, parse_address
from reelport.server.settings import Secret, Settings, read_settings, setting_names, variable_name
from reelport.testing import Service


def test_a_setting_that_is_none_is_refused() -> None:
    """A name that is mistyped would else leave the default in force and a test proving nothing."""
    with pytest.raises(UsageError) as refused:
        Service(day_limits=50, workers=0, xyz=1)
    assert str(refused.value).splitlines() == [
        "There is no setting 'day_limits'. Did you mean day_limit?",
        "There is no setting 'xyz'.",
    ]


def test_each_wrong_value_is_told_with_what_its_setting_takes() -> None:
    """One line a setting, in the order of the table; what a secret holds is never repeated."""
    wrong = {"port": "80a", "secret": "too short", "link_seconds": 0, "log_level": "drop", "retention_hours": "nan"}
    with pytest.raises(UsageError) as refused:
        read_settings(**wrong, workers=65, slots=True, lease_seconds="1e999", worker_memory="2", worker_nice=21)
    assert str(refused.value).splitlines() == [
        "REELPORT_SECRET (--secret): It has at least 32 characters, and not 9.",
        "REELPORT_PORT (--port): It is a whole number from 0 to 65535, and not '80a'.",
        "REELPORT_LINK_SECONDS (--link-seconds): It is a whole number of at least 1, and not '0'.",
        "REELPORT_RETENTION_HOURS (--retention-hours): It is a number above 0, and not 'nan'.",
        "REELPORT_WORKERS (--workers): It is a whole number from 0 to 64, and not '65'.",
        "REELPORT_SLOTS (--slots): It is a whole number from 1 to 64, and not 'True'.",
        "REELPORT_WORKER_MEMORY (--worker-memory): It is a number and a unit, such as 2GB, and not '2'.",
        "REELPORT_WORKER_NICE (--worker-nice): It is a whole number from 0 to 20, and not '21'.",
        "REELPORT_LEASE_SECONDS (--lease-seconds): It is a number of at least 1, and not '1e999'.",
        "REELPORT_LOG_LEVEL (--log-level): It is 'debug' or 'info' or 'warning' or 'error', and not 'drop'.",
    ]


@pytest.mark.parametrize(
    "address",
    [
        "sc:/spark:15002/;token=pa55word",
        "sc://spark:15002/x;token=pa55word",
        "sc://spark:15002;token=pa55word",
        "sc://spark:port/;token=pa55word",
        "sc://user:pa55word@spark:15002",
        "sc://spark:15002?token=pa55word",
        "sc://spark:15002/;token=pa55word==",
    ],
)
def test_a_wrong_address_of_spark_is_refused_without_its_token(address: str) -> None:
    """At the start, and not by the first large report; the value is not repeated."""
    with pytest.raises(UsageError, match="REELPORT_ENGINE") as refused:
        read_settings(engine=address)
    assert "pa55" not in str(refused.value)
    for well in ("sc://spark", "sc://10.0.0.1:15002", "sc://spark:15002/;use_ssl=true;token=a%3D%3D"):
        assert read_settings(engine=well).engine == well


@pytest.mark.parametrize("before", ["ann:pa55word@", "ann:pa55@word@", "ann@", ":pa55word@", "@"])
def test_an_address_of_links_with_a_password_is_refused_without_it(before: str) -> None:
    """Every link would show it, and the refusal goes to logs."""
    with pytest.raises(UsageError, match=r"REELPORT_PUBLIC_URL .* without a user's name and password") as refused:
        read_settings(public_url=f"https://{before}r.example")
    assert "pa55" not in str(refused.value)
    assert read_settings(public_url="https://r.example/reports").public_url == "https://r.example/reports"


def test_settings_pass_through_the_environment_as_they_are(tmp_path: Path) -> None:
    """What a service hands to its workers reads back equal; nothing shows the secret."""
    given = read_settings(data=str(tmp_path), secret="s" * 32, workers=2, retention_hours=0.001)
    assert (given.data, given.secret, given.workers) == (tmp_path, Secret("s" * 32), 2)
    environment = {name.removeprefix("REELPORT_").lower(): text for name, text in given.environment().items()}
    assert read_settings(**environment) == given
    assert isinstance(read_settings(**environment), Settings)
    assert replace(given, secret=None) != given
    assert "sss" not in f"{given!r} {given.secret}"


READ_BY_WORKERS = """
import re, sys
from pathlib import Path
import reelport.server.logs, reelport.server.queue.supervisor, reelport.server.queue.worker
ours = [module for name, module in sys.modules.items() if name.startswith("reelport.server.")]
texts = [Path(module.__file__).read_text() for module in ours if not module.__name__.endswith(".settings")]
print(*{name for text in texts for name in re.findall(r"settings[.]([a-z_]+)", text)})
"""
BEHIND = {
    "facts_root": "facts_url",
    "files_root": "data",
    "report_store": "files_url",
    "cache_root": "cache_size",
    "spill_root": "data",
    "workers_root": "data",
    "state_file": "data",
}


def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command of a platform as a process of its own, with no setting but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELPORT_")}
    told = {"REELPORT_HOME": os.environ["REELPORT_HOME"], "COLUMNS": "200"}
    done = forked.run(["-m", "reelport", *words], env=kept | told | more, loads=forked.COMMANDS)
    assert "Traceback" not in done.stderr
    return done


def test_the_help_of_serve_names_each_variable_beside_its_option() -> None:
    """With the default, where there is one."""
    told = " ".join(re.sub(r"[│\s]+", " ", command("serve", "--help").stdout).split())
    for name in setting_names():
        assert re.search(rf"--{name.replace('_', '-')} [A-Z]+ .*?\[env var: {variable_name(name)}\]", told), name
    assert "[env var: REELPORT_PORT] [default: 8642]" in told


def test_the_help_of_worker_shows_what_a_worker_reads() -> None:
    """Just the settings that its own modules name; `readable_by` is read where its process begins."""
    found = subprocess.run([sys.executable, "-c", READ_BY_WORKERS], capture_output=True, text=True, check=True).stdout
    # What goes by the environment is handed on.
    read_ = {BEHIND.get(name, name) for name in found.split()} - {"environment"} | {"readable_by"}
    assert read_ == {field.name for field in fields(Settings) if field.metadata["worker"]}
    shown = set(re.findall(r"--([a-z-]+) [A-Z]+ ", command("worker", "--help").stdout))
    assert shown - {"data"} == {name.replace("_", "-") for name in read_} - {"data"}


def test_a_mistyped_variable_stops_a_service_and_another_unknown_one_is_told(tmp_path: Path) -> None:
    """Beside the wrong values, each in a line with the nearest; a command goes on, and tells them as warnings."""
    mistyped = {"REELPORT_PROT": "9000", "REELPORT_WORKERS": "x", "REELPORT_SERVICE_HOST": "10.0.0.1"}
    for word in ("serve", "worker"):
        done = command(word, "--data", str(tmp_path), **mistyped)
        assert (done.returncode, done.stderr.splitlines()) == (
            2,
            [
                "reelport: REELPORT_WORKERS (--workers): It is a whole number from 0 to 64, and not 'x'.",
                "reelport: REELPORT_PROT is no setting: did you mean REELPORT_PORT?",
            ],
        )
    listed = command("fields", "list", **mistyped)
    assert (listed.returncode, listed.stderr.splitlines()) == (
        0,
        [
            "reelport: warning: REELPORT_PROT is no setting: did you mean REELPORT_PORT?",
            "reelport: warning: REELPORT_SERVICE_HOST is no setting: it changes nothing.",
        ],
    )
    assert not list(tmp_path.iterdir())


def test_a_service_warns_of_secrets_in_the_list_of_processes_and_says_how_to_take_another_port(tmp_path: Path) -> None:
    """Each with the variable that hides it; no warning repeats what was given. One in the environment is no matter."""
    secret, url = "s" * 40, "postgresql://reelport:pa55word@127.0.0.1:1/none"
    spark = "sc://127.0.0.1:1/;token=pa55word"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ("serve", "--data", str(tmp_path), "--port", str(taken.getsockname()[1]))
        shown = command(*words, "--secret", secret, "--database-url", url, "--engine", spark, REELPORT_ODDITY="1")
        hidden = command(*words, REELPORT_SECRET=secret, REELPORT_DATABASE_URL=url, REELPORT_ENGINE=spark)
    seen = "is seen by everybody who can list this machine's processes: give it as"
    for said in (
        f"--engine with a token {seen} REELPORT_ENGINE, ",
        f"--secret {seen} REELPORT_SECRET, ",
        f"--database-url with a password {seen} REELPORT_DATABASE_URL, ",
        "REELPORT_ODDITY is no setting: it changes nothing.",
    ):
        assert (shown.stderr.count(said), hidden.stderr.count(said)) == (1, 0)
    assert secret not in shown.stderr
    assert "pa55word" not in shown.stderr
    for done in (shown, hidden):
        assert (done.returncode, "take another port with --port (REELPORT_PORT), 0 for a free one." in done.stderr) == (
            2,
            True,
        )


@pytest.mark.parametrize(
    "address",
    [
        "http://id:pa55word@login.example",
        "https://id:pa55word@login.example/?x",
        "https://id:pa55:word@login.example",
        "https://:pa55word@login.example",
        "https://login.example",
        "id:pa55word@login.example",
    ],
)
def test_an_address_of_a_provider_has_tls_and_a_client(address: str) -> None:
    """But on this machine. What is refused is not repeated: it may hold the client's secret."""
    with pytest.raises(UsageError) as refused:
        read_settings(oidc_url=address, oidc_groups="a b/c=acme:owner, d=operator")
    assert str(refused.value).startswith("REELPORT_OIDC_URL (--oidc-url): It is the issuer's address with client id")
    assert "pa55" not in str(refused.value)
    assert "Give both or none" not in str(refused.value)


@pytest.mark.parametrize(
    "groups", ["staff", "staff=acme", "staff=acme:operator", "staff=:owner", "=acme:owner", "a=b:king"]
)
def test_groups_of_a_provider_give_roles(groups: str) -> None:
    """Each a role in an organization, or that of an operator."""
    with pytest.raises(
        UsageError, match=r"REELPORT_OIDC_GROUPS .--oidc-groups.: It is groups with organization and role"
    ):
        read_settings(oidc_url="https://id:secret@login.example/realms/staff", oidc_groups=groups)


def test_a_provider_comes_with_its_groups() -> None:
    """Without them, nobody would get in; without it, they would say nothing."""
    for given in ({"oidc_url": "https://id:secret@login.example"}, {"oidc_groups": "staff=acme:viewer"}):
        with pytest.raises(UsageError, match="Give both or none"):
            read_settings(**given)


ROOT = Path(__file__).parents[2]
SERVER = ROOT / "src" / "reelport" / "server"
ROOMS = {
    "service": [
        *(SERVER / room for room in ("http", "graphql", "limits", "explore", "studio", "preview")),
        *(SERVER / f"{name}.py" for name in ("app", "web_server", "api_memory")),
    ],
    "worker": [SERVER / "queue"],
    "command": [ROOT / "src" / "reelport" / "cli" / "service_commands", SERVER / "backup", SERVER / "upgrade"],
}
"""Modules that only one kind of process runs; what the others read of settings tells nothing."""


def test_every_setting_has_one_row() -> None:
    """Each variable stands in one row, with who reads it and a meaning."""
    rows = [line.strip("| ").split(" | ") for line in format_settings_page().splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == [f"`{variable_name(name)}`" for name in setting_names()]
    assert all(row[3] and row[4].endswith((".", ".)")) for row in rows)


def test_no_default_of_a_secret_is_shown() -> None:
    """A setting that hides its value has no default that the page could show."""
    assert all(not field.default for field in fields(Settings) if not field.metadata["shown"])


@pytest.mark.parametrize("reader", ROOMS)
def test_whoever_reads_a_setting_is_named_as_its_reader(reader: str) -> None:
    """What a room of one kind of process reads is told as read by that kind."""
    files = [file for room in ROOMS[reader] for file in ([room] if room.is_file() else sorted(room.rglob("*.py")))]
    read = set(re.findall(r"settings\.([a-z_]+)\b", "\n".join(file.read_text() for file in files)))
    named = {field.name for field in fields(Settings) if field.metadata[reader]}
    assert read & set(setting_names()) <= named
    assert read & named, "the rooms have moved"
    assert set(READERS) == set(ROOMS)


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
