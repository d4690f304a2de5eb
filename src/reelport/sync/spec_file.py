"""Read `reelport.toml`: its named sync specs, or all of its problems in one error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from reelport import check
from reelport.catalog import Dimension
from reelport.client.ranges.windows import LONGEST_MONTH
from reelport.client.settings.config import expand_path
from reelport.client.settings.profile_file import PROJECT_NAMES, parse_toml
from reelport.errors import UsageError
from reelport.local_path import refuse_address
from reelport.similar_names import nearest
from reelport.sync.spec import Contract, Kind, Place, Spec

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
        """Read the specs; in a file with problems some hold stand-ins."""
        content = self._drop_unknown("", content, PROJECT_NAMES)  # profiles are read by the client
        defaults = self._read_settings("defaults", content.get("defaults", {}), _COMMON)
        reports = self._read_table("reports", content.get("reports", {}))
        if not reports and not self.problems:
            self.add_problem("", "there is no report in it: begin one with [reports.NAME]")
        return tuple(self._read_spec(name, defaults, own) for name, own in reports.items())

    def _read_spec(self, name: str, defaults: Mapping[str, Any], own: object) -> Spec:
        where = f"reports.{name}"
        if not _NAMES.fullmatch(name):
            self.add_problem(
                where, "a name is a lower-case letter, then up to 62 of a-z, 0-9 and _: tables are called by it"
            )
        rows = {**defaults, **self._read_settings(where, own, _OWN)}
        stand_ins = self._stand_ins
        for key in stand_ins:
            if key not in rows and (self.placed or key != "destination"):
                self.add_problem(where, f"{key} is missing")
        rows = {**stand_ins, **rows}
        spec = Spec(name, place=rows.pop("destination"), **rows)
        if _UNREAD not in {spec.metrics, spec.dimensions}:
            self._check_spec(where, spec)
        return spec

    @property
    def _stand_ins(self) -> Mapping[str, Any]:
        """What replaces a needed setting that is missing or wrong."""
        place = Place(Kind.PARQUET, self.folder)
        return {"metrics": _UNREAD, "dimensions": _UNREAD, "start": date.min, "destination": place}

    def _read_settings(self, where: str, table: object, known: tuple[str, ...]) -> dict[str, Any]:
        """Read a table's settings; a wrong one is reported here, and isn't missing later."""
        found: dict[str, Any] = {}
        for key, value in self._drop_unknown(where, self._read_table(where, table), known).items():
            try:
                found[key] = _read_setting(key, value, self.folder)
            except UsageError as error:
                self.add_problem(where, str(error))
                if key in self._stand_ins:
                    found[key] = self._stand_ins[key]
        return found

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


def _read_setting(key: str, value: object, folder: Path) -> object:
    """Read the value of a setting of a spec. Raises UsageError."""
    match key:
        case "metrics" | "dimensions":
            if isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value):
                return tuple(name.strip().upper() for name in value)
            raise UsageError(f'{key} must be a list of names, such as ["…", "…"]')
        case "filters":
            if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
                return tuple(sorted(value.items()))
            raise UsageError('filters must be a table of names and texts, such as { mediaType = "VIDEO" }')
        case "start":
            return _read_day(value)
        case "destination":
            return _read_destination(value, folder)
        case "lookback" | "settle" | "window":
            least = 1 if key == "window" else 0
            if isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LONGEST:
                return value
            raise UsageError(f"{key}: {str(value)[:40]!r} is no number of days from {least} to {_LONGEST}")
        case _:
            if not isinstance(value, str) or not value.strip():
                raise UsageError(f"{key} must be a text")
            return value.strip().upper() if key == "product" else _read_contract(value.strip())


def _read_day(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    with suppress(ValueError):
        if isinstance(value, str):
            return date.fromisoformat(value)
    raise UsageError(f"start: {str(value)[:40]!r} is no day: write it as 2026-01-31")


def _read_contract(word: str) -> Contract:
    if word in set(Contract):
        return Contract(word)
    raise UsageError(f"contract: {word[:40]!r} is none of {', '.join(Contract)}")


def _read_destination(value: object, folder: Path) -> Place:
    if not isinstance(value, str) or not value.strip():
        raise UsageError("destination must be the path of a .duckdb file, or of a folder for Parquet")
    try:
        refuse_address(value, "Name a .duckdb file or a folder for Parquet; from there, copy or load it on.")
        path = folder / expand_path(value.strip())
    except UsageError as error:
        raise UsageError(f"destination: {error}") from None
    kind = Kind.DUCKDB if path.suffix.lower() in _DUCKDB else Kind.PARQUET
    if path.suffix and kind is Kind.PARQUET:
        raise UsageError(f"destination: {value!r} is neither a .duckdb file nor a folder (a name without a dot)")
    return Place(kind, path)


def _suggest(word: str, known: Iterable[str]) -> str:
    known = tuple(known)
    near = nearest(word, known)
    return f": did you mean {near}?" if near else f": there are {', '.join(known)}" if known else ""
