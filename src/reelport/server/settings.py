"""The settings of the service: how a value is read, their table, and where files lie.

A value comes from a command-line option, else from the environment variable `REELPORT_<NAME>`, else from the default in
the table. Nothing else reads the environment, but an object store's client and OpenTelemetry: the variables by which
other programs find theirs, too. Written by hand: importing a settings library would take as long as a short command
runs.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from reelport.catalog import Limit
from reelport.engine.memory_size import parse_size
from reelport.engine.spark import server_address
from reelport.errors import UsageError
from reelport.local_path import refuse_address
from reelport.server.masking import hide_passwords
from reelport.storage import s3_address
from reelport.storage.digests import CHECKED_BYTES
from reelport.storage.durable import Readers
from reelport.storage.file_store import FileStore
from reelport.storage.local_folder import LocalFolder
from reelport.storage.s3_address import S3Address

_SHOWN = 80
"""Characters of a wrong value that the error quotes."""
DATA_ADVICE = (
    "The data directory is a folder. REELPORT_DATABASE_URL takes the address of a PostgreSQL for the state, "
    "REELPORT_FACTS_URL and REELPORT_FILES_URL take s3:// for tables and report files."
)
"""What goes elsewhere in place of the data directory, for whoever gives an address for it."""
PREFIX = "REELPORT_"


class ReadBy(enum.Flag):
    """Who reads a setting: the API, workers, or commands."""

    SERVICE = enum.auto()
    WORKER = enum.auto()
    COMMAND = enum.auto()


class Form(NamedTuple):
    """What a text must look like: a regular expression, and the same in words."""

    pattern: str
    words: str


_SERVICE, _WORKER, _COMMAND = ReadBy
_ALL = _SERVICE | _WORKER | _COMMAND
_SIZE = Form(r"\d+(\.\d+)?\s?[KMGT]i?B", "a number and a unit, such as 2GB")
_S3 = Form(s3_address.PATTERN, s3_address.FORM)
_ORIGIN = r"https?://[a-z0-9.\-]+(:[0-9]+)?"
_ORIGINS = Form(
    rf"({_ORIGIN}(, ?{_ORIGIN})*)?",
    "origins with commas between them, such as https://pages.example",
)
_HOST = r"[a-z0-9][a-z0-9.\-]*"
_HOSTS = Form(rf"({_HOST}(, ?{_HOST})*)?", "hosts with commas between them, such as pictures.example.com")
_LINKS = Form("(?!.*@).*", "an address without a user's name and password")
_CLIENT = r"[^\s/?#@:]+(:[^\s/?#@:]*)?@"
_OIDC = Form(
    rf"((https://{_CLIENT}[^\s/?#@]+|http://{_CLIENT}(127\.0\.0\.1|localhost)(:[0-9]+)?)(/[^\s?#]*)?)?",
    "the issuer's address with client id and secret, such as https://reelport:SECRET@login.example/realms/staff",
)
_GRANT = r"[^\s,=][^,=]*=(operator|[^,=]+:(owner|analyst|viewer|viewer-without-revenue))"
_OIDC_GROUPS = Form(
    rf"({_GRANT}(, ?{_GRANT})*)?",
    "groups with organization and role, such as acme-heads=acme:owner, acme-staff=acme:analyst, platform=operator",
)
_SPARK = Form(f"({server_address.PATTERN})?", "the address of a Spark Connect server, such as sc://spark.example:15002")


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that its `repr` hides, so that no log and no traceback shows it."""

    text: str = dataclasses.field(repr=False)


def setting(
    default: Any,  # noqa: ANN401 - of the setting's own type
    *,
    description: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    min_length: int = 0,
    form: Form | None = None,
    shown: bool = True,
    section: str = "",
    by: ReadBy = ReadBy.SERVICE,
) -> Any:  # noqa: ANN401 - a field of any type
    """Declare a setting; `shown=False` keeps its value out of `repr` and of errors."""
    rules = {"ge": ge, "gt": gt, "le": le, "min_length": min_length, "form": form, "shown": shown}
    readers = {str(reader.name).lower(): reader in by for reader in ReadBy}
    told = {"description": description, "section": section, **readers}
    return dataclasses.field(default=default, repr=shown, metadata={**told, **rules})


def parse_value(kind: object, rules: Mapping[str, Any], given: object) -> object:
    """Parse a given value to the type of its setting; ValueError says what the setting takes."""
    if isinstance(kind, UnionType):  # `X | None`: None is never given
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        if given not in get_args(kind):
            raise ValueError(f"It is {' or '.join(map(repr, get_args(kind)))}, and not {str(given)[:_SHOWN]!r}.")
        return str(given)
    if kind is int or kind is float:
        return _parse_number(kind is int, rules, given)
    if kind is Path:
        return _parse_path(str(given))
    if kind is Secret:  # whose error never quotes the value
        secret = given if isinstance(given, Secret) else Secret(str(given))
        if len(secret.text) < rules["min_length"]:
            raise ValueError(f"It has at least {rules['min_length']} characters, and not {len(secret.text)}.")
        return secret
    text = str(given)
    form: Form | None = rules["form"]
    if form is not None and not re.fullmatch(form.pattern, text):
        given_text = f", and not {hide_passwords(text)[:_SHOWN]!r}" if rules["shown"] else ""
        raise ValueError(f"It is {form.words}{given_text}.")
    return text


def _parse_path(given: str) -> Path:
    if not given:
        raise ValueError("It is a path, and not empty: that would be the current folder.")
    try:
        refuse_address(given, DATA_ADVICE)
        return Path(given).expanduser().absolute()
    except UsageError as error:
        raise ValueError(str(error)) from None
    except RuntimeError:
        raise ValueError(f"It is a path, and {given[:_SHOWN]!r} begins with the home of a user who has none.") from None


def _parse_number(whole: bool, rules: Mapping[str, Any], given: object) -> float:
    wrong = f"It is a {'whole ' if whole else ''}number{describe_bounds(rules)}, and not {str(given)[:_SHOWN]!r}."
    if isinstance(given, bool) or (whole and isinstance(given, float)):
        raise ValueError(wrong)
    try:
        value = int(str(given)) if whole else float(str(given))
    except ValueError:
        raise ValueError(wrong) from None
    least, above, most = (rules[name] for name in ("ge", "gt", "le"))
    fits = (least is None or value >= least) and (above is None or value > above) and (most is None or value <= most)
    if not fits or not math.isfinite(value):
        raise ValueError(wrong)
    return value


def describe_bounds(rules: Mapping[str, Any]) -> str:
    """Describe the bounds of a number, as the rest of "a number"; empty without any."""
    match rules:
        case {"ge": float() | int() as least, "le": float() | int() as most}:
            return f" from {least} to {most}"
        case {"ge": float() | int() as least}:
            return f" of at least {least}"
        case {"gt": float() | int() as above}:
            return f" above {above}"
        case {"le": float() | int() as most}:
            return f" of at most {most}"
    return ""


def _split(texts: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts.split(",") if text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a service, in the order of help. Only `read_settings` checks them."""

    data: Path = setting(
        Path("reelport-data"),
        section="Where things are",
        by=_ALL,
        description="Directory of the tables, the state and the finished files.",
    )
    readable_by: Literal["owner", "group"] = setting(
        "owner",
        by=_ALL,
        description="Who may read the data directory: only the user of the processes, or that user's group too.",
    )
    database_url: str = setting(
        "", by=_ALL, description="PostgreSQL address of the state; empty: SQLite in the data directory.", shown=False
    )
    facts_url: str = setting(
        "",
        form=_S3,
        by=_ALL,
        description="Where the tables are; empty: in the data directory.",
    )
    files_url: str = setting(
        "",
        form=_S3,
        by=_ALL,
        description="Where finished report files are; empty: in the data directory.",
    )
    link_signer: Literal["service", "store"] = setting(
        "service",
        description="Who signs download links of files in an object store. Links of the store can't be revoked.",
    )
    cache_size: str = setting(
        "10GB",
        form=_SIZE,
        by=_ALL,
        description="Size of a machine's cache of an object store's files. Files that are being read do not count.",
    )
    secret: Secret | None = setting(
        None,
        min_length=32,
        by=_ALL,
        description="Secret for hashing keys and signing links; empty: the file secret.key in the data directory.",
    )

    host: str = setting("127.0.0.1", section="HTTP", description="Address to listen on.")
    port: int = setting(8642, ge=0, le=65535, description="Port to listen on; 0: any free port.")
    processes: int = setting(1, ge=1, le=64, description="API processes on the port.")
    public_url: str = setting(
        "", form=_LINKS, description="Address that links begin with; empty: the address that the caller used."
    )
    cors_origins: str = setting(
        "",
        form=_ORIGINS,
        description="Origins of pages that may use the API and files, but not Studio, from a browser; empty: none.",
    )
    graphiql: Literal["yes", "no"] = setting(
        "no", description="Whether a browser gets GraphiQL at /graphql, a page for trying documents with a token."
    )
    thumbnail_hosts: str = setting(
        "",
        form=_HOSTS,
        description="Hosts from which browsers may load pictures of videos (thumbnail_url) by HTTPS when Studio shows "
        "them; empty: none.",
    )
    link_seconds: int = setting(900, ge=1, description="Life of a download link; each status query gives a new link.")
    look_seconds: int = setting(
        10,
        ge=0,
        le=3600,
        description="Longest time that a status query waits for a report to end (Prefer: wait), or that a download "
        "waits for a form other than CSV; 0: nothing waits.",
    )
    token_seconds: int = setting(
        0, ge=0, description="Life of an access token; 0: 3,600 for a private key, 36,000 for a public key."
    )

    oidc_url: str = setting(
        "",
        form=_OIDC,
        shown=False,
        section="Sign-in by an OpenID Connect provider",
        description="Issuer of the provider by which people sign in to Studio, with the client's id and secret, each "
        "percent-encoded: https://ID:SECRET@ISSUER. The provider sends browsers back to /studio/oidc/callback.",
    )
    oidc_groups: str = setting(
        "",
        form=_OIDC_GROUPS,
        description="Roles that the provider's groups (its claim groups) give: GROUP=ORGANIZATION:ROLE or "
        "GROUP=operator, with commas between them. The first entry that names a person's group decides.",
    )

    second_factor: Literal["optional", "operators", "owners", "passwords", "everyone"] = setting(
        "optional",
        section="Second factors of people",
        description="Who must have a passkey or an authenticator: operators; owners (with operators); passwords (all "
        "who sign in by a password); everyone (also all whom the provider signs in). Until then, the person sees only "
        "the page of Studio that adds one, and gets no tokens by the password.",
    )

    running_limit: int = setting(
        Limit.RUNNING_REPORTS.default,
        ge=1,
        section="Reports",
        by=_SERVICE | _WORKER,
        description=Limit.RUNNING_REPORTS.sentence,
    )
    waiting_limit: int = setting(
        100, ge=0, description="Reports of one partner that may wait in the queue; further requests are refused."
    )
    day_limit: int = setting(Limit.RANGE_DAYS.default, ge=1, description=Limit.RANGE_DAYS.sentence)
    retention_hours: float = setting(Limit.RETENTION_HOURS.default, gt=0, description=Limit.RETENTION_HOURS.sentence)
    inferred: Literal["as listed", "permissive"] = setting(
        "as listed",
        description="With permissive, the service also accepts dimensions that the catalog lists as permissive.",
    )

    workers: int = setting(
        1, ge=0, le=64, section="Workers", description="Worker processes that `reelport serve` starts."
    )
    slots: int = setting(
        3,
        ge=1,
        le=64,
        by=_WORKER,
        description="Reports that one worker makes at the same time. If the number exceeds --running-limit, one "
        "partner can't take all slots.",
    )
    worker_memory: str = setting(
        "2GB",
        form=_SIZE,
        by=_WORKER | _COMMAND,
        description="Memory of one worker; less if the container or control group allows less.",
    )
    worker_threads: int = setting(
        0,
        ge=0,
        le=1024,
        by=_WORKER | _COMMAND,
        description="Threads of one worker's engine; 0: one thread for each core that the worker may use.",
    )
    worker_nice: int = setting(
        10,
        ge=0,
        le=20,
        by=_WORKER,
        description="Priority of workers, as for nice(1): 0 is the API's priority, 19 the lowest. With 20 the engine "
        "gets only idle cores (SCHED_IDLE).",
    )
    generation_seconds: int = setting(
        Limit.GENERATION_SECONDS.default,
        ge=1,
        by=_WORKER,
        description="Longest time of one attempt to make a report.",
    )
    lease_seconds: float = setting(
        30, ge=1, by=_WORKER, description="Time after which a worker without a heartbeat loses its report."
    )
    drain_seconds: float = setting(
        5, ge=0, by=_WORKER, description="Time that running reports have to end when a worker is stopped."
    )
    sweep_seconds: float = setting(
        60, gt=0, description="Seconds between two sweeps, which delete expired reports and files."
    )

    engine: str = setting(
        "",
        form=_SPARK,
        section="Reports that are too large for one machine",
        by=_WORKER,
        description="Spark Connect server that aggregates large reports; empty: DuckDB makes all of them.",
        shown=False,
    )
    spark_from_rows: int = setting(
        2_000_000_000,
        ge=0,
        by=_WORKER,
        description="Reports that read at least this many rows of facts, by the files' statistics, go to Spark.",
    )

    explore_memory: str = setting(
        "512MB",
        form=_SIZE,
        section="The explorer of Studio, in each API process",
        description="Memory of the explorer's engine. If a view needs more, the page offers a report.",
    )
    explore_rows: int = setting(
        200_000_000,
        ge=1,
        description="Rows of facts that a view may read, by the files' statistics. If a view needs more, the page "
        "offers a report.",
    )
    explore_seconds: float = setting(10, gt=0, description="Longest time of a view, including the wait for a slot.")
    explore_slots: int = setting(4, ge=1, le=64, description="Views that are computed at the same time.")

    rollups: Literal["on", "off", "after-load"] = setting(
        "on",
        section="Rollups",
        by=_ALL,
        description="Whether reports and views use the rollups that `reelport rollups` builds. With after-load, each "
        "load also builds the table's rollups.",
    )
    rollup_checks: float = setting(
        0.01,
        ge=0,
        le=1,
        by=_WORKER,
        description="Share of reports from rollups that are also made from the facts, to compare both.",
    )
    rollup_space: str = setting(
        "10GB", form=_SIZE, by=_COMMAND, description="Disk space that all rollups together may take."
    )

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", section="Log", by=_SERVICE | _WORKER, description="Lowest level that is logged."
    )

    @property
    def facts_root(self) -> Path:
        """Directory of the fact tables, or what stands for them in this process."""
        root = self.data / "facts"
        if self.facts_url:
            from reelport.facts.log.log_files import RemoteTables, attach_tables  # noqa: PLC0415 - needs POSIX
            from reelport.storage.file_cache import FileCache  # noqa: PLC0415 - the same

            cache = FileCache(self.cache_root, parse_size(self.cache_size), "facts/", CHECKED_BYTES)
            attach_tables(root, RemoteTables(S3Address.parse(self.facts_url), cache))
        return root

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins whose pages may use the API."""
        return _split(self.cors_origins)

    @property
    def picture_hosts(self) -> tuple[str, ...]:
        """The hosts from which Studio's pages may load pictures."""
        return _split(self.thumbnail_hosts)

    @property
    def readers(self) -> Readers:
        """Who may read the data directory."""
        return Readers(self.readable_by)

    @property
    def files_root(self) -> Path:
        """Directory of report files: finished ones, or with `files_url` just those being written."""
        return self.data / "files"

    @property
    def report_store(self) -> FileStore:
        """The store of finished report files."""
        if not self.files_url:
            return LocalFolder(self.files_root)
        from reelport.storage.file_cache import FileCache  # noqa: PLC0415 - needs POSIX
        from reelport.storage.object_store import ObjectStore  # noqa: PLC0415 - loads a library that few need

        cache = FileCache(self.cache_root, parse_size(self.cache_size), "files/", CHECKED_BYTES)
        drafts = LocalFolder(self.files_root)
        return ObjectStore(S3Address.parse(self.files_url), drafts, cache, self.link_signer == "store")

    @property
    def cache_root(self) -> Path:
        """Directory of copies of an object store's files, which can be fetched again."""
        return self.data / "cache"

    @property
    def spill_root(self) -> Path:
        """Directory where workers spill what doesn't fit into their memory."""
        return self.data / "spill"

    @property
    def workers_root(self) -> Path:
        """Directory of the lock files by which live workers of this machine are known."""
        return self.data / "workers"

    @property
    def state_file(self) -> Path:
        """The SQLite database file, used unless `database_url` is set."""
        return self.data / "state.db"

    def environment(self) -> dict[str, str]:
        """Return these settings as environment variables, for a child process."""
        values = {name: value for name in setting_names() if (value := getattr(self, name)) is not None}
        if self.secret is not None:
            values["secret"] = self.secret.text
        return {variable_name(name): str(value) for name, value in values.items()}


def setting_names() -> tuple[str, ...]:
    """List the names of all settings."""
    return tuple(field.name for field in fields(Settings))


def variable_name(name: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{PREFIX}{name.upper()}"


def read_settings(**given: object) -> Settings:
    """Read the settings: given, variable, default. UsageError lists every wrong one."""
    kinds = get_type_hints(Settings)
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for field in fields(Settings):
        value = given.get(field.name)
        if value is None:
            value = os.environ.get(variable_name(field.name)) or field.default
        try:
            values[field.name] = None if value is None else parse_value(kinds[field.name], field.metadata, value)
        except ValueError as error:
            wrong.append(f"{variable_name(field.name)} (--{field.name.replace('_', '-')}): {error}")
    facts, files = values.get("facts_url"), values.get("files_url")
    if facts or files:
        wrong += s3_address.find_faults(os.environ)
    if facts and files and S3Address.parse(facts).overlaps(S3Address.parse(files)):
        both = f"{variable_name('facts_url')} and {variable_name('files_url')}"
        wrong.append(f"{both}: One is in the other: take two prefixes.")
    oidc = [values[name] for name in ("oidc_url", "oidc_groups") if name in values]
    if len(oidc) > 1 and bool(oidc[0]) != bool(oidc[1]):
        both = f"{variable_name('oidc_url')} and {variable_name('oidc_groups')}"
        wrong.append(f"{both}: Give both or none: without groups nobody would get access.")
    if values.get("engine") and facts:
        wrong.append(
            f"{variable_name('engine')}: Spark doesn't see tables in an object store: leave one of the two out."
        )
    if wrong:
        raise UsageError("\n".join(wrong))
    return Settings(**values)
