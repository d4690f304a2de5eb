"""`sandbox`: the service on sample facts, or an imitation of Dailymotion that misbehaves."""

from __future__ import annotations

import json as json_format
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reelport.catalog import Dimension, Grain
from reelport.catalog.studio_pages import FIRST_DIMENSIONS, FIRST_METRICS
from reelport.cli import stop_signals
from reelport.cli.arguments.options import split_words
from reelport.cli.output.listing import PrintJson, print_fields
from reelport.errors import InternalError, UsageError
from reelport.query import ReportQuery
from reelport.similar_names import suggest
from reelport.testing.vendor import Cut, Vendor
from reelport.wire import GRAPHQL_PATH, TOKEN_PATH

if TYPE_CHECKING:
    from rich.console import Console

    from reelport.testing import Key, Service

ORGANIZATION, EMAIL = "demo", "demo@example.com"
OPEN_PAGES: Mapping[str, Any] = {"graphiql": "yes"}
"""The pages of a service that are closed unless somebody opens them."""
ROWS, DAYS = 30_000, 60
"""Facts of the sandbox's sample, and the days that they are of: a month, and the month before to compare it with."""
_ASKED_DAYS = 7
_MOST_PORT = 65535

_MISBEHAVIOURS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "cut": ("Of two downloads, one ends in the middle.", {"cut": Cut.CONTENT_LENGTH, "cut_every": 2}),
    "slow": ("A report takes 15 seconds, and the answer to an ask 2.", {"makes_in": 15.0, "answers_asks_in": 2.0}),
    "refuse": ("Every second ask is refused as one too many.", {"refuses_every": 2}),
    "expire": (
        "A token expires after 20 seconds, a link after 5, a report after 60.",
        {"token_life": 20, "link_expires": 5.0, "expires_after": 60.0},
    ),
}
"""What the vendor may do wrong, as a sentence and as the vendor's settings."""


def sandbox(
    *,
    port: Annotated[int | None, Parameter(help="The port to listen on; otherwise a free one.")] = None,
    misbehave: Annotated[
        list[str] | None,
        Parameter(
            help="Run an imitation of Dailymotion in place of the service. It invents rows, has nothing that Reelport "
            "adds, and does these things wrong, separated by commas: "
            + " ".join(f"{word}: {sentence}" for word, (sentence, _) in _MISBEHAVIOURS.items())
        ),
    ] = None,
    json: PrintJson = False,
) -> None:
    """Run the service on sample facts until Ctrl-C, and print all that a program needs.

    Example: reelport sandbox

    Example: reelport sandbox --misbehave cut,slow

    It listens on this machine alone, and deletes everything at the end.
    """
    words = _read_misbehaviours(misbehave, port)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, stop_signals.raise_stop)  # the end of the terminal is a stop too
    if words:
        settings = {name: value for word in words for name, value in _MISBEHAVIOURS[word][1].items()}
        with Vendor(port=port or 0, **settings) as vendor:
            _offer_until_stopped(_describe_vendor(vendor, words), _sleep, as_json=json)
        return
    from rich.console import Console

    from reelport.testing import Service

    console = Console(stderr=True, highlight=False)
    with _make_folder() as folder:
        given = {**OPEN_PAGES, **({} if port is None else {"port": port})}
        service = Service(folder / "service", **given)
        world = make_world(console, service)
        stop_signals.raise_lost_stop()
        with run_service(console, service):
            stop_signals.raise_lost_stop()
            _offer_until_stopped(_describe_service(service, world), partial(_wait_for, service), as_json=json)
            stop_signals.ignore_stops()


def _read_misbehaviours(given: list[str] | None, port: int | None) -> list[str]:
    words = [word.lower() for word in split_words(given or ())]
    wrong = [
        f"--misbehave: there is no {word[:80]!r}.{suggest(word, _MISBEHAVIOURS)}"
        for word in words
        if word not in _MISBEHAVIOURS
    ]
    if given is not None and not words:
        wrong.append(f"--misbehave: name what goes wrong: {', '.join(_MISBEHAVIOURS)}.")
    if port is not None and not 0 < port <= _MOST_PORT:
        wrong.append(f"--port takes a number from 1 to {_MOST_PORT:,}, and not {port}.")
    elif port is not None and _is_taken(port):
        wrong.append(f"--port: {port} is in use by another program. Name another port, or leave the option out.")
    if wrong:
        raise UsageError("\n".join(wrong))
    return words


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the service does: an ended one is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@dataclass(frozen=True, slots=True)
class World:
    """What a partner has of a sample: days, channels, keys, and a password for Studio."""

    first: date
    last: date
    channels: tuple[str, ...]
    scopes: tuple[str, ...]
    key: Key
    public_key: Key
    password: str


def make_world(console: Console, service: Service, *, rows: int = ROWS, days: int = DAYS) -> World:
    """Load sample facts up to yesterday, and make two keys and a person of a partner.

    The sandbox and the demo both begin so.
    """
    from reelport.server.access.callers import REPORT_SCOPES
    from reelport.server.sample_organizations import fill

    last = datetime.now(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=days - 1)
    with show_step(console, f"loads {rows:,} sample facts, {first} to {last}"):
        channels = tuple(fill(service.settings, first, last, rows).organizations[ORGANIZATION])
    with show_step(console, f"makes keys for the organization {ORGANIZATION}, with every permission"):
        key, public = service.key(ORGANIZATION), service.key(ORGANIZATION, kind="public")
    password = secrets.token_urlsafe(12)
    with show_step(console, f"makes a user for Studio, who is an owner of {ORGANIZATION}"):
        service.user(ORGANIZATION, EMAIL, password)
    return World(first, last, channels, REPORT_SCOPES, key, public, password)


@contextmanager
def _make_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="reelport-sandbox-"))
    try:
        yield folder
    finally:
        stop_signals.ignore_stops()
        shutil.rmtree(folder)


@contextmanager
def show_step(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Show a step and what the caller says of it, and at its end how long it took."""
    from rich.table import Table

    begun = time.perf_counter()
    with console.status(f"{what} …") as status:
        yield lambda more: status.update(f"{what} … {more}")
    line = Table.grid(expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(f"  {what}", f"{time.perf_counter() - begun:6.2f} s")
    console.print(line)


@contextmanager
def run_service(console: Console, service: Service) -> Iterator[None]:
    """Run the service while the block runs; its log stays beside its data."""
    with ExitStack() as stack:
        with show_step(console, f"starts the service on {service.url}"):
            stack.enter_context(service)
        try:
            yield
        finally:
            service.data.with_name("service.log").write_text(service.log, "utf-8")


def _sleep() -> None:
    """Wait for a stop."""
    # Windows hears a Ctrl-C in a sleep, and not while a thread waits for an event.
    while True:
        time.sleep(3600)


def _wait_for(service: Service) -> None:
    """Wait for a stop. Raises InternalError with the log if the service ends by itself."""
    service.wait()
    raise InternalError(f"The service has ended by itself:\n{service.log}")


def _offer_until_stopped(facts: Mapping[str, Any], wait: Callable[[], object], *, as_json: bool) -> None:
    try:
        _print_offer(facts, as_json=as_json)
        wait()
    except KeyboardInterrupt:
        print(file=sys.stderr)


def _describe_service(service: Service, world: World) -> dict[str, object]:
    from reelport.server.http.openapi import OPENAPI_PATH

    return {
        "address": service.url,
        "key": asdict(world.key),
        "scopes": world.scopes,
        "channels": world.channels,
        "first_day": world.first.isoformat(),
        "last_day": world.last.isoformat(),
        "public_key": {**asdict(world.public_key), "username": EMAIL, "password": world.password},
        "studio": f"{service.url}/studio",
        "graphiql": f"{service.url}{GRAPHQL_PATH}",
        "openapi": f"{service.url}{OPENAPI_PATH}",
        "curl": list_curl_lines(service.url, asdict(world.key), world.scopes, world.last),
    }


def _describe_vendor(vendor: Vendor, words: Sequence[str]) -> dict[str, object]:
    key, yesterday = {"id": vendor.key, "secret": vendor.secret}, datetime.now(UTC).date() - timedelta(days=1)
    return {
        "imitates": "Dailymotion",
        "address": vendor.url,
        "key": key,
        "public_key": {**key, "username": vendor.username, "password": vendor.password},
        "misbehaves": {word: _MISBEHAVIOURS[word][0] for word in words},
        # It invents rows for every name, so it has no mistake to show.
        "curl": list_curl_lines(vendor.url, key, ("create_reports",), yesterday)[:-1],
    }


def list_curl_lines(url: str, key: Mapping[str, str], scopes: Sequence[str], last: date) -> tuple[str, ...]:
    """Write lines for a POSIX shell: variables, token, ask, look, download, a mistake."""
    day = next(each for each in Dimension if each.grain is Grain.DAY)
    query = ReportQuery.of(FIRST_METRICS, [day, FIRST_DIMENSIONS[0]], last - timedelta(days=_ASKED_DAYS - 1), last)
    form = '-d grant_type=client_credentials -d "client_id=$REELPORT_API_KEY" -d "client_secret=$REELPORT_API_SECRET"'
    heads = "-H \"Authorization: Bearer $token\" -H 'Content-Type: application/json'"
    post = f'curl -sS "$REELPORT_URL{GRAPHQL_PATH}" {heads}'
    ask = "mutation ($input: AskPartnerReportFileInput!) { askPartnerReportFile(input: $input) { reportFile %s } }"
    body = {"query": ask % "{ reportToken }", "variables": {"input": query.to_wire()}}
    look = "query ($token: String!) { partner { reportFile(reportToken: $token) %s } }"
    links = {"query": look % "{ status downloadLinks { edges { node { link } } } }"}
    asked = json_format.dumps(body)
    looked = f"""{json_format.dumps(links)[:-1]}, "variables": {{"token": "'"$report"'"}}}}"""
    mistaken = asked.replace(f'"{FIRST_METRICS[0].name}"', f'"{FIRST_METRICS[0].name[:-1]}Z"')
    grant = f'curl -sS "$REELPORT_URL{TOKEN_PATH}" {form} -d scope={"+".join(scopes)}'
    return (
        f"export REELPORT_URL={url} REELPORT_API_KEY={key['id']} REELPORT_API_SECRET={key['secret']}",
        _keep_answer(grant, "token", "access_token"),
        _keep_answer(f"{post} -d '{asked}'", "report", "reportToken"),
        f"look=$({post} -H 'Prefer: wait=10' -d '{looked}'); echo \"$look\"",
        f'curl -sS "$(echo "$look" | {_pick("link")})" -o report.csv && head -3 report.csv',
        f"{post} -d '{mistaken}'",
    )


def _keep_answer(command: str, variable: str, name: str) -> str:
    """Write the line that keeps a text of the answer, and shows it; or the answer without it."""
    return f'answer=$({command}); {variable}=$(echo "$answer" | {_pick(name)}); echo "${{{variable}:-$answer}}"'


def _pick(name: str) -> str:
    """Write the command that picks a text out of JSON: a shell has no better one everywhere."""
    return rf"""sed -n 's/.*"{name}": *"\([^"]*\)".*/\1/p'"""


def _print_offer(facts: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json_format.dumps(facts), flush=True)
        return
    public = facts["public_key"]
    shown = {
        "imitates": facts.get("imitates"),
        "address": facts["address"],
        "key": facts["key"]["id"],
        "secret": facts["key"]["secret"],
        "scopes": facts.get("scopes"),
        "channels": facts.get("channels"),
        "days": f"{facts['first_day']} to {facts['last_day']}" if "first_day" in facts else None,
        "public key": public["id"],
        "public key secret": public["secret"],
        "e-mail": public["username"],
        "password": public["password"],
        "Studio": facts.get("studio"),
        "GraphiQL": facts.get("graphiql"),
        "OpenAPI": facts.get("openapi"),
        **facts.get("misbehaves", {}),
    }
    print_fields({name: value for name, value in shown.items() if value is not None}, as_json=False)
    print("\nPaste these lines into a shell. Repeat the fourth while it says IN_PROGRESS.\n")
    print("\n".join(facts["curl"]))
    print("\nCtrl-C ends it.", flush=True)
