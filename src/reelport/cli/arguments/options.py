"""What several commands share: options, and a question."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts import Token as Word

from reelport.catalog import Filter
from reelport.errors import UsageError
from reelport.query import DEFAULT_PRODUCT, ReportQuery, parse_day

if TYPE_CHECKING:
    from reelport.client.client import Client
    from reelport.client.session import Session
    from reelport.client.settings.config import Settings

_DAYS_AGO = re.compile(r"(\d{1,4})d")
_RELATIVE = {"today": 0, "yesterday": 1}

DEFAULT_DATA = Path("reelport-data")

_MOST_DAYS = date.max.toordinal()
_DAY = "YYYY-MM-DD, today, yesterday, or 30d for 30 days ago"


def _parse_whole_number(_: type, tokens: Sequence[Word]) -> int:
    """Parse a whole number strictly: 1.5 is an error, where cyclopts would round it."""
    return int(tokens[0].value)


def parse_data_directory(_: type, tokens: Sequence[Word]) -> Path:
    """Parse a data directory's name: an empty variable is none, an empty option an error."""
    name = tokens[0].value
    if not name and tokens[0].source == "cli":
        raise ValueError("it is empty, and would be the current folder: name the data directory")
    return Path(name) if name else DEFAULT_DATA


Whole = Annotated[int, Parameter(converter=_parse_whole_number)]

Token = Annotated[str, Parameter(help="What `report submit` printed.")]
Url = Annotated[str | None, Parameter(help="The service; otherwise REELPORT_URL, otherwise Dailymotion.")]
Insecure = Annotated[bool, Parameter(help="Allow plain http to another machine: the key is sent in clear text.")]
Profile = Annotated[str | None, Parameter(help="The profile that `reelport auth login` saved under this name.")]
Quiet = Annotated[bool, Parameter(["--quiet", "-q"], help="Print only errors.")]
Json = Annotated[bool, Parameter("--json", help="Print events as lines of JSON; the last one is a `result`.")]
Deadline = Annotated[
    float,
    Parameter(
        help="Longest wait for the report, in seconds (20 if the service does not answer). The report continues."
    ),
]
AnyColumns = Annotated[bool, Parameter(help="Accept a report with other columns, fewer columns or another order.")]
WindowDays = Annotated[int | None, Parameter(help="Days of a report at most; else REELPORT_WINDOW_DAYS, else 180.")]
MaxWindows = Annotated[int | None, Parameter(help="Most reports of a long range; a longer range is refused (100).")]
Again = Annotated[bool, Parameter(help="Ask again after a lost answer; this may make a second report.")]
Fresh = Annotated[
    bool,
    Parameter(
        help="Ask the service again, even if an earlier report could be used. A Reelport service gives the same report "
        "again while nothing has changed."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """The options that choose the service and its key."""

    profile: Profile = None
    url: Url = None
    insecure: Insecure = False

    def words(self) -> list[str]:
        """Format the options for a command line."""
        return format_flags({"--profile": self.profile, "--url": self.url, "--insecure": self.insecure})


IN_FORCE = ServiceOptions()  # the service of the environment, or of the profile in force


def connect(service: ServiceOptions) -> Client:
    """Make a client for the service and key in force. Raises UsageError, AccessError."""
    from reelport.client.client import Client

    return Client(settings=read_settings(service))


def open_session(service: ServiceOptions) -> Session:
    """Open the service's session without a client, for a command that calls nothing."""
    import random

    from reelport.client.ledger import resolve_ledger
    from reelport.client.session import Clock, Session

    clock = Clock()
    return Session(read_settings(service), clock, random.random, ledger=resolve_ledger(None, os.environ, clock.now))


def read_settings(service: ServiceOptions) -> Settings:
    """Read the settings in force. Raises UsageError, AccessError where one is wrong or missing."""
    from reelport.client.settings.profiles import resolve

    return resolve(os.environ, profile=service.profile, url=service.url, insecure=service.insecure)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """The options that make up a query."""

    metrics: Annotated[list[str], Parameter(help="What to count: VIEWS,TIME_WATCHED_SECONDS, or repeat the option.")]
    dimensions: Annotated[
        list[str] | None, Parameter(help="What to split the numbers by, in the order of the columns.")
    ] = None
    start: Annotated[str, Parameter(help=f"The first day (UTC): {_DAY}.")]
    end: Annotated[str, Parameter(help="The last day, included.")]
    product: Annotated[str, Parameter(help="Whose data: CONTENT (what you own), EMBED, CLAIM or ALL.")] = (
        DEFAULT_PRODUCT
    )
    filters: Annotated[
        list[str] | None,
        Parameter("--filter", help="Keep only some rows: NAME=VALUE. Repeat the option for more filters."),
    ] = None

    def query(self, today: date | None = None) -> ReportQuery:
        """Build the query as of this UTC day. Raises UsageError with every invalid day and filter."""
        wrong: list[str] = []
        query = self.read(today or datetime.now(UTC).date(), wrong)
        if wrong:
            raise UsageError("\n".join(wrong))
        return query

    def read(self, today: date, wrong: list[str]) -> ReportQuery:
        """Build the query as far as possible; append problems of days and filters to `wrong`."""
        start = parse_day_word("--start", self.start, today, wrong)
        end = parse_day_word("--end", self.end, today, wrong)
        filters, product = _parse_filters(self.filters or [], wrong), self.product.strip().upper()
        metrics, dimensions = split_names(self.metrics), split_names(self.dimensions or [])
        return ReportQuery.of(metrics, dimensions, start, end, filters, product)


def check_windows(days: int | None, windows: int | None = None) -> None:
    """Raise UsageError, by option, for numbers that no report and no range can have."""
    given = (("--window-days", "days", days), ("--max-windows", "reports", windows))
    wrong = [
        f"{option} takes a whole number of {what} from 1 to {_MOST_DAYS:,}, and not {count}."
        for option, what, count in given
        if count is not None and not 0 < count <= _MOST_DAYS
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def format_flags(given: Mapping[str, object]) -> list[str]:
    """Format options as words: True alone, others before their value; empty ones are left out."""
    words = ([option] if value is True else [option, str(value)] for option, value in given.items() if value)
    return [word for each in words for word in each]


def format_options(query: ReportQuery) -> list[str]:
    """Format a query as options, with absolute days."""
    names = {"--metrics": ",".join(query.metrics), "--dimensions": ",".join(query.dimensions)}
    product = None if query.product == DEFAULT_PRODUCT else query.product
    words = format_flags({**names, "--start": query.start, "--end": query.end, "--product": product})
    return words + [word for name, value in query.filters for word in ("--filter", f"{name}={value}")]


def split_names(words: Iterable[str]) -> list[str]:
    """Split names at commas, as `split_words`; in upper case, as requests have them."""
    return [name.upper() for name in split_words(words)]


def split_words(given: Iterable[str]) -> list[str]:
    """Split words at commas, from one option or several."""
    return [word.strip() for each in given for word in each.split(",") if word.strip()]


def parse_day_word(option: str, text: str, today: date, wrong: list[str]) -> date:
    """Parse a day: YYYY-MM-DD, today, yesterday, or 30d. Appends a problem to `wrong`."""
    word = text.strip().lower()
    ago = _DAYS_AGO.fullmatch(word)
    try:
        back = int(ago[1]) if ago else _RELATIVE.get(word)
        return parse_day(text.strip()) if back is None else today - timedelta(days=back)
    except ValueError:
        wrong.append(f"{option}: {text[:80]!r} is no day: give {_DAY}.")
        return today


def _parse_filters(words: list[str], wrong: list[str]) -> dict[str, str]:
    """Parse filters; known names and values may be written in any case."""
    pairs: dict[str, str] = {}
    known = {row.name.upper(): row for row in Filter}
    for word in words:
        given, equals, value = word.partition("=")
        row = known.get(given.strip().upper())
        name = given.strip() if row is None else row.name
        if not equals or not name:
            wrong.append(f"--filter: {word[:80]!r} is no filter: give NAME=VALUE.")
        elif name in pairs:
            wrong.append(f"--filter: {name} is given twice, but a filter takes a single value.")
        else:
            pairs[name] = value.upper() if row is not None and value.upper() in row.choices else value
    return pairs


_LONGEST_ANSWER = 100


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def is_confirmed(question: str) -> bool:
    """Ask at the terminal whether to go on; a no is told. Raises UsageError without a terminal."""
    if not has_terminal():
        raise UsageError("nothing was changed: there is no terminal to ask at; add --yes to do it without asking")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline(_LONGEST_ANSWER).strip().lower() in {"y", "yes"}:
        return True
    print("Nothing was changed.", file=sys.stderr)
    return False
