"""Read `reelport.toml`: its named sync specs, or all of its problems in one error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from reelport import check
from reelport.catalog import Dimension, Limit
from reelport.check import nearest
from reelport.client.ranges.windows import LONGEST_MONTH
from reelport.client.settings.config import expand_path
from reelport.client.settings.profile_file import PROJECT_NAMES, parse_toml
from reelport.errors import UsageError
from reelport.local_path import refuse_address
from reelport.query import DEFAULT_PRODUCT
from reelport.sync.spec import LOOKBACK, SETTLE, Contract, Kind, Place, Spec

NAME = "reelport.toml"

_COMMON = ("destination", "start", "product", "lookback", "settle", "window", "contract")
_OWN = ("metrics", "dimensions", "filters", *_COMMON)
_NAMES = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DUCKDB = frozenset({".duckdb", ".ddb", ".db"})
_LONGEST = 3660
_UNREAD = ("",)  # stands for names that are missing or malformed: a query with it isn't checked any further


def read(path: str | os.PathLike[str] = NAME, *, only: Iterable[str] = (), placed: bool = True) -> tuple[Spec, ...]:
    """Read the specs of a file, in its order; with `only`, those of these names.

    Raises UsageError with every problem of the file, and StorageError when it can't be read. A relative destination
    starts at the folder of the file. Without `placed` a spec needs no destination.
    """
    path = expand_path(path)
    reader = _Reader(path.resolve().parent, placed)
    content = parse_toml(path)
    if not content and not path.exists():
        raise UsageError(f"There is no {path}: `reelport sync init` writes one to begin with.")
    specs = reader.read_specs(content)
    names = [spec.name for spec in specs]
    if not reader.problems:
        for name in dict.fromkeys(name for name in only if name not in names):
            reader.add_problem("", f"there is no report {name!r}{_suggest(name, names)}")
    if reader.problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in (*reader.problems, *reader.doubts)))
    chosen = set(only or names)
    return tuple(spec for spec in specs if spec.name in chosen)


@dataclass(slots=True)
class _Reader:
    folder: Path
    placed: bool
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """Names that only the service may know: reported only where there are problems too."""

    def add_problem(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}" if where else what)

    def read_specs(self, content: Mapping[str, Any]) -> tuple[Spec, ...]:
        content = self._drop_unknown("", content, PROJECT_NAMES)  # profiles are read by the client
        defaults = self._drop_unknown("defaults", self._read_table("defaults", content.get("defaults", {})), _COMMON)
        defaults = self._read_defaults({key: value for key, value in defaults.items() if key in _COMMON})
        reports = self._read_table("reports", content.get("reports", {}))
        if not reports and not self.problems:
            self.add_problem("", "there is no report in it: begin one with [reports.NAME]")
        specs = [
            self._read_spec(name, defaults, self._read_table(f"reports.{name}", own)) for name, own in reports.items()
        ]
        return tuple(spec for spec in specs if spec is not None)

    def _read_defaults(self, defaults: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read the defaults. A wrong one is reported once, here; the reports get a valid stand-in."""
        other = {"destination": "-", "start": datetime.now(UTC).date().replace(day=1)}
        sound: dict[str, Any] = {}
        for key, value in defaults.items():
            before = len(self.problems)
            self._read_settings("defaults", "", {key: value})
            if len(self.problems) == before:
                sound[key] = value
            elif key in other:
                sound[key] = other[key]
        return sound

    def _read_spec(self, name: str, defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Spec | None:
        where, before = f"reports.{name}", len(self.problems)
        if not _NAMES.fullmatch(name):
            self.add_problem(
                where, "a name is a lower-case letter, then up to 62 of a-z, 0-9 and _: tables are called by it"
            )
        rows = {**defaults, **self._drop_unknown(where, own, _OWN)}
        for key in ("metrics", "dimensions", "start", "destination"):
            if key not in rows and (self.placed or key != "destination"):
                self.add_problem(where, f"{key} is missing")
        spec = self._read_settings(where, name, rows)
        if _UNREAD not in {spec.metrics, spec.dimensions}:
            self._check_spec(where, spec)
        return spec if len(self.problems) == before else None

    def _read_settings(self, where: str, name: str, rows: Mapping[str, Any]) -> Spec:
        """Read the settings of a spec; one that is missing or wrong gets a well-formed stand-in."""
        return Spec(
            name,
            self._read_names(where, rows, "metrics"),
            self._read_names(where, rows, "dimensions"),
            self._read_start(where, rows.get("start", date.min)),
            self._read_destination(where, rows.get("destination", "-")),
            self._read_filters(where, rows.get("filters", {})),
            str(self._read_text(where, rows, "product", DEFAULT_PRODUCT)).upper(),
            self._read_days(where, rows, "lookback", LOOKBACK, 0),
            self._read_days(where, rows, "settle", SETTLE, 0),
            self._read_days(where, rows, "window", Limit.RANGE_DAYS.default, 1),
            self._read_contract(where, rows),
        )

    def _check_spec(self, where: str, spec: Spec) -> None:
        today = datetime.now(UTC).date()
        if spec.time is None and all(name in Dimension.__members__ for name in spec.dimensions):
            self.add_problem(
                where, "nothing tells its days apart, so no day of it could be replaced: add DAY to dimensions"
            )
        if spec.monthly and spec.start.day != 1 and spec.start > date.min:
            first = spec.start.replace(day=1)
            self.add_problem(where, f"its rows are of whole months: let it start on a first, {first}, or add DAY")
        if spec.monthly and spec.window < LONGEST_MONTH:
            self.add_problem(where, f"its rows are of whole months: a window of {spec.window} days is too short")
        if spec.start > today:
            self.add_problem(where, f"start: {spec.start} lies in the future")
        first = min(spec.start, today) if spec.start > date.min else today
        for problem in check.problems(spec.query(first, first), today=today, rules=check.Rules(strict=False)):
            # Only the service can tell whether it has a name that we don't know; the time must be a name of ours.
            if problem.fatal or (spec.time is None and problem.path[:1] == ("dimensions",)):
                self.add_problem(where, str(problem))
            else:
                self.doubts.append(f"{where}: {problem}")

    def _drop_unknown(self, where: str, rows: Mapping[str, Any], known: tuple[str, ...]) -> Mapping[str, Any]:
        """Return rows with known keys; a mistyped key's value goes to the nearest one."""
        sound = {key: value for key, value in rows.items() if key in known}
        for key in rows:
            if key not in known:
                self.add_problem(where, f"there is no {key[:80]!r} here{_suggest(key, known)}")
                if near := nearest(key, known):
                    sound.setdefault(near, rows[key])
        return sound

    def _read_table(self, where: str, value: object) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.add_problem(where, "it must be a table")
        return {}

    def _read_names(self, where: str, rows: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = rows.get(key)
        if isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value):
            return tuple(name.strip().upper() for name in value)
        if key in rows:
            self.add_problem(where, f'{key} must be a list of names, such as ["…", "…"]')
        return _UNREAD

    def _read_filters(self, where: str, value: object) -> tuple[tuple[str, str], ...]:
        if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
            return tuple(sorted(value.items()))
        self.add_problem(where, 'filters must be a table of names and texts, such as { mediaType = "VIDEO" }')
        return ()

    def _read_start(self, where: str, value: object) -> date:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        try:
            if isinstance(value, str):
                return date.fromisoformat(value)
        except ValueError:
            pass
        self.add_problem(where, f"start: {str(value)[:40]!r} is no day: write it as 2026-01-31")
        return date.min

    def _read_days(self, where: str, rows: Mapping[str, Any], key: str, default: int, least: int) -> int:
        value = rows.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LONGEST:
            return value
        self.add_problem(where, f"{key}: {str(value)[:40]!r} is no number of days from {least} to {_LONGEST}")
        return default

    def _read_text(self, where: str, rows: Mapping[str, Any], key: str, default: str) -> str:
        value = rows.get(key, default)
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.add_problem(where, f"{key} must be a text")
        return default

    def _read_contract(self, where: str, rows: Mapping[str, Any]) -> Contract:
        word = self._read_text(where, rows, "contract", Contract.EVOLVE)
        if word in set(Contract):
            return Contract(word)
        self.add_problem(where, f"contract: {word[:40]!r} is none of {', '.join(Contract)}")
        return Contract.EVOLVE

    def _read_destination(self, where: str, value: object) -> Place:
        if not isinstance(value, str) or not value.strip():
            self.add_problem(where, "destination must be the path of a .duckdb file, or of a folder for Parquet")
            return Place(Kind.PARQUET, self.folder)
        try:
            refuse_address(value, "Name a .duckdb file or a folder for Parquet; from there, copy or load it on.")
            path = self.folder / expand_path(value.strip())
        except UsageError as error:
            self.add_problem(where, f"destination: {error}")
            return Place(Kind.PARQUET, self.folder)
        if path.suffix.lower() in _DUCKDB:
            return Place(Kind.DUCKDB, path)
        if path.suffix:
            self.add_problem(
                where, f"destination: {value!r} is neither a .duckdb file nor a folder (a name without a dot)"
            )
        return Place(Kind.PARQUET, path)


def _suggest(word: str, known: Iterable[str]) -> str:
    known = tuple(known)
    near = nearest(word, known)
    return f": did you mean {near}?" if near else f": there are {', '.join(known)}" if known else ""
