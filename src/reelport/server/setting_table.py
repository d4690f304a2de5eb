"""All settings of the service in one table: name, type, default, meaning, who reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reelport.catalog import Limit
from reelport.engine.spark import server_address
from reelport.server.setting import Secret, setting
from reelport.storage import s3_address

_SIZE, _SIZE_FORM = r"\d+(\.\d+)?\s?[KMGT]i?B", "a number and a unit, such as 2GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingTable:
    """A field for each setting, in the order in which help and the reference page show them."""

    data: Path = setting(
        Path("reelport-data"),
        worker=True,
        section="Where things are",
        command=True,
        description="Directory of the tables, the state and the finished files.",
    )
    readable_by: Literal["owner", "group"] = setting(
        "owner",
        worker=True,
        command=True,
        description="Who may read what is in it: the user of its processes alone, or that user's group too.",
    )
    database_url: str = setting(
        "",
        worker=True,
        command=True,
        description="PostgreSQL address of the state; empty: SQLite in the data directory.",
        shown=False,
    )
    facts_url: str = setting(
        "",
        pattern=s3_address.PATTERN,
        form=s3_address.FORM,
        worker=True,
        command=True,
        description="Where the tables are, such as s3://bucket/prefix; empty: in the data directory.",
    )
    files_url: str = setting(
        "",
        pattern=s3_address.PATTERN,
        form=s3_address.FORM,
        worker=True,
        command=True,
        description="Where finished report files are, such as s3://bucket/prefix; empty: in the data directory.",
    )
    link_signer: Literal["service", "store"] = setting(
        "service",
        description="Whose download links of files in an object store are; the store's can't be withdrawn before they "
        "expire.",
    )
    cache_size: str = setting(
        "10GB",
        pattern=_SIZE,
        form=_SIZE_FORM,
        worker=True,
        command=True,
        description="What a machine keeps of files in an object store, beside those that are just being read.",
    )
    secret: Secret | None = setting(
        None,
        min_length=32,
        worker=True,
        command=True,
        description="Secret for hashing keys and signing links; empty: the file secret.key in the data directory.",
    )

    host: str = setting("127.0.0.1", section="HTTP", description="Address to listen on.")
    port: int = setting(8642, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    processes: int = setting(
        1, ge=1, le=64, description="Processes that answer on the port; with 1 it is the serving process itself."
    )
    public_url: str = setting("", description="Address that links begin with; empty: the one that the caller used.")
    link_seconds: int = setting(900, ge=1, description="Life of a download link; each status query signs a new one.")
    look_seconds: int = setting(
        10,
        ge=0,
        le=3600,
        description="Longest time that a status query may wait for its report (Prefer: wait); 0: none waits.",
    )
    held_looks: int = setting(
        100, ge=0, description="Status queries that may wait at the same time; beyond them each is answered at once."
    )
    partner_held_looks: int = setting(
        50, ge=1, description="Status queries of one partner that may wait at the same time."
    )
    token_seconds: int = setting(Limit.TOKEN_SECONDS.default, ge=1, description=Limit.TOKEN_SECONDS.sentence)
    public_token_seconds: int = setting(
        Limit.PUBLIC_TOKEN_SECONDS.default, ge=1, description=Limit.PUBLIC_TOKEN_SECONDS.sentence
    )
    refresh_days: float = setting(Limit.REFRESH_DAYS.default, gt=0, description=Limit.REFRESH_DAYS.sentence)
    body_bytes: int = setting(1_048_576, ge=1024, description="Longest request body.")
    document_tokens: int = setting(4000, ge=50, description="Most tokens in one GraphQL document.")
    document_depth: int = setting(15, ge=5, description="Deepest nesting of one GraphQL document, fragments expanded.")
    document_aliases: int = setting(50, ge=1, description="Most aliased fields of one GraphQL document.")

    connections: int = setting(
        4000,
        ge=16,
        section="Limits of one API process",
        description="Most connections at the same time, if the limit of open files allows them.",
    )
    request_seconds: float = setting(
        75, gt=0, description="Longest time that a request, with its body, may take to arrive."
    )
    stalled_seconds: float = setting(60, gt=0, description="Longest time that a client may read nothing of its answer.")
    unsent_bytes: int = setting(
        134_217_728, ge=1_048_576, description="Bytes of answers in memory that clients have not read yet."
    )
    downloads: int = setting(1000, ge=1, description="Downloads at the same time.")
    partner_downloads: int = setting(64, ge=1, description="Downloads of one partner at the same time.")
    download_rate: int = setting(
        10_000,
        ge=0,
        description="Bytes a second below which a download may lose its place to a new one of its report or partner.",
    )
    report_downloads: int = setting(20, ge=1, description="Downloads of one report at the same time.")
    pending_bytes: int = setting(
        33_554_432, ge=1_048_576, description="Bytes of request bodies in memory that are not answered yet."
    )
    partner_pending_bytes: int = setting(8_388_608, ge=1024, description="Bytes of such bodies of one partner.")

    key_grants: int = setting(
        600, ge=1, section="Tokens, logins and downloads", description="Tokens that one key may be granted in a minute."
    )
    login_failures: int = setting(
        6, ge=1, description="Wrong passwords for one user that an address may send in a minute, after ten at once."
    )
    address_login_failures: int = setting(
        60,
        ge=1,
        description="Wrong passwords for all users that an address may send in a minute, after a hundred at once.",
    )
    session_hours: float = setting(
        12, gt=0, description="How long a user stays signed in to Studio without using it; fourteen days at most."
    )
    recheck_seconds: float = setting(
        10, gt=0, description="Longest time that a download goes on after its key has lost the report."
    )

    running_limit: int = setting(
        Limit.RUNNING_REPORTS.default, ge=1, worker=True, section="Reports", description=Limit.RUNNING_REPORTS.sentence
    )
    waiting_limit: int = setting(100, ge=1, description="Reports of one partner that may wait.")
    queue_policy: Literal["queue", "refuse"] = setting(
        "queue", description="What becomes of a report beyond the running ones: it waits, or is refused."
    )
    dimension_limit: int = setting(Limit.DIMENSIONS.default, ge=1, description=Limit.DIMENSIONS.sentence)
    day_limit: int = setting(Limit.RANGE_DAYS.default, ge=1, description=Limit.RANGE_DAYS.sentence)
    retention_hours: float = setting(Limit.RETENTION_HOURS.default, gt=0, description=Limit.RETENTION_HOURS.sentence)
    inferred: Literal["as listed", "permissive"] = setting(
        "as listed", description="Whether rows of the matrix that are only inferred refuse what they don't list."
    )

    workers: int = setting(
        1, ge=0, le=64, section="Workers", description="Worker processes that serve starts; 0 for none."
    )
    slots: int = setting(
        3,
        ge=1,
        le=64,
        worker=True,
        service=False,
        description="Reports that one worker makes at the same time; more than --running-limit leave room for others.",
    )
    express_seconds: float = setting(
        1.0,
        ge=0,
        worker=True,
        service=False,
        description="While all reports of a worker take longer than this, it makes one more beside them, for at most "
        "as long; 0: none.",
    )
    worker_memory: str = setting(
        "2GB",
        pattern=_SIZE,
        form=_SIZE_FORM,
        worker=True,
        service=False,
        command=True,
        description="Memory of one worker; less where a control group, as of a container, allows less.",
    )
    worker_threads: int = setting(
        0,
        ge=0,
        le=1024,
        worker=True,
        service=False,
        command=True,
        description="Threads of one worker's engine; 0: one a core that it may use.",
    )
    worker_nice: int = setting(
        10,
        ge=0,
        le=19,
        worker=True,
        service=False,
        description="How much lower the priority of workers is than that of the API, as of nice(1): 0 is as high, "
        "19 the lowest.",
    )
    worker_idle: Literal["no", "yes"] = setting(
        "no",
        worker=True,
        service=False,
        description="Whether the threads of a worker's engine get only cores that nothing else of the service wants "
        "(SCHED_IDLE).",
    )
    generation_seconds: int = setting(
        Limit.GENERATION_SECONDS.default,
        ge=1,
        worker=True,
        service=False,
        description="Longest time that one attempt at a report may take.",
    )
    attempts: int = setting(
        3,
        ge=1,
        worker=True,
        service=False,
        description="How many failed attempts, or deaths of a worker that made nothing else, end a report.",
    )
    lease_seconds: float = setting(
        30, ge=1, worker=True, service=False, description="How long a worker without a heartbeat keeps its report."
    )
    room_seconds: float = setting(
        3600,
        ge=0,
        worker=True,
        service=False,
        description="How long a report waits in all for room on a full disk, or for a lost engine or object store, "
        "before it fails.",
    )
    drain_seconds: float = setting(
        5,
        ge=0,
        worker=True,
        service=False,
        description="Time that running reports get to end when a worker is stopped.",
    )
    sweep_seconds: float = setting(
        60, gt=0, worker=True, description="Seconds between two sweeps, which delete expired reports and files."
    )

    engine: str = setting(
        "",
        pattern=f"({server_address.PATTERN})?",
        form="the address of a Spark Connect server, such as sc://spark.example:15002",
        worker=True,
        section="Reports that one machine can't hold",
        service=False,
        description="Spark Connect server that aggregates large reports; empty: DuckDB makes all of them.",
        shown=False,
    )
    spark_from_rows: int = setting(
        2_000_000_000,
        ge=0,
        worker=True,
        service=False,
        description="Rows of facts that a report must read, as far as files tell, to be aggregated there.",
    )

    explore_memory: str = setting(
        "512MB",
        pattern=_SIZE,
        form=_SIZE_FORM,
        section="The explorer of Studio, in each API process",
        description="Memory of the explorer's engine; what exceeds it is answered with a report instead.",
    )
    explore_threads: int = setting(0, ge=0, le=1024, description="Threads of the explorer's engine; 0: one a core.")
    explore_rows: int = setting(
        200_000_000,
        ge=1,
        description="Rows of facts that a view may read, as far as files tell; above it the page offers a report.",
    )
    explore_seconds: float = setting(
        10, gt=0, description="Longest time that a view may be computed, with its wait for a slot."
    )
    explore_slots: int = setting(4, ge=1, le=64, description="Views that are computed at the same time.")
    partner_explore_slots: int = setting(
        2, ge=1, le=64, description="Views of one partner that are computed at the same time."
    )

    rollups: Literal["on", "off"] = setting(
        "on",
        worker=True,
        section="Rollups",
        command=True,
        description="Whether reports and views are made from the rollups that `reelport rollups` builds.",
    )
    rollup_checks: float = setting(
        0.01,
        ge=0,
        le=1,
        worker=True,
        service=False,
        description="Share of the reports made from rollups that are made from the facts too, and compared.",
    )
    digest_checks: str = setting(
        "64MB",
        pattern=_SIZE,
        form=_SIZE_FORM,
        worker=True,
        command=True,
        description="Bytes of rollups and copies of an object store's files that a report or view "
        "compares with their digests before a process first reads them, and after a write; what exceeds them is "
        "compared by later ones. 0MB: none.",
    )
    rollup_space: str = setting(
        "10GB",
        pattern=_SIZE,
        form=_SIZE_FORM,
        service=False,
        command=True,
        description="Bytes on the disk that all rollups together may take.",
    )
    rollups_after_load: Literal["no", "yes"] = setting(
        "no", service=False, command=True, description="Whether a load builds what the table's rollups lack then."
    )

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", worker=True, section="Log", description="Least level that is logged."
    )
