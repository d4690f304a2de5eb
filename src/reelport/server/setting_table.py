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
    token_seconds: int = setting(Limit.TOKEN_SECONDS.default, ge=1, description=Limit.TOKEN_SECONDS.sentence)
    public_token_seconds: int = setting(
        Limit.PUBLIC_TOKEN_SECONDS.default, ge=1, description=Limit.PUBLIC_TOKEN_SECONDS.sentence
    )

    downloads: int = setting(1000, ge=1, section="Limits of one API process", description="Downloads at the same time.")
    report_downloads: int = setting(20, ge=1, description="Downloads of one report at the same time.")
    pending_bytes: int = setting(
        33_554_432, ge=1_048_576, description="Bytes of request bodies in memory that are not answered yet."
    )

    recheck_seconds: float = setting(
        10, gt=0, description="Longest time that a download goes on after its key has lost the report."
    )

    running_limit: int = setting(
        Limit.RUNNING_REPORTS.default, ge=1, worker=True, section="Reports", description=Limit.RUNNING_REPORTS.sentence
    )
    waiting_limit: int = setting(
        100,
        ge=0,
        description="Reports of one partner that may wait beside its running ones; 0: further ones are refused.",
    )
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
        le=20,
        worker=True,
        service=False,
        description="How much lower the priority of workers is than that of the API, as of nice(1): 0 is as high, "
        "19 the lowest; 20: their engine gets only cores that nothing else of the service wants (SCHED_IDLE).",
    )
    generation_seconds: int = setting(
        Limit.GENERATION_SECONDS.default,
        ge=1,
        worker=True,
        service=False,
        description="Longest time that one attempt at a report may take.",
    )
    lease_seconds: float = setting(
        30, ge=1, worker=True, service=False, description="How long a worker without a heartbeat keeps its report."
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
    explore_rows: int = setting(
        200_000_000,
        ge=1,
        description="Rows of facts that a view may read, as far as files tell; above it the page offers a report.",
    )
    explore_seconds: float = setting(
        10, gt=0, description="Longest time that a view may be computed, with its wait for a slot."
    )
    explore_slots: int = setting(4, ge=1, le=64, description="Views that are computed at the same time.")

    rollups: Literal["on", "off", "after-load"] = setting(
        "on",
        worker=True,
        section="Rollups",
        command=True,
        description="Whether reports and views are made from the rollups that `reelport rollups` builds; after-load: "
        "and a load builds what the table's rollups lack then.",
    )
    rollup_checks: float = setting(
        0.01,
        ge=0,
        le=1,
        worker=True,
        service=False,
        description="Share of the reports made from rollups that are made from the facts too, and compared.",
    )
    rollup_space: str = setting(
        "10GB",
        pattern=_SIZE,
        form=_SIZE_FORM,
        service=False,
        command=True,
        description="Bytes on the disk that all rollups together may take.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", worker=True, section="Log", description="Least level that is logged."
    )
